"""The data of tasks with files in splits: which samples there are, and how they are loaded."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from typing_extensions import override

from tao_like.contract.data import Data, Loading
from tao_like.contract.labels import Labels
from tao_like.contract.sample import Split
from tao_like.errors import DatasetError


class Source(Protocol):
    """The samples of every split."""

    @property
    def classes(self) -> list[str]:
        """Class names in the order of the outputs. Raises DatasetError."""

    def has(self, split: Split) -> bool:
        """Whether the spec gives data for a split."""

    def count(self, split: Split) -> int:
        """Samples of a split, without reading them. Raises DatasetError."""

    def split_record(self) -> dict[str, Any]:
        """The files of each split, for the bundle."""

    def fingerprint(self, split: Split) -> str:
        """A text that tells a split's samples from others'."""


def fingerprint_of(samples: Iterable[Iterable[str]]) -> str:
    """A hash of the texts that tell of each sample, in order."""
    digest = hashlib.sha256()
    for words in samples:
        digest.update("\0".join((*words, "\n")).encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def check_num_classes(num_classes: int | None, names: Sequence[str]) -> None:
    """Raises DatasetError where the spec gives another number of classes than the data has."""
    if num_classes not in (None, len(names)):
        raise DatasetError(
            f"dataset.num_classes is {num_classes}, and the data has {len(names)} classes "
            f"({', '.join(names[:10])}{', ...' if len(names) > 10 else ''}); correct or remove it"
        )


SourceT = TypeVar("SourceT", bound=Source)


class SplitData(Data, Generic[SourceT]):
    """Data whose samples come from a source, and whose loading the dataset block of a spec describes.

    Args:
        block: the dataset block: ``batch_size``, ``workers`` and ``shuffle`` at least.
        source: the samples of every split.
    """

    key_form: ClassVar[str] = "dataset.{split}_dataset.images_dir"
    """The key of the spec that names a split's data, for messages."""

    def __init__(self, block: Any, source: SourceT) -> None:
        self.block = block
        self.source = source

    @property
    @override
    def labels(self) -> Labels:
        return Labels(self.source.classes)

    @property
    @override
    def loading(self) -> Loading:
        size, workers = self.block.batch_size, self.block.workers
        return Loading(
            size if isinstance(size, int) else "auto",
            workers if isinstance(workers, int) else "auto",
            self.block.shuffle,
        )

    @override
    def has(self, split: Split) -> bool:
        return self.source.has(split)

    @override
    def key(self, split: Split) -> str:
        return self.key_form.format(split=split)

    @override
    def count(self, split: Split) -> int:
        return self.source.count(split)

    @override
    def manifest(self) -> dict[str, Any] | None:
        return self.source.split_record()

    @override
    def fingerprint(self, split: Split) -> str:
        return self.source.fingerprint(split)
