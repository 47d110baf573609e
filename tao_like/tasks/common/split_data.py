"""The data of tasks with files in splits: which samples there are, and how they are loaded."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from typing import Any, Protocol, TypeVar

from typing_extensions import override

from tao_like.config.blocks.common import CommonSpec
from tao_like.contract.data import Data, Loading
from tao_like.contract.sample import Split

SpecT = TypeVar("SpecT", bound=CommonSpec)


class Source(Protocol):
    """The samples of every split."""

    def has(self, split: Split) -> bool:
        """Whether the spec gives data for a split."""

    def split_record(self) -> dict[str, Any]:
        """The files of each split, for the bundle."""

    def fingerprint(self, split: Split) -> str:
        """A text that tells a split's samples from others'."""


class SplitData(Data):
    """Data whose samples come from a source, and whose loading the dataset block of a spec describes."""

    @property
    @abstractmethod
    def block(self) -> Any:
        """The dataset block: ``batch_size``, ``workers`` and ``shuffle`` at least."""

    @property
    @abstractmethod
    def source(self) -> Source:
        """The samples of every split."""

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
    def manifest(self) -> dict[str, Any]:
        return self.source.split_record()

    @override
    def fingerprint(self, split: Split) -> str:
        return self.source.fingerprint(split)


def with_stored_keys(spec: SpecT, stored: SpecT, keys: tuple[str, ...]) -> SpecT:
    """The user's spec with some keys of the dataset block as a model was trained with them.

    Args:
        spec: the user's.
        stored: the model's.
        keys: of the dataset block, such as those that say how samples are preprocessed.
    """
    own = {name: getattr(stored.dataset, name) for name in keys}  # type: ignore[attr-defined]
    return replace(spec, dataset=replace(spec.dataset, **own))  # type: ignore[attr-defined,call-arg]
