"""Segmentation through every stage."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
from base import TaskStagesTest
from pictures import damage
from tiny_segmentation import CLASSES, SIZES, TINY, data_overrides, scene, write_masks


class TestSegmentation(TaskStagesTest):
    task: ClassVar[str] = "segmentation"
    tiny: ClassVar[tuple[str, ...]] = TINY
    # The palette names the classes; that photos show all of them is a wish.
    tolerates: ClassVar[tuple[str, ...]] = ("empty class", "one class")

    @classmethod
    def make_data(cls, folder: Path, *, missing: bool = False, corrupt: bool = False) -> list[str]:
        if not missing:
            write_masks(folder)
        if corrupt:
            (folder / "images" / "train" / "000.png").rename(folder / "images" / "train" / "corrupt.png")
            (folder / "masks" / "train" / "000.png").rename(folder / "masks" / "train" / "corrupt.png")
            (folder / "images" / "train" / "corrupt.png").write_bytes(b"no picture")
        return data_overrides(folder)

    @classmethod
    def spoil_data(cls, folder: Path, fault: str) -> list[str]:
        write_masks(folder, names=CLASSES[:1] if fault == "one class" else CLASSES)
        for split in SIZES:
            images, masks = folder / "images" / split, folder / "masks" / split
            if fault == "corrupt sample":
                for part in (images, masks):
                    (part / "001.png").rename(part / "corrupt.png")
                damage(images / "corrupt.png")
            elif fault == "no samples":
                for part in (images, masks):
                    shutil.rmtree(part)
                    part.mkdir()
            elif fault == "a file for a folder":
                shutil.rmtree(images)
                images.write_text("a file")
            elif fault == "empty class":
                shutil.rmtree(images)
                shutil.rmtree(masks)
        if fault == "empty class":
            write_masks(folder, names=CLASSES[:2])
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
        pixels = answer["width"] * answer["height"]
        assert (str(answer["width"]), str(answer["height"])) == (row["width"], row["height"])
        assert sum(answer["runs"][1::2]) == pixels
        for name in CLASSES:
            assert answer["areas"][name] / pixels == pytest.approx(float(row[f"share_{name}"]), abs=1e-4)
