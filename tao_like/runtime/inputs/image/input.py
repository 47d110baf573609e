"""Images as a model's input."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from tao_like.errors import BundleError, DatasetError
from tao_like.runtime.inputs.base import check_format, shape_fits
from tao_like.runtime.inputs.image.big_images import BigImages, open_image
from tao_like.runtime.inputs.image.preprocessing import ImagePreprocessing, preprocess
from tao_like.runtime.inputs.image.reading import IMAGE_FORMATS, Window, image_files, read_image, to_rgb
from tao_like.runtime.metadata import InputMetadata
from tao_like.runtime.predictions.tiles import Tiling

if TYPE_CHECKING:
    from onnxruntime import NodeArg

_ELEMENT_TYPES = {"uint8_nhwc": "tensor(uint8)", "float_nchw": "tensor(float)"}
_CHANNELS = 3


class ImageInput:
    """Images; see `InputKind`. A batch is uint8 (N, height, width, 3), RGB."""

    one_by_one = False

    def __init__(self, metadata: InputMetadata, extra: Mapping[str, Any]) -> None:
        check_format(metadata, list(_ELEMENT_TYPES))
        if len(metadata.mean) != _CHANNELS:
            raise BundleError(
                f"the model's metadata is wrong: mean and std must be lists of {_CHANNELS} numbers."
            )
        self.metadata = metadata
        self.preprocessing = ImagePreprocessing.from_dict(metadata.preprocessing)
        self._mean = np.asarray(metadata.mean, np.float32).reshape(_CHANNELS, 1, 1)
        self._std = np.asarray(metadata.std, np.float32).reshape(_CHANNELS, 1, 1)
        self.tiling = Tiling.of(extra)
        """How big images are cut; None: they are not."""

    def check_graph(self, node: NodeArg) -> int | None:
        """Compares size and type of the input."""
        form = self.metadata.input_format
        size = [self.preprocessing.height, self.preprocessing.width]
        expected = [*size, _CHANNELS] if form == "uint8_nhwc" else [_CHANNELS, *size]
        batch, *given = node.shape or [None]
        if not shape_fits(given, expected) or node.type != _ELEMENT_TYPES[form]:
            raise BundleError(
                f"the graph's input is {node.type} {node.shape}, but the metadata promises "
                f"{form} of size {expected}."
            )
        return batch if isinstance(batch, int) else None

    def is_one(self, given: Any) -> bool:
        """A Pillow image or an array."""
        return isinstance(given, (Image.Image, np.ndarray))

    def files(self, folder: Path) -> list[Path]:
        """Its images."""
        return image_files(folder)

    def preprocess(self, given: Any) -> tuple[npt.NDArray[np.uint8], tuple[int, int]]:
        """Pixels (height, width, 3), and the size that the image had."""
        image = self.whole(given)
        return preprocess(image, self.preprocessing), image.size

    def whole(self, given: Any) -> Image.Image:
        """An image in RGB, of any size where images are cut into tiles. Raises as `preprocess` does."""
        big = BigImages.OF_MODEL if self.tiling is None else BigImages.READ
        return _read(given, self.preprocessing.window, big)

    def pixels(self, given: Any) -> int:
        """How many pixels an image has, from the head of its file; 0 where that cannot be read."""
        if isinstance(given, Image.Image):
            return given.width * given.height
        if isinstance(given, np.ndarray):
            return int(np.prod(given.shape[:2]))
        try:
            if not Path(given).is_file():
                return 0
            with Path(given).open("rb") as file, open_image(file, IMAGE_FORMATS) as image:
                return int(image.width * image.height)
        except (OSError, ValueError, TypeError):
            return 0

    def batch(self, samples: Sequence[npt.NDArray[np.uint8]]) -> npt.NDArray[np.uint8]:
        """Pixels (N, height, width, 3)."""
        return np.stack(samples)

    def check_batch(self, batch: npt.NDArray[Any], path: Path) -> None:
        """They are uint8 of the network's size."""
        size = (self.preprocessing.height, self.preprocessing.width, _CHANNELS)
        if batch.dtype != np.uint8 or batch.shape[1:] != size or len(batch) == 0:
            raise DatasetError(
                f"preprocessed images are {batch.dtype} of shape {batch.shape}; "
                f"{path} takes uint8 of shape (1 or more, {', '.join(map(str, size))})."
            )

    def graph_values(self, batch: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Pixels as they are, or normalized with the channels in front."""
        if self.metadata.input_format != "float_nchw":
            return batch
        values = np.ascontiguousarray(batch.transpose(0, 3, 1, 2), np.float32)
        values /= 255
        values -= self._mean
        values /= self._std
        return values


def _read(given: Any, window: Window | None, big: BigImages) -> Image.Image:
    """One image in RGB; raises as `preprocess` does."""
    if isinstance(given, (str, os.PathLike)):
        return read_image(Path(given), window, big)
    if isinstance(given, np.ndarray):
        if given.dtype != np.uint8 or given.ndim != 3 or given.shape[2] != _CHANNELS or given.size == 0:
            raise DatasetError(
                f"the array is {given.dtype} of shape {given.shape}; "
                "an image is uint8 of shape (height, width, 3), RGB."
            )
        given = Image.fromarray(given)
    if not isinstance(given, Image.Image):
        raise DatasetError(
            f"this is a {type(given).__name__}; give an image as a file, a Pillow image or an array."
        )
    try:
        return to_rgb(given, window)
    except (DatasetError, MemoryError):
        raise
    except Exception as error:  # a Pillow image decodes its file only now, and decoders raise almost anything
        raise DatasetError(f"the image cannot be decoded: {error}.") from error
