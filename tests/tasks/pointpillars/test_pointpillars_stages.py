"""LiDAR detection through every stage."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from base import TaskStagesTest
from tiny_pointpillars import COUNTS, TINY, write_frames

from tao_like.samples.lidar_scenes import make_frame


class TestPointPillars(TaskStagesTest):
    task: ClassVar[str] = "pointpillars"
    tiny: ClassVar[tuple[str, ...]] = TINY
    input_formats: ClassVar[tuple[str, ...]] = ("points",)
    fixed_batch: ClassVar[int] = 1

    @classmethod
    def make_data(cls, folder: Path, *, missing: bool = False, corrupt: bool = False) -> list[str]:
        if missing:
            return [f"dataset.data_path={folder / 'nowhere'}"]
        words = write_frames(folder)
        for split in COUNTS:
            # Names need not be UTF-8 text: an archive that was packed on an old Windows system has others.
            for part, suffix in (("lidar", ".bin"), ("label", ".txt")):
                path = folder / split / part / f"000002{suffix}"
                path.rename(path.with_name(os.fsdecode(b"fahrr\xe4der") + suffix))
        if corrupt:
            spoil(folder, "train")
        return words

    @classmethod
    def spoil_data(cls, folder: Path, fault: str) -> list[str]:
        words = write_frames(folder)
        for split in COUNTS:
            if fault == "corrupt sample":
                spoil(folder, split)
            elif fault == "no samples":
                shutil.rmtree(folder / split / "lidar")
                (folder / split / "lidar").mkdir()
            elif fault == "a file for a folder":
                shutil.rmtree(folder / split)
                (folder / split).write_text("a file")
            else:
                # The data has cyclists too, which are no class.
                kept = ("Car",) if fault == "empty class" else ("Pedestrian",)
                for path in (folder / split / "label").iterdir():
                    lines = [line for line in path.read_text().splitlines() if line.startswith(kept)]
                    path.write_text("".join(f"{line}\n" for line in lines))
        return words

    @classmethod
    def make_source(cls, folder: Path, *, corrupt: bool = False) -> list[Path]:
        folder.mkdir(parents=True)
        files = [folder / f"{number} frame.bin" for number in range(3)]
        for number, file in enumerate(files):
            points, _ = make_frame(np.random.default_rng(500 + number))
            file.write_bytes(points[::2].tobytes())
        if corrupt:
            files[1].write_bytes(b"no points")
        return files

    def assert_same_prediction(self, prediction: Mapping[str, Any], row: Mapping[str, str]) -> None:
        detections = prediction["detections"]
        assert len(detections) == int(row["objects"])
        for name in ("Car", "Pedestrian"):
            assert sum(found["label"] == name for found in detections) == int(row[f"n_{name}"])


def spoil(folder: Path, split: str) -> None:
    """Cuts off a frame of a split, and gives it a name that says so."""
    for part, suffix in (("lidar", ".bin"), ("label", ".txt")):
        path = folder / split / part / f"000001{suffix}"
        path = path.rename(path.with_name(f"corrupt{suffix}"))
        if part == "lidar":
            path.write_bytes(path.read_bytes()[:-5])
