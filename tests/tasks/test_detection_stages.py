"""Detection through every stage."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from base import TaskStagesTest
from box_pictures import scene, write_coco
from pictures import damage
from tiny_detection import TINY, data_overrides


class TestDetection(TaskStagesTest):
    task: ClassVar[str] = "detection"
    tiny: ClassVar[tuple[str, ...]] = TINY

    @classmethod
    def make_data(cls, folder: Path, *, missing: bool = False, corrupt: bool = False) -> list[str]:
        if not missing:
            write_coco(folder)
        if corrupt:
            bad = folder / "train" / "corrupt.png"
            bad.write_bytes(b"no picture")
            text = (folder / "train.json").read_text()
            (folder / "train.json").write_text(text.replace("001.png", bad.name))
        return data_overrides(folder)

    @classmethod
    def make_source(cls, folder: Path, *, corrupt: bool = False) -> list[Path]:
        folder.mkdir(parents=True)
        files = [folder / f"{number} scene.png" for number in range(3)]
        for number, file in enumerate(files):
            scene(500 + number)[0].save(file)
        if corrupt:
            damage(files[1])
        return files

    def assert_same_answer(self, answer: Mapping[str, Any], row: Mapping[str, str]) -> None:
        detections = answer["detections"]
        assert len(detections) == int(row["objects"])
        for name in ("blue", "green", "red"):
            assert sum(found["label"] == name for found in detections) == int(row[f"n_{name}"])
