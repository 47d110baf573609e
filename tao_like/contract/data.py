"""The data of a task, as a stage sees it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from PIL import Image

from tao_like.contract.batch import Batch
from tao_like.contract.labels import Labels
from tao_like.contract.sample import Sample, Split
from tao_like.data.checks.findings import Finding


class Dataset(Protocol):
    """A split of the data, by number.

    One whose random changes depend on the epoch has ``set_epoch(epoch)`` too, which is called before every
    sample of a training.
    """

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Any:
        """A preprocessed sample; random changes are drawn from torch's global generator."""

    def sample(self, index: int) -> Sample:
        """The sample as it is on disk."""

    def key(self, index: int) -> str:
        """The name of a sample, without reading it."""


@dataclass
class DataReport:
    """Result of a check of the data.

    Attributes:
        findings: what was found, errors first.
        summary: counts and sizes, ready for JSON.
        figures: name to figure, such as the contact sheet.
    """

    findings: list[Finding] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    figures: dict[str, Image.Image] = field(default_factory=dict)

    @property
    def errors(self) -> list[Finding]:
        """The findings that stop a training."""
        return [finding for finding in self.findings if finding.level == "error"]


@dataclass(frozen=True)
class Loading:
    """How samples are put together to batches.

    Attributes:
        batch_size: samples a step and process.
        workers: processes that load data.
        shuffle: training data comes in a new order every epoch.
    """

    batch_size: int | Literal["auto"]
    workers: int | Literal["auto"]
    shuffle: bool = True


class Data(ABC):
    """The samples of every split, their targets and labels."""

    @property
    @abstractmethod
    def labels(self) -> Labels:
        """What the targets tell apart. Raises DatasetError."""

    @property
    @abstractmethod
    def loading(self) -> Loading:
        """How samples are put together, as the spec has it."""

    @property
    def divided(self) -> bool:
        """Whether the spec has training data divided into splits, rather than splits of their own."""
        return False

    @abstractmethod
    def has(self, split: Split) -> bool:
        """Whether the spec gives data for this split."""

    def key(self, split: Split) -> str:
        """The key of the spec that names a split's data, for messages."""
        return f"dataset.{split}_dataset.images_dir"

    @abstractmethod
    def count(self, split: Split) -> int:
        """Samples of a split, without reading them. Raises DatasetError."""

    @abstractmethod
    def dataset(self, split: Split, *, augment: bool = False) -> Dataset:
        """The data of a split. Raises DatasetError."""

    @abstractmethod
    def collate(self, samples: Sequence[Any]) -> Batch[Any]:
        """Joins preprocessed samples to a batch."""

    @abstractmethod
    def check(self, *, full: bool, on_progress: Callable[[int, int], None] | None = None) -> DataReport:
        """Looks at the data: quickly (before a training) or fully (dataset_check)."""

    @abstractmethod
    def manifest(self) -> dict[str, Any] | None:
        """The files of each split, for the bundle."""

    @abstractmethod
    def fingerprint(self, split: Split) -> str:
        """A text that tells a split's samples, their order and targets from others', without reading them.

        By names below the data's root, so that a resumed training knows its data where the folder has moved.
        """

    def inference_files(self) -> list[Path]:
        """The files without labels that the spec names for an inference; empty: none. Raises DatasetError."""
        return []
