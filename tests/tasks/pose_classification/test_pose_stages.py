"""Pose classification through every stage."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from base import TaskStagesTest
from tiny_pose import ACTIONS, SIZES, TINY, data_overrides, sequence, write_actions


class TestPoseClassification(TaskStagesTest):
    task: ClassVar[str] = "pose_classification"
    tiny: ClassVar[tuple[str, ...]] = TINY
    input_formats: ClassVar[tuple[str, ...]] = ("float_nctvm",)

    @classmethod
    def make_data(cls, folder: Path, *, missing: bool = False, corrupt: bool = False) -> list[str]:
        if not missing:
            write_actions(folder)
        if corrupt:
            spoil_sample(folder, "train")
        return data_overrides(folder)

    @classmethod
    def spoil_data(cls, folder: Path, fault: str) -> list[str]:
        write_actions(folder)
        spoil_tables(folder / "tables", fault)
        for split in SIZES:
            data, labels = folder / f"{split}_data.npy", folder / f"{split}_label.json"
            content = json.loads(labels.read_text())
            if fault == "corrupt sample":
                spoil_sample(folder, split)
                continue
            if fault == "a file for a folder":
                data.write_text("a file")
                continue
            kept = {"no samples": (), "one class": (0,), "empty class": (0, 1)}[fault]
            chosen = [number for number, label in enumerate(content["labels"]) if label in kept]
            np.save(data, np.load(data)[chosen])
            for key in ("names", "labels"):
                content[key] = [content[key][number] for number in chosen]
            labels.write_text(json.dumps(content))
        return data_overrides(folder)

    @classmethod
    def make_source(cls, folder: Path, *, corrupt: bool = False) -> list[Path]:
        folder.mkdir(parents=True)
        files = [folder / f"{number} action.npy" for number in range(3)]
        for number, file in enumerate(files):
            np.save(file, sequence(500 + number, ACTIONS[number]))
        if corrupt:
            files[1].write_bytes(files[1].read_bytes()[:-100])
        return files

    def assert_same_prediction(self, prediction: Mapping[str, Any], row: Mapping[str, str]) -> None:
        assert (prediction["label"] or "") == row["label"]
        assert prediction["score"] == pytest.approx(float(row["score"]), abs=1e-4)
        for name, probability in prediction["probabilities"].items():
            assert probability == pytest.approx(float(row[f"p_{name}"]), abs=1e-4)


def spoil_sample(folder: Path, split: str) -> None:
    """Puts a value that is no number into the second sequence of a split, and calls it corrupt."""
    data, labels = folder / f"{split}_data.npy", folder / f"{split}_label.json"
    values = np.load(data)
    values[1, 0, 5, 3, 0] = np.nan
    np.save(data, values)
    content = json.loads(labels.read_text())
    content["names"][1] = "corrupt"
    labels.write_text(json.dumps(content))


def spoil_tables(folder: Path, fault: str) -> None:
    """The same faults in the tables that are converted."""
    if fault == "corrupt sample":
        (folder / "walk" / "2.csv").rename(folder / "walk" / "corrupt.csv")
        (folder / "walk" / "corrupt.csv").write_text("no table")
    elif fault in ("no samples", "a file for a folder"):
        shutil.rmtree(folder)
        if fault == "no samples":
            folder.mkdir()
        else:
            folder.write_text("a file")
    else:
        for action in ACTIONS[1:] if fault == "one class" else ACTIONS[2:]:
            shutil.rmtree(folder / action)
