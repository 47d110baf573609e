"""Which frames each split has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tao_like.contract.sample import SPLITS, Split
from tao_like.data.images.files import first_of
from tao_like.data.lidar.frame import LidarRecord
from tao_like.data.lidar.sources import LAYOUTS, LidarSource
from tao_like.errors import DatasetError, SpecError
from tao_like.tasks.common.split_data import fingerprint_of
from tao_like.tasks.pointpillars.spec_blocks.data import DatasetSpec


class LabelledFrames:
    """Records of every split, read once.

    Args:
        spec: the dataset block.
        classes: class names in the order of the outputs.
        stored_split: names of the frames of each split, out of a bundle; frames are not divided anew then.
    """

    def __init__(
        self, spec: DatasetSpec, classes: list[str], stored_split: dict[str, Any] | None = None
    ) -> None:
        self.spec = spec
        self.classes = classes
        self._stored_split = stored_split
        self._records: dict[Split, list[LidarRecord]] = {}

    def part(self, split: Split) -> str | None:
        """The data's own name of a split; None: there is none."""
        part: str | None = getattr(self.spec.data_split, split)
        return part

    def has(self, split: Split) -> bool:
        """Whether the spec gives a split."""
        return bool(self.part(split)) or (split == "val" and self.spec.data_split.is_divided)

    def count(self, split: Split) -> int:
        """Frames of a split. Raises DatasetError, SpecError."""
        return len(self.records(split))

    def records(self, split: Split) -> list[LidarRecord]:
        """The records of a split; empty where the spec gives none. Raises DatasetError, SpecError."""
        if split not in self._records:
            part = self.part(split)
            if split != "test" and self.spec.data_split.is_divided:
                self._records |= self._divided()
            else:
                self._records[split] = self._read(part) if part else []
        return self._records[split]

    def _divided(self) -> dict[Split, list[LidarRecord]]:
        """Training and validation frames out of the training part."""
        whole = self._read(self.spec.data_split.train)
        if self._stored_split is None:
            first = len(whole) - max(1, round(self.spec.data_split.val_share * len(whole)))
            return {"train": whole[:first], "val": whole[first:]}
        named = {record.name: record for record in whole}
        splits: tuple[Split, ...] = ("train", "val")
        stored: dict[Split, list[str]] = {split: self._stored_split[split] for split in splits}
        if lost := [name for names in stored.values() for name in names if name not in named]:
            raise DatasetError(
                f"{self.spec.data_path}: {len(lost)} frames of the stored split are not there:\n"
                f"{first_of(lost)}\n"
                "Give the data that the model was trained on, or a dataset.data_split.val or test of its own"
            )
        return {split: [named[name] for name in names] for split, names in stored.items()}

    def _read(self, part: str) -> list[LidarRecord]:
        spec = self.spec
        if not spec.data_path:
            raise SpecError("dataset.data_path is not given; it names the folder of the data")
        width, height = spec.image_size
        source = LidarSource(Path(spec.data_path), spec.crop_to_camera, (width, height))
        return LAYOUTS[spec.type](source, part)

    def split_record(self) -> dict[str, Any]:
        """The names of the frames of each split, for the bundle."""
        return {split: [record.name for record in self.records(split)] for split in SPLITS}

    def fingerprint(self, split: Split) -> str:
        """A hash of the names and objects of a split's frames, in order."""
        return fingerprint_of((record.name, *map(repr, record.objects)) for record in self.records(split))
