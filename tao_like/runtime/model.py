"""An exported model: pictures or other inputs in, answers out."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, overload

import numpy as np
import numpy.typing as npt
from PIL import Image

from tao_like.errors import BundleError, DatasetError, SpecError
from tao_like.runtime.inputs.kinds import InputKind, input_kind
from tao_like.runtime.metadata import ModelMetadata, read_metadata
from tao_like.runtime.predictions.base import Answer, AnswerReader
from tao_like.runtime.predictions.boxes import DetectionReader
from tao_like.runtime.predictions.boxes3d import Detection3dReader
from tao_like.runtime.predictions.classes import ClassificationReader
from tao_like.runtime.session import open_session

if TYPE_CHECKING:
    import onnxruntime

ImageInput: TypeAlias = str | Path | Image.Image | npt.NDArray[Any]
Images: TypeAlias = ImageInput | Iterable[ImageInput]
OnError: TypeAlias = Literal["raise", "skip"]
_Prepared: TypeAlias = "Future[tuple[list[Any], tuple[int, int]]]"

DEFAULT_BATCH_SIZE = 8
DEFAULT_WORKERS = 4

_READERS: dict[str, AnswerReader] = {
    "classification": ClassificationReader(),
    "detection": DetectionReader(),
    "pose_classification": ClassificationReader(),
    "pointpillars": Detection3dReader(),
}


def load(
    path: str | Path, *, providers: str | Sequence[str] | None = None, threads: int | None = None
) -> Model:
    """Open a model that ``tao-like <task> export`` wrote.

    Args:
        path: the ONNX file.
        providers: where to compute, in order of preference: cpu, cuda, tensorrt, openvino, coreml,
            directml, or onnxruntime's own names. None: the CPU.
        threads: threads that share the work of one operator on the CPU. None: onnxruntime's choice.

    Raises:
        BundleError: the file is missing, damaged, not exported by tao_like or by a newer one.
        SpecError: a provider is not available here, or ``threads`` is below 1.
    """
    return Model(Path(path), open_session(Path(path), providers, threads))


class Model:
    """An exported model, ready to run. Made by `load`; may be used from several threads at once.

    Attributes:
        path: the ONNX file.
        metadata: what the file says about itself.
        preparation: how a picture becomes the network's input.
    """

    def __init__(self, path: Path, session: onnxruntime.InferenceSession) -> None:
        """Check that the graph is what its metadata says; raises a BundleError that names ``path``."""
        self.path = path
        self._session = session
        try:
            self.metadata = read_metadata(session.get_modelmeta().custom_metadata_map)
            self._kind = input_kind(self.metadata)
            self.preparation = self._kind.preparation
            self._reader = _reader_of(self.metadata)
            self._fixed_batch = _check_graph(session, self.metadata, self._kind)
        except BundleError as error:
            raise BundleError(f"{path}: {error}") from error
        self._input_name = session.get_inputs()[0].name
        self._output_names = list(self.metadata.outputs)

    @property
    def classes(self) -> list[str]:
        """The class names, in the order of the network's outputs."""
        return self.metadata.classes

    @overload
    def predict(
        self, images: ImageInput, *, batch_size: int = ..., workers: int = ..., on_error: OnError = ...
    ) -> Any: ...

    @overload
    def predict(
        self,
        images: Iterable[ImageInput],
        *,
        batch_size: int = ...,
        workers: int = ...,
        on_error: OnError = ...,
    ) -> list[Any]: ...

    def predict(
        self,
        images: Images,
        *,
        batch_size: int = DEFAULT_BATCH_SIZE,
        workers: int = DEFAULT_WORKERS,
        on_error: OnError = "raise",
    ) -> Any:
        """Answer for one picture, for several, or for all in a folder.

        Args:
            images: a file, a Pillow image, or a uint8 RGB array of shape (height, width, 3); for a LiDAR
                detector a file or an array (points, values); any number of these; or a folder (with its
                subfolders, without hidden files).
            batch_size: pictures that are computed at once.
            workers: threads that read and prepare pictures.
            on_error: what follows from a picture that cannot be read: ``raise`` an error that names it,
                or ``skip`` it: its answer says why in ``error``.

        Returns:
            The task's answer, such as a `ClassificationAnswer`; for several pictures or a folder a list
            of them, in order. An answer about a file carries its path in ``source``.

        Raises:
            DatasetError: a picture cannot be read (with ``raise``), or a folder holds none.
            SpecError: ``batch_size``, ``workers`` or ``on_error`` has no meaning.
        """
        answers = self.predict_iter(images, batch_size=batch_size, workers=workers, on_error=on_error)
        return next(answers) if self._is_single(images) else list(answers)

    def predict_iter(
        self,
        images: Images,
        *,
        batch_size: int = DEFAULT_BATCH_SIZE,
        workers: int = DEFAULT_WORKERS,
        on_error: OnError = "raise",
    ) -> Iterator[Any]:
        """Yield what `predict` returns, answer by answer, with only a few batches in memory."""
        if batch_size < 1 or workers < 1:
            raise SpecError(f"batch_size is {batch_size} and workers {workers}; both must be 1 or more.")
        if on_error not in ("raise", "skip"):
            raise SpecError(f"on_error is {on_error!r}; it must be 'raise' or 'skip'.")
        return self._predict_in_batches(self._each(images), batch_size, workers, on_error)

    def run_prepared(self, images: Any) -> dict[str, npt.NDArray[Any]]:
        """Run the network on a prepared batch.

        Args:
            images: N inputs, at least 1, as `prepare` makes them: pictures as uint8 (N, height, width, 3),
                RGB; frames of points as a list of float32 (points, 4).

        Returns:
            The graph's outputs by name, as they are, each with N as its first axis.

        Raises:
            DatasetError: the batch is of another type or shape.
        """
        self._kind.check(images, self.path)
        if self._kind.one_by_one:
            return stacked([self._run([image]) for image in images])
        if self._fixed_batch in (None, len(images)):
            return self._run(images)
        return self._run_in_fixed_batches(images, self._fixed_batch)

    def prepare(self, image: ImageInput) -> Any:
        """Read one input and prepare it for this network.

        Returns:
            A picture as uint8 (height, width, 3), RGB; stack several of them for `run_prepared`. A frame as
            float32 (points, 4).

        Raises:
            DatasetError: the input cannot be read, or is an array of another type or shape.
        """
        return self._kind.prepared(image)[0]

    def _is_single(self, images: Images) -> bool:
        if isinstance(images, (str, Path)):
            return not Path(images).is_dir()
        return self._kind.is_one(images)

    def _each(self, images: Any) -> Iterable[ImageInput]:
        if isinstance(images, (str, Path)):
            return self._kind.files(Path(images)) if Path(images).is_dir() else [images]
        return [images] if self._kind.is_one(images) else images

    def _predict_in_batches(
        self, images: Iterable[ImageInput], batch_size: int, workers: int, on_error: OnError
    ) -> Iterator[Answer]:
        remaining = iter(images)
        ahead: deque[tuple[str | None, _Prepared]] = deque()
        with ThreadPoolExecutor(workers) as pool:
            while True:
                for image in islice(remaining, 2 * batch_size - len(ahead)):
                    ahead.append((_source(image), pool.submit(self._kind.parts, image)))
                batch = [ahead.popleft() for _ in range(min(batch_size, len(ahead)))]
                if not batch:
                    return
                yield from self._answer(batch, batch_size, on_error)

    def _answer(
        self, batch: Sequence[tuple[str | None, _Prepared]], batch_size: int, on_error: OnError
    ) -> Iterator[Answer]:
        prepared: list[Any] = []
        sources: list[str | None] = []
        sizes: list[tuple[int, int]] = []
        failed: dict[int, Answer] = {}
        for position, (source, future) in enumerate(batch):
            try:
                parts, size = future.result()
            except DatasetError as error:
                if on_error == "raise":
                    raise
                failed[position] = self._reader.failed(source, str(error))
            else:
                prepared += parts
                sources.append(source)
                sizes.append(size)
        read: Iterator[Answer] = iter(())
        if prepared:
            starts = range(0, len(prepared), batch_size)
            joined = [self._kind.joined(prepared[at : at + batch_size]) for at in starts]
            outputs = [self.run_prepared(samples) for samples in joined]
            together = {name: np.concatenate([each[name] for each in outputs]) for name in outputs[0]}
            read = iter(self._reader.read(together, self.metadata, sources, sizes))
        for position in range(len(batch)):
            yield failed[position] if position in failed else next(read)

    def feed(self, images: Any) -> dict[str, npt.NDArray[Any]]:
        """Return what the graph's inputs are given for a prepared batch; frames of points come one by one."""
        return {self._input_name: self._kind.values(images)}

    def _run(self, images: Any) -> dict[str, npt.NDArray[Any]]:
        outputs = self._session.run(self._output_names, self.feed(images))
        return dict(zip(self._output_names, outputs, strict=True))

    def _run_in_fixed_batches(self, images: npt.NDArray[Any], size: int) -> dict[str, npt.NDArray[Any]]:
        padding = -len(images) % size
        padded = np.concatenate([images, np.zeros((padding, *images.shape[1:]), images.dtype)])
        parts = [self._run(padded[start : start + size]) for start in range(0, len(padded), size)]
        return {name: np.concatenate([part[name] for part in parts])[: len(images)] for name in parts[0]}


def _reader_of(metadata: ModelMetadata) -> AnswerReader:
    if metadata.task not in _READERS:
        raise BundleError(
            f"it is a model for the task {metadata.task!r}, and this runtime knows {', '.join(_READERS)}; "
            "update tao_like."
        )
    reader = _READERS[metadata.task]
    reader.check(metadata)
    return reader


def stacked(parts: Sequence[Mapping[str, npt.NDArray[Any]]]) -> dict[str, npt.NDArray[Any]]:
    """Join the outputs of samples that ran one by one: each with the samples as its first axis."""
    return {name: np.stack([part[name] for part in parts]) for name in parts[0]}


def _check_graph(
    session: onnxruntime.InferenceSession, metadata: ModelMetadata, kind: InputKind
) -> int | None:
    """Compare the graph with what the metadata promises; return its batch size if that is fixed."""
    inputs = session.get_inputs()
    if len(inputs) != 1:
        raise BundleError(f"the graph has {len(inputs)} inputs; the metadata describes one.")
    batch = kind.check_graph(session)
    missing = set(metadata.outputs).difference(output.name for output in session.get_outputs())
    if missing:
        raise BundleError(f"the graph lacks the outputs {', '.join(sorted(missing))} of its metadata.")
    return batch


def _source(image: ImageInput) -> str | None:
    return str(image) if isinstance(image, (str, Path)) else None
