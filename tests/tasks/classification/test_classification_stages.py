"""Classification through every stage."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
from base import TaskStagesTest
from sample_images import CLASSES, damage, shape, write_class_folders
from stage_runs import PROBABILITY_TOLERANCE
from tiny_classification import SPLITS, TINY, data_overrides


class TestClassification(TaskStagesTest):
    task: ClassVar[str] = "classification"
    tiny: ClassVar[tuple[str, ...]] = TINY

    @classmethod
    def make_data(cls, folder: Path, *, missing: bool = False, corrupt: bool = False) -> list[str]:
        if not missing:
            write_class_folders(folder)
        if corrupt:
            (folder / "train" / CLASSES[0] / "corrupt.png").write_bytes(b"no picture")
        return data_overrides(folder)

    @classmethod
    def spoil_data(cls, folder: Path, fault: str) -> list[str]:
        if fault == "one class":
            write_class_folders(folder)
            for split in SPLITS:
                for name in CLASSES[1:]:
                    shutil.rmtree(folder / split / name)
        elif fault == "a file for a folder":
            folder.mkdir()
            for split in SPLITS:
                (folder / split).write_text("a file")
        else:
            write_class_folders(folder)
            for split in SPLITS:
                files = sorted((folder / split).rglob("*.png"))
                spoilt = {"corrupt sample": 1, "empty class": len(files) // 3, "no samples": len(files)}
                for file in files[: spoilt[fault]]:
                    if fault == "corrupt sample":
                        file.rename(file.with_name("corrupt.png"))
                        damage(file.with_name("corrupt.png"))
                    else:
                        file.unlink()
        return data_overrides(folder)

    @classmethod
    def make_source(cls, folder: Path, *, corrupt: bool = False) -> list[Path]:
        folder.mkdir(parents=True)
        files = [folder / f"{number} {name}.png" for number, name in enumerate(CLASSES)]
        for number, (file, name) in enumerate(zip(files, CLASSES, strict=True)):
            shape([name], 500 + number).save(file)
        if corrupt:
            damage(files[1])
        return files

    def assert_same_prediction(self, prediction: Mapping[str, Any], row: Mapping[str, str]) -> None:
        assert prediction["label"] == (row["label"] or None)
        assert str(prediction["rejected"]) == row["rejected"]
        for name, value in prediction["probabilities"].items():
            assert value == pytest.approx(float(row[f"p_{name}"]), abs=PROBABILITY_TOLERANCE)
