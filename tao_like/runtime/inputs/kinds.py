"""What a model may take, one class for each kind of input: how it is read, prepared, checked and fed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

from tao_like.errors import BundleError, DatasetError
from tao_like.runtime.inputs.image import ImagePreparation, Window, image_files, prepare, read_image, to_rgb
from tao_like.runtime.inputs.points import (
    POINT_FEATURES,
    PointsPreparation,
    chosen_columns,
    point_files,
    prepare_points,
    read_points,
)
from tao_like.runtime.inputs.skeleton import (
    SkeletonPreparation,
    checked_skeleton,
    prepare_skeleton,
    read_skeleton,
    skeleton_files,
)
from tao_like.runtime.metadata import ModelMetadata
from tao_like.runtime.predictions.tiles import Tiling, cut

if TYPE_CHECKING:
    import onnxruntime

_ELEMENT_TYPES = {"uint8_nhwc": "tensor(uint8)", "float_nchw": "tensor(float)"}


class InputKind(Protocol):
    """How inputs of one kind reach a graph.

    Attributes:
        preparation: how an input is prepared.
        one_by_one: the graph takes one sample a call, of any length, and its outputs have no batch axis.
    """

    preparation: Any
    one_by_one: bool

    def check_graph(self, session: onnxruntime.InferenceSession) -> int | None:
        """Compares the graph with what the metadata promises; its batch size, None: any.

        Raises:
            BundleError: it is another graph.
        """

    def is_one(self, given: Any) -> bool:
        """Whether this, which is no path, is one input."""

    def files(self, folder: Path) -> list[Path]:
        """The inputs in a folder. Raises DatasetError."""

    def prepared(self, given: Any) -> tuple[Any, tuple[int, int]]:
        """One input as the network takes it, and the original's width and height where it has them.

        Raises:
            DatasetError: it cannot be read, or is none.
        """

    def parts(self, given: Any) -> tuple[list[Any], tuple[int, int]]:
        """The same, or where the model cuts inputs into parts, all of these. Raises as `prepared`."""

    def joined(self, samples: Sequence[Any]) -> Any:
        """Prepared inputs as a batch."""

    def check(self, batch: Any, path: Path) -> None:
        """Raises a DatasetError where a batch is none for the network of ``path``."""

    def values(self, batch: Any) -> npt.NDArray[Any]:
        """What the graph's input is given for a batch; where it takes one by one, for its only sample."""


class ImageInput:
    """Pictures; see `InputKind`."""

    one_by_one = False

    def __init__(self, metadata: ModelMetadata) -> None:
        self.metadata = metadata
        self.preparation = ImagePreparation.from_dict(metadata.preparation)
        self._mean = np.asarray(metadata.mean, np.float32).reshape(3, 1, 1)
        self._std = np.asarray(metadata.std, np.float32).reshape(3, 1, 1)
        self._tiling = Tiling.of(metadata.extra)

    def check_graph(self, session: onnxruntime.InferenceSession) -> int | None:
        """Compares size and type of the input."""
        inputs = session.get_inputs()
        form = self.metadata.input_format
        size = [self.preparation.height, self.preparation.width]
        expected = [*size, 3] if form == "uint8_nhwc" else [3, *size]
        batch, *given = inputs[0].shape
        fits = len(given) == len(expected) and all(
            not isinstance(dimension, int) or dimension == promised
            for dimension, promised in zip(given, expected, strict=True)
        )
        if not fits or inputs[0].type != _ELEMENT_TYPES.get(form):
            raise BundleError(
                f"the graph's input is {inputs[0].type} {inputs[0].shape}, but the metadata promises "
                f"{form} of size {expected}."
            )
        return batch if isinstance(batch, int) else None

    def is_one(self, given: Any) -> bool:
        """A Pillow image or an array."""
        return isinstance(given, (Image.Image, np.ndarray))

    def files(self, folder: Path) -> list[Path]:
        """Its pictures."""
        return image_files(folder)

    def prepared(self, given: Any) -> tuple[npt.NDArray[np.uint8], tuple[int, int]]:
        """Pixels (height, width, 3), and the size that the picture had."""
        picture = _read(given, self.preparation.window)
        return prepare(picture, self.preparation), picture.size

    def parts(self, given: Any) -> tuple[list[npt.NDArray[np.uint8]], tuple[int, int]]:
        """The pixels of each tile of a picture, or of the whole where pictures are not cut."""
        picture = _read(given, self.preparation.window)
        return [prepare(part, self.preparation) for part in cut(picture, self._tiling)], picture.size

    def joined(self, samples: Sequence[npt.NDArray[np.uint8]]) -> npt.NDArray[np.uint8]:
        """Pixels (N, height, width, 3)."""
        return np.stack(samples)

    def check(self, batch: npt.NDArray[Any], path: Path) -> None:
        """They are uint8 of the network's size."""
        size = (self.preparation.height, self.preparation.width, 3)
        if batch.dtype != np.uint8 or batch.shape[1:] != size or len(batch) == 0:
            raise DatasetError(
                f"prepared pictures are {batch.dtype} of shape {batch.shape}; "
                f"{path} takes uint8 of shape (1 or more, {', '.join(map(str, size))})."
            )

    def values(self, batch: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Pixels as they are, or normalised with the channels in front."""
        if self.metadata.input_format != "float_nchw":
            return batch
        values = np.ascontiguousarray(batch.transpose(0, 3, 1, 2), np.float32)
        values /= 255
        values -= self._mean
        values /= self._std
        return values


def _read(given: Any, window: Window | None) -> Image.Image:
    """One picture in RGB; raises as `prepare` does."""
    if isinstance(given, (str, Path)):
        return read_image(given, window)
    if isinstance(given, np.ndarray):
        if given.dtype != np.uint8 or given.ndim != 3 or given.shape[2] != 3 or given.size == 0:
            raise DatasetError(
                f"the array is {given.dtype} of shape {given.shape}; "
                "a picture is uint8 of shape (height, width, 3), RGB."
            )
        given = Image.fromarray(given)
    try:
        return to_rgb(given, window)
    except OSError as error:  # a Pillow image decodes its file only now
        raise DatasetError(f"the picture cannot be decoded: {error}.") from error


class SkeletonInput:
    """Skeletons over time; see `InputKind`. A batch is float32 (N, channels, frames, joints, persons)."""

    one_by_one = False

    def __init__(self, metadata: ModelMetadata) -> None:
        if metadata.input_format != "float_nctvm":
            raise BundleError(
                f"the metadata promises skeletons as {metadata.input_format}; they come as float_nctvm."
            )
        self.preparation = SkeletonPreparation.from_dict(metadata.preparation)

    def check_graph(self, session: onnxruntime.InferenceSession) -> int | None:
        """The input is float32 (batch, channels, frames, joints, persons); frames may be open."""
        given = session.get_inputs()[0]
        batch, *sizes = given.shape
        promised = self.preparation.shape
        fits = len(sizes) == len(promised) and all(
            not isinstance(size, int) or size == wanted for size, wanted in zip(sizes, promised, strict=True)
        )
        if not fits or given.type != "tensor(float)":
            raise BundleError(
                f"the graph's input is {given.type} {given.shape}, but the metadata promises float skeletons "
                f"of size {list(promised)}."
            )
        return batch if isinstance(batch, int) else None

    def is_one(self, given: Any) -> bool:
        """An array."""
        return isinstance(given, np.ndarray)

    def files(self, folder: Path) -> list[Path]:
        """Its sequences."""
        return skeleton_files(folder)

    def prepared(self, given: Any) -> tuple[npt.NDArray[np.float32], tuple[int, int]]:
        """Joints (channels, frames, joints, persons); a skeleton has no width and height."""
        if isinstance(given, np.ndarray):
            sequence = checked_skeleton(given, self.preparation, "the array")
        else:
            sequence = read_skeleton(given, self.preparation)
        return prepare_skeleton(sequence, self.preparation), (0, 0)

    def parts(self, given: Any) -> tuple[list[npt.NDArray[np.float32]], tuple[int, int]]:
        """The whole sequence."""
        sequence, size = self.prepared(given)
        return [sequence], size

    def joined(self, samples: Sequence[npt.NDArray[np.float32]]) -> npt.NDArray[np.float32]:
        """Joints (N, channels, frames, joints, persons)."""
        return np.stack(samples)

    def check(self, batch: npt.NDArray[Any], path: Path) -> None:
        """They are float32 and fit the network; the number of frames is free."""
        channels, _, joints, persons = self.preparation.shape
        sizes = (batch.shape[1], *batch.shape[3:]) if batch.ndim == 5 else ()
        if batch.dtype != np.float32 or sizes != (channels, joints, persons) or 0 in batch.shape:
            raise DatasetError(
                f"prepared skeletons are {batch.dtype} of shape {batch.shape}; {path} takes float32 of shape "
                f"(1 or more, {channels}, frames, {joints}, {persons})."
            )

    def values(self, batch: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Joints as they are."""
        return batch


class PointsInput:
    """LiDAR frames; see `InputKind`. A batch is a list of frames, (points, 4) float32 each."""

    one_by_one = True

    def __init__(self, metadata: ModelMetadata) -> None:
        if metadata.input_format != "points":
            raise BundleError(
                f"the metadata promises points as {metadata.input_format}; they come as points."
            )
        self.preparation = PointsPreparation.from_dict(metadata.preparation)

    def check_graph(self, session: onnxruntime.InferenceSession) -> None:
        """The input is float32 (any, 4)."""
        given = session.get_inputs()[0]
        if (
            given.type != "tensor(float)"
            or given.shape[1:] != [POINT_FEATURES]
            or isinstance(given.shape[0], int)
        ):
            raise BundleError(
                f"the graph's input is {given.type} {given.shape}, but the metadata promises float points of "
                f"shape (any, {POINT_FEATURES})."
            )

    def is_one(self, given: Any) -> bool:
        """An array."""
        return isinstance(given, np.ndarray)

    def files(self, folder: Path) -> list[Path]:
        """Its frames."""
        return point_files(folder)

    def prepared(self, given: Any) -> tuple[npt.NDArray[np.float32], tuple[int, int]]:
        """Points within the range; a frame has no width and height."""
        if isinstance(given, np.ndarray):
            points = chosen_columns(given, self.preparation, "the array")
        else:
            points = read_points(given, self.preparation)
        return prepare_points(points, self.preparation), (0, 0)

    def parts(self, given: Any) -> tuple[list[npt.NDArray[np.float32]], tuple[int, int]]:
        """The whole frame."""
        frame, size = self.prepared(given)
        return [frame], size

    def joined(self, samples: Sequence[npt.NDArray[np.float32]]) -> list[npt.NDArray[np.float32]]:
        """A list."""
        return list(samples)

    def check(self, batch: Sequence[npt.NDArray[Any]], path: Path) -> None:
        """They are float32 (points, 4)."""
        for frame in batch:
            if frame.dtype != np.float32 or frame.ndim != 2 or frame.shape[1] != POINT_FEATURES:
                raise DatasetError(
                    f"a prepared frame is {frame.dtype} of shape {frame.shape}; {path} takes float32 of "
                    f"shape (points, {POINT_FEATURES})."
                )
        if not len(batch):
            raise DatasetError(f"there is no frame for {path}; give one or more.")

    def values(self, batch: Sequence[npt.NDArray[np.float32]]) -> npt.NDArray[np.float32]:
        """The points of the only frame."""
        (frame,) = batch
        return frame


KINDS: dict[str, type[ImageInput] | type[SkeletonInput] | type[PointsInput]] = {
    "image": ImageInput,
    "skeleton": SkeletonInput,
    "points": PointsInput,
}


def input_kind(metadata: ModelMetadata) -> InputKind:
    """What reads, prepares and feeds the inputs of a model.

    Raises:
        BundleError: its preparation has no meaning.
    """
    return KINDS[metadata.kind](metadata)
