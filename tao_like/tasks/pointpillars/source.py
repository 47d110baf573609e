"""Which frames each split has."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from tao_like.datasets.lidar_record import LidarRecord
from tao_like.datasets.lidar_sources import LAYOUTS, LidarSource
from tao_like.errors import SpecError
from tao_like.tasks.base import Split
from tao_like.tasks.pointpillars.spec_data import DatasetSpec

SPLITS: tuple[Split, ...] = ("train", "val", "test")


class LabelledFrames:
    """Records of every split, read once.

    Args:
        spec: the dataset block.
    """

    def __init__(self, spec: DatasetSpec) -> None:
        self.spec = spec
        self._records: dict[Split, list[LidarRecord]] = {}

    def part(self, split: Split) -> str | None:
        """The data's own name of a split; None: there is none."""
        part: str | None = getattr(self.spec.data_split, split)
        return part

    def has(self, split: Split) -> bool:
        """Whether the spec gives a split."""
        return bool(self.part(split))

    def records(self, split: Split) -> list[LidarRecord]:
        """The records of a split; empty where the spec gives none. Raises DatasetError, SpecError."""
        if split not in self._records:
            part = self.part(split)
            self._records[split] = self._read(part) if part else []
        return self._records[split]

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
        digest = hashlib.sha256()
        for record in self.records(split):
            words = (record.name, *map(repr, record.objects), "\n")
            digest.update("\0".join(words).encode("utf-8", "surrogateescape"))
        return digest.hexdigest()
