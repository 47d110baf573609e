"""What tasks with files in splits have in common: which samples there are, and how they are loaded."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from typing import Any, ClassVar, Literal, Protocol

from typing_extensions import override

from tao_like.contract.task import SpecT, Split, Task


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

    model_data_keys: ClassVar[tuple[str, ...]]
    """Keys of the dataset block that say how samples are prepared: a model's affair, not the user's."""

    @property
    def loading(self) -> Loading:
        """The dataset block, which the spec of every such task has."""
        return self.spec.dataset  # type: ignore[attr-defined]

    @property
    @abstractmethod
    def source(self) -> Source:
        """The samples of every split."""

    @classmethod
    @override
    def restored_spec(cls, spec: SpecT, stored: SpecT) -> SpecT:
        own = {name: getattr(stored.dataset, name) for name in cls.model_data_keys}  # type: ignore[attr-defined]
        dataset = replace(spec.dataset, **own)  # type: ignore[attr-defined]
        return replace(super().restored_spec(spec, stored), dataset=dataset)  # type: ignore[call-arg]

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
