"""What tasks with files in splits have in common: which samples there are, and how they are loaded."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, Literal, Protocol

from typing_extensions import override

from tao_like.tasks.base import SpecT, Split, Task


class Loading(Protocol):
    """How a spec's dataset block has samples put together."""

    batch_size: int | str
    workers: int | str
    shuffle: bool


class Source(Protocol):
    """The samples of every split."""

    def has(self, split: Split) -> bool:
        """Whether the spec gives data for a split."""

    def split_record(self) -> dict[str, Any]:
        """The files of each split, for the bundle."""

    def fingerprint(self, split: Split) -> str:
        """A text that tells a split's samples from others'."""


class SplitTask(Task[SpecT]):
    """A task that answers for its data out of a source and the dataset block of its spec."""

    @property
    def loading(self) -> Loading:
        """The dataset block, which the spec of every such task has."""
        return self.spec.dataset  # type: ignore[attr-defined]

    @property
    @abstractmethod
    def source(self) -> Source:
        """The samples of every split."""

    @override
    def has_split(self, split: Split) -> bool:
        return self.source.has(split)

    @override
    def split_record(self) -> dict[str, Any]:
        return self.source.split_record()

    @override
    def fingerprint(self, split: Split) -> str:
        return self.source.fingerprint(split)

    @override
    def batch_size(self) -> int | Literal["auto"]:
        size = self.loading.batch_size
        return size if isinstance(size, int) else "auto"

    @override
    def workers(self) -> int | Literal["auto"]:
        workers = self.loading.workers
        return workers if isinstance(workers, int) else "auto"

    @override
    def shuffles(self) -> bool:
        return self.loading.shuffle
