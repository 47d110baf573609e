"""What a graph and a pipeline of graphs have in common: inputs are read and fed, predictions are read."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
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
from tao_like.runtime.inputs.files import is_folder
from tao_like.runtime.inputs.image.input import ImageInput
from tao_like.runtime.inputs.kinds import input_kind
from tao_like.runtime.metadata import ModelMetadata
from tao_like.runtime.open_set import Classes, with_classes
from tao_like.runtime.predictions.base import Prediction
from tao_like.runtime.predictions.embedding import EMBEDDING
from tao_like.runtime.predictions.kinds import prediction_reader
from tao_like.runtime.tiled import TiledImages, TileReader

if TYPE_CHECKING:
    from onnxruntime import NodeArg

Sample: TypeAlias = str | os.PathLike[str] | Image.Image | npt.NDArray[Any] | Mapping[str, Any]
"""One input; for a model with several inputs a mapping of their names to one each."""
Samples: TypeAlias = Sample | Iterable[Sample]
OnError: TypeAlias = Literal["raise", "skip"]
Arrays: TypeAlias = dict[str, npt.NDArray[Any]]
_Preprocessed: TypeAlias = "Future[tuple[Any, tuple[int, int]]]"

DEFAULT_BATCH_SIZE = 8
DEFAULT_WORKERS = 4


class Model(ABC):
    """An exported model, ready to run. Made by `load`; may be used from several threads at once.

    Attributes:
        path: the ONNX file, or the folder of a pipeline.
        metadata: what it says about itself.
        inputs: each input of the graph by name: how it is read, preprocessed and fed.
    """

    def __init__(self, path: Path, metadata: ModelMetadata, nodes: Mapping[str, NodeArg | None]) -> None:
        """Hold the metadata against the graph's inputs. Raises a BundleError.

        Args:
            path: where it lies.
            metadata: what it says about itself.
            nodes: the inputs of its graphs by name, but those that graphs give each other; None for an input
                that no graph takes, such as a generator's seed.
        """
        self.path = path
        self.metadata = metadata
        self.inputs = {
            name: input_kind(one, metadata.extra)
            for name, one in _by_graph_names(metadata, list(nodes)).items()
        }
        self._reader = prediction_reader(metadata)
        self._takes_some = len(self.inputs) > 1 and metadata.prediction == EMBEDDING
        """Whether a sample may have some of the inputs, and need not have all."""
        kinds = {kind.one_by_one for kind in self.inputs.values()}
        if len(kinds) > 1:
            raise BundleError("some of its inputs come one by one and others in batches; both do not go.")
        self._one_by_one = kinds.pop()
        taken = {name: node for name, node in nodes.items() if node is not None}
        sizes = {kind.check_graph(taken[name]) for name, kind in self.inputs.items() if name in taken}
        if len(sizes) > 1:
            raise BundleError(f"its inputs have different batch sizes: {sorted(map(str, sizes))}.")
        self._fixed_batch = sizes.pop()

    @property
    def classes(self) -> list[str]:
        """The class names, in the order of the network's outputs."""
        return self.metadata.classes

    @property
    def preprocessing(self) -> Any:
        """How the only input is made, such as an `ImagePreprocessing`; of several inputs the first's."""
        return next(iter(self.inputs.values())).preprocessing

    @property
    def preparation(self) -> Any:
        """Another name for `preprocessing`."""
        return self.preprocessing

    @overload
    def predict(
        self,
        images: Sample,
        *,
        classes: Classes = ...,
        batch_size: int = ...,
        workers: int = ...,
        on_error: OnError = ...,
    ) -> Any: ...

    @overload
    def predict(
        self,
        images: Iterable[Sample],
        *,
        classes: Classes = ...,
        batch_size: int = ...,
        workers: int = ...,
        on_error: OnError = ...,
    ) -> list[Any]: ...

    def predict(
        self,
        images: Samples,
        *,
        classes: Classes = None,
        batch_size: int = DEFAULT_BATCH_SIZE,
        workers: int = DEFAULT_WORKERS,
        on_error: OnError = "raise",
    ) -> Any:
        """Predict for one image, for several, or for all in a folder.

        Args:
            images: a file, a Pillow image, or a uint8 RGB array of shape (height, width, 3); for a LiDAR
                detector a file or an array (points, values); for a model with several inputs a mapping of
                their names to one each; any number of these; or a folder (with its subfolders, without
                hidden files). A model of images and texts takes an image, a mapping with one of them, or
                with both.
            classes: words to tell images apart by, instead of the model's own classes; a mapping of names
                to sentences where a class is described by several. Only models whose ``open_set`` is true
                take them.
            batch_size: images that are computed at once.
            workers: threads that read and preprocess images.
            on_error: what follows from an image that cannot be read: ``raise`` an error that names it,
                or ``skip`` it: its prediction says why in ``error``.

        Returns:
            A prediction of the model's kind, such as a `ClassPrediction`; for several images or a folder a
            list of them, in order. A prediction for a file carries its path in ``source``.

        Raises:
            DatasetError: an image cannot be read (with ``raise``), or a folder holds none.
            SpecError: ``batch_size``, ``workers`` or ``on_error`` has no meaning.
        """
        found = self.predict_iter(
            images, classes=classes, batch_size=batch_size, workers=workers, on_error=on_error
        )
        return next(found) if self._is_single(images) else list(found)

    def predict_iter(
        self,
        images: Samples,
        *,
        classes: Classes = None,
        batch_size: int = DEFAULT_BATCH_SIZE,
        workers: int = DEFAULT_WORKERS,
        on_error: OnError = "raise",
    ) -> Iterator[Any]:
        """Yield what `predict` returns, one by one, with only a few batches in memory."""
        if batch_size < 1 or workers < 1:
            raise SpecError(f"batch_size is {batch_size} and workers {workers}; both must be 1 or more.")
        if on_error not in ("raise", "skip"):
            raise SpecError(f"on_error is {on_error!r}; it must be 'raise' or 'skip'.")
        metadata = self.metadata
        if classes is not None:
            metadata = with_classes(metadata, self.path, self._run_texts, classes)
        return self._predict_in_batches(self._each(images), batch_size, workers, on_error, metadata)

    def _run_texts(self, texts: dict[str, list[str]]) -> Arrays:
        """The outputs of texts, by the name of their input."""
        return self.run_preprocessed(
            {
                name: np.stack([self.inputs[name].preprocess(one)[0] for one in some])
                for name, some in texts.items()
            }
        )

    def run_preprocessed(self, images: Any) -> Arrays:
        """Run the network on a preprocessed batch.

        Args:
            images: N inputs, at least 1, as `preprocess` makes them: images as uint8 (N, height, width, 3),
                RGB; frames of points as a list of float32 (points, 4). For a model with several inputs a
                mapping of their names to such batches.

        Returns:
            The graph's outputs by name, as they are, each with N as its first axis. Of a model of images
            and texts that is given one of them, the outputs that stand for it.

        Raises:
            DatasetError: the batch is of another type or shape.
        """
        batches = self._batches(images)
        count = len(next(iter(batches.values())))
        if self._one_by_one:
            return stacked([self._compute(self._feed(_slice(batches, at, at + 1))) for at in range(count)])
        if self._fixed_batch in (None, count):
            return self._compute(self._feed(batches))
        return self._run_in_fixed_batches(batches, count, self._fixed_batch)

    def preprocess(self, image: Sample) -> Any:
        """Read one input and preprocess it for this network.

        Returns:
            An image as uint8 (height, width, 3), RGB; stack several of them for `run_preprocessed`. A frame
            as float32 (points, 4). For a model with several inputs, a dict of such by name.

        Raises:
            DatasetError: the input cannot be read, or is an array of another type or shape.
        """
        if len(self.inputs) > 1 or isinstance(image, Mapping):
            return {
                name: self.inputs[name].preprocess(given)[0] for name, given in self._by_name(image).items()
            }
        return self._only.preprocess(image)[0]

    prepare = preprocess
    """Another name for `preprocess`."""
    run_prepared = run_preprocessed
    """Another name for `run_preprocessed`."""

    def feed(self, images: Any) -> Arrays:
        """Return what the graph's inputs are given for a preprocessed batch; frames come one by one."""
        return self._feed(self._by_name(images))

    @abstractmethod
    def _compute(self, feed: Arrays) -> Arrays:
        """Run the graph or graphs; the outputs that the metadata names, by name."""

    @property
    def _only(self) -> Any:
        return next(iter(self.inputs.values()))

    def _by_name(self, given: Any) -> dict[str, Any]:
        """What is given, by input; a model with one input needs no name."""
        if not isinstance(given, Mapping):
            if len(self.inputs) == 1 or self._takes_some:
                return {next(iter(self.inputs)): given}
            raise DatasetError(
                f"{self.path} has the inputs {', '.join(self.inputs)}; give a mapping of these names to one "
                f"each, not a {type(given).__name__}."
            )
        if len(self.inputs) == 1 and set(given) in (set(self.inputs), set(self.metadata.inputs)):
            return dict(zip(self.inputs, given.values(), strict=True))
        known = bool(given) and set(given) <= set(self.inputs) if self._takes_some else False
        if set(given) != set(self.inputs) and not known:
            raise DatasetError(
                f"the names {', '.join(map(str, given)) or '(none)'} are given; the inputs of {self.path} "
                f"are {', '.join(self.inputs)}."
            )
        return {name: given[name] for name in self.inputs if name in given}

    def _batches(self, images: Any) -> dict[str, Any]:
        """Batches by input, checked, of one length."""
        batches = self._by_name(images)
        for name, batch in batches.items():
            self.inputs[name].check_batch(batch, self.path)
        if len({len(batch) for batch in batches.values()}) > 1:
            lengths = ", ".join(f"{name} {len(batch)}" for name, batch in batches.items())
            raise DatasetError(f"the batches for {self.path} have different lengths: {lengths}.")
        return batches

    def _feed(self, batches: Mapping[str, Any]) -> Arrays:
        return {name: self.inputs[name].graph_values(batch) for name, batch in batches.items()}

    def _run_in_fixed_batches(self, batches: dict[str, Any], count: int, size: int) -> Arrays:
        padding = -count % size
        padded = {
            name: np.concatenate([batch, np.zeros((padding, *batch.shape[1:]), batch.dtype)])
            for name, batch in batches.items()
        }
        found = [
            self._compute(self._feed(_slice(padded, start, start + size)))
            for start in range(0, count + padding, size)
        ]
        return {name: np.concatenate([one[name] for one in found])[:count] for name in found[0]}

    def _is_single(self, images: Samples) -> bool:
        if isinstance(images, (str, os.PathLike)):
            return not is_folder(images)
        return isinstance(images, Mapping) or self._only.is_one(images)

    def _each(self, images: Any) -> Iterable[Sample]:
        if isinstance(images, (str, os.PathLike)) and (len(self.inputs) == 1 or self._takes_some):
            return self._only.files(Path(images)) if is_folder(images) else [images]
        if self._is_single(images):
            return [images]
        if isinstance(images, Iterable):
            return images
        what = type(images).__name__
        raise DatasetError(f"this is a {what}; give a file, an image or an array, several, or a folder.")

    def _preprocessed(self, sample: Sample) -> tuple[Any, tuple[int, int]]:
        """One sample as the network takes it, with the size of the first input that has one."""
        if len(self.inputs) == 1:
            (given,) = self._by_name(sample).values()
            preprocessed, size = self._only.preprocess(given)
            return preprocessed, size
        pairs = {name: self.inputs[name].preprocess(given) for name, given in self._by_name(sample).items()}
        size = next((size for _, size in pairs.values() if size != (0, 0)), (0, 0))
        return {name: value for name, (value, _) in pairs.items()}, size

    def _source(self, sample: Sample) -> str | None:
        """The file of a sample; of several inputs the first that is a path, and not a text."""
        named = sample.items() if isinstance(sample, Mapping) else [(next(iter(self.inputs)), sample)]
        texts = {name for name, one in self.metadata.inputs.items() if one.kind == "text"}
        paths = (one for name, one in named if isinstance(one, (str, os.PathLike)) and name not in texts)
        return next(map(str, paths), None)

    def _joined(self, samples: Sequence[Any]) -> Any:
        """Preprocessed samples as a batch."""
        if len(self.inputs) == 1:
            return self._only.batch(samples)
        names = samples[0].keys()
        if any(one.keys() != names for one in samples):
            raise DatasetError(
                "some of the samples have other inputs than others; ask for each kind by itself."
            )
        return {name: self.inputs[name].batch([one[name] for one in samples]) for name in names}

    def _predict_in_batches(
        self,
        images: Iterable[Sample],
        batch_size: int,
        workers: int,
        on_error: OnError,
        metadata: ModelMetadata,
    ) -> Iterator[Prediction]:
        if isinstance(self._only, ImageInput) and self._only.tiling and isinstance(self._reader, TileReader):
            given = (self._by_name(image).popitem()[1] for image in images)
            skip = on_error == "skip"
            tiled = TiledImages(
                self._only, self._reader, self.run_prepared, self._source, batch_size, workers, skip
            )
            yield from tiled.predict(given, metadata)
            return
        remaining = iter(images)
        ahead: deque[tuple[str | None, _Preprocessed]] = deque()
        with ThreadPoolExecutor(workers) as pool:
            while True:
                for image in islice(remaining, 2 * batch_size - len(ahead)):
                    ahead.append((self._source(image), pool.submit(self._preprocessed, image)))
                batch = [ahead.popleft() for _ in range(min(batch_size, len(ahead)))]
                if not batch:
                    return
                yield from self._predict_batch(batch, on_error, metadata)

    def _predict_batch(
        self,
        batch: Sequence[tuple[str | None, _Preprocessed]],
        on_error: OnError,
        metadata: ModelMetadata,
    ) -> Iterator[Prediction]:
        samples: list[Any] = []
        sources: list[str | None] = []
        sizes: list[tuple[int, int]] = []
        failed: dict[int, Prediction] = {}
        for position, (source, future) in enumerate(batch):
            try:
                sample, size = future.result()
            except DatasetError as error:
                if on_error == "raise":
                    raise
                failed[position] = self._reader.failed(source, str(error))
            else:
                samples.append(sample)
                sources.append(source)
                sizes.append(size)
        read: Iterator[Prediction] = iter(())
        if samples:
            outputs = self.run_preprocessed(self._joined(samples))
            read = iter(self._reader.read(outputs, metadata, sources, sizes))
        for position in range(len(batch)):
            yield failed[position] if position in failed else next(read)


def stacked(parts: Sequence[Mapping[str, npt.NDArray[Any]]]) -> Arrays:
    """Join the outputs of samples that ran one by one: each with the samples as its first axis."""
    return {name: np.stack([part[name] for part in parts]) for name in parts[0]}


def _by_graph_names(metadata: ModelMetadata, names: list[str]) -> dict[str, Any]:
    """The metadata's inputs by the graph's names. Raises BundleError."""
    if len(metadata.inputs) == len(names) == 1:
        return {names[0]: metadata.only_input}
    if set(metadata.inputs) != set(names):
        raise BundleError(
            f"the graph has {len(names)} inputs ({', '.join(names)}); the metadata describes "
            f"{', '.join(metadata.inputs)}."
        )
    return dict(metadata.inputs)


def _slice(batches: Mapping[str, Any], start: int, end: int) -> dict[str, Any]:
    return {name: batch[start:end] for name, batch in batches.items()}
