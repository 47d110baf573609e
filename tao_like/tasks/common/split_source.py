"""Which samples each split has, by what the spec says and what a bundle has stored; for tasks with files."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import defaultdict
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar, cast

from tao_like.contract.sample import SPLITS, Split
from tao_like.data.checks.findings import Finding
from tao_like.data.checks.folders import unused_findings
from tao_like.data.images.sample import ImageRecord
from tao_like.data.images.unreadable import UnreadableImages
from tao_like.data.splits.division import split_records
from tao_like.data.splits.stored import FoundSplit, split_from_dict, split_to_dict
from tao_like.errors import DatasetError
from tao_like.tasks.common.split_data import check_num_classes, fingerprint_of

RecordT = TypeVar("RecordT", bound=ImageRecord)


class Division(Protocol):
    """How training data is divided: shares, seed, and what stays together."""

    val: float
    test: float
    seed: int
    group_by: str


class DividedData(Protocol):
    """What the dataset block of a spec says of splits and classes."""

    split: Any
    num_classes: int | None


class SplitSource(ABC, Generic[RecordT]):
    """Records of every split, read once.

    Args:
        spec: the dataset block.
        stored_split: the division that a bundle was trained on; the spec's own is not drawn again then.
        classes: class names of a bundle; None: found in the training data.
    """

    target_words: ClassVar[str] = "label in dataset.train_dataset"
    """What an image has, and the key of the spec that names it."""

    def __init__(
        self, spec: DividedData, stored_split: dict[str, Any] | None, classes: list[str] | None
    ) -> None:
        self._data = spec
        self._stored_split = stored_split
        self._given_classes = classes
        self._records: dict[Split, list[RecordT]] = {}
        self._classes: list[str] | None = None
        self.notes: list[str] = []
        self.unreadable = UnreadableImages() if getattr(spec, "on_error", "stop") == "skip" else None

    @abstractmethod
    def named(self, split: Split) -> Any:
        """What the spec names for a split; false where it names nothing."""

    def roots(self, split: Split) -> list[Path]:
        """The folders that the names of a split's files are relative to, one a source; empty: one or none."""
        del split
        return []

    @abstractmethod
    def read(self, split: Split) -> list[RecordT]:
        """All that the spec names for a split, undivided. Raises DatasetError, SpecError."""

    def read_stored(self, split: Split, stored: dict[str, Any]) -> tuple[list[RecordT], FoundSplit]:
        """The records of a split that a bundle has stored, found again. Raises DatasetError."""
        found = split_from_dict(stored, self.roots("train"), splits=[split])
        # Two sources may have targets for one image: its records are then taken in turn.
        by_path: defaultdict[Path, list[RecordT]] = defaultdict(list)
        for record in self.read("train"):
            by_path[record.path.resolve()].append(record)
        wanted = found.records[split]
        lost = [record.name for record in wanted if record.path.resolve() not in by_path]
        if lost:
            raise DatasetError(
                f"{len(lost)} images of the stored split have no {self.target_words}, such as {lost[0]}; "
                "give the data that the model was trained from"
            )
        same = (by_path[record.path.resolve()] for record in wanted)
        return [records.pop(0) if len(records) > 1 else records[0] for records in same], found

    @abstractmethod
    def found_classes(self) -> list[str]:
        """Class names as the training data has them. Raises DatasetError."""

    @abstractmethod
    def labels_text(self, record: RecordT) -> tuple[str, ...]:
        """The targets of a record as texts, for the fingerprint."""

    def is_divided(self, split: Split) -> bool:
        """Whether this split is cut out of the training data."""
        if split == "train" or self.named(split) or not self.named("train"):
            return False
        division: Division = self._data.split
        fraction = division.val if split == "val" else division.test
        return fraction > 0 and not (split == "test" and bool(self.named("val")))

    def has(self, split: Split) -> bool:
        """Whether there is data for a split."""
        return bool(self.named(split)) or self.is_divided(split)

    def divides(self) -> bool:
        """Whether validation or test data is cut out of the training data."""
        return self.is_divided("val") or self.is_divided("test")

    def records(self, split: Split) -> list[RecordT]:
        """The records of a split; empty where the spec gives none. Raises DatasetError, SpecError."""
        if split not in self._records:
            if self.divides() and (split == "train" or self.is_divided(split)):
                self._records |= self._divided(split)
            else:
                self._records[split] = self._read_usable(split)
        return self._records[split]

    @property
    def classes(self) -> list[str]:
        """Class names in the order of the outputs. Raises DatasetError."""
        if self._given_classes is not None:
            return self._given_classes
        if self._classes is None:
            names = self.found_classes()
            check_num_classes(self._data.num_classes, names)
            self._classes = names
        return self._classes

    def count(self, split: Split) -> int:
        """Samples of a split, without reading them. Raises DatasetError, SpecError."""
        return len(self.records(split))

    def split_record(self) -> dict[str, Any]:
        """The files of each split, for the bundle."""
        roots: dict[str, list[Path]] = {
            split: self.roots("train" if self.is_divided(split) else split) for split in SPLITS
        }
        return split_to_dict({split: self.records(split) for split in SPLITS}, roots)

    def fingerprint(self, split: Split) -> str:
        """A hash of the names and targets of a split's samples, in order."""
        records = self.records(split)
        return fingerprint_of((record.name, *self.labels_text(record)) for record in records)

    def findings(self) -> list[Finding]:
        """What was noticed in the data that has been read so far: images that are left out."""
        finding = self.unreadable.finding() if self.unreadable else None
        folders = dict(folder for split in SPLITS for folder in self.folders(split))
        unused = [
            each
            for folder, class_folders in folders.items()
            for each in unused_findings(folder, class_folders=class_folders)
        ]
        return [*([finding] if finding else []), *unused]

    def folders(self, split: Split) -> list[tuple[Path, bool]]:
        """Folders of which a split takes whatever images there are, and whether its folders are classes."""
        del split
        return []

    def _read_usable(self, split: Split) -> list[RecordT]:
        """All that the spec names for a split, without the images that `dataset.on_error` leaves out."""
        records = self.read(split)
        if self.unreadable is None:
            return records
        usable = set(self.unreadable.readable([record.path for record in records]))
        self.unreadable.check_fraction()
        return [record for record in records if record.path in usable]

    def _divided(self, split: Split) -> dict[Split, list[RecordT]]:
        """The training data divided: as a bundle has stored it (this split alone), else as drawn (all)."""
        if self._stored_split is not None:
            records, found = self.read_stored(split, self._stored_split)
            self.notes += found.notes()
            return {split: records}
        division: Division = self._data.split
        fractions = {name: getattr(division, name) * self.is_divided(name) for name in ("val", "test")}
        divided = split_records(
            self._read_usable("train"), **fractions, seed=division.seed, group_by=division.group_by
        )
        return {
            name: cast("list[RecordT]", divided[name])
            for name in SPLITS
            if name == "train" or self.is_divided(name)
        }
