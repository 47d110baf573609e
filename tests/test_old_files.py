"""Bundles of format 1 and exported files of schema 1, kept as files, load and predict as they did then.

``tests/files/format1`` was written once, by the code of version 0.1.0: a tiny bundle of each task, the file
that export made of it, an input, and what ``tao_like.runtime`` then predicted for it. The networks of
classification and detection were pruned. No code can write these files again, so they must not be changed.
"""

from __future__ import annotations

import csv
import dataclasses
import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

import tao_like
from tao_like import runtime
from tao_like.bundle import read_bundle, read_manifest

FOLDER = Path(__file__).parent / "files" / "format1"
INPUTS = {
    "classification": "classification.png",
    "detection": "detection.png",
    "pose_classification": "pose_classification.npy",
    "pointpillars": "pointpillars.bin",
}
PRUNED = ("classification", "detection")
TOLERANCE = 1e-5  # processors add up in different orders
STAGE_TOLERANCE = 1e-3  # a bundle runs in torch, whose sums differ from onnxruntime's


def assert_close(found: Any, expected: Any, place: str = "") -> None:
    """Texts are equal and numbers close, in dicts and lists of any depth; tuples count as lists."""
    if isinstance(expected, Mapping):
        assert found.keys() == expected.keys(), place
        for key, value in expected.items():
            assert_close(found[key], value, f"{place}.{key}")
    elif isinstance(expected, Sequence) and not isinstance(expected, str):
        assert len(found) == len(expected), place
        for number, value in enumerate(expected):
            assert_close(found[number], value, f"{place}[{number}]")
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, rel=TOLERANCE, abs=TOLERANCE), place
    else:
        assert found == expected, place


def expected_prediction(task: str) -> dict[str, Any]:
    """What the runtime predicted when the files were made."""
    prediction: dict[str, Any] = json.loads((FOLDER / f"{task}.json").read_text("utf-8"))
    return prediction


@pytest.mark.parametrize("task", INPUTS)
def test_a_bundle_of_format_1_is_read(task: str) -> None:
    with zipfile.ZipFile(FOLDER / f"{task}.tltb") as archive:
        assert json.loads(archive.read("bundle.json"))["format_version"] == 1
    bundle = read_bundle(FOLDER / f"{task}.tltb", expect_task=task)
    assert bundle.weights
    assert (bundle.structure is not None) == (task in PRUNED)
    assert bundle.graph is None
    assert bundle.history[0]["stage"] == "train"
    manifest = read_manifest(FOLDER / f"{task}.tltb")
    assert (manifest["task"], manifest["classes"]) == (task, bundle.classes)


@pytest.mark.parametrize("task", INPUTS)
def test_an_exported_file_of_schema_1_predicts_as_it_did(task: str) -> None:
    model = runtime.load(FOLDER / f"{task}.onnx")
    assert model.metadata.task == task
    assert model.classes == read_bundle(FOLDER / f"{task}.tltb").classes
    expected = expected_prediction(task)
    path = FOLDER / expected["source"]
    found = dataclasses.asdict(model.predict(path))
    assert found.pop("source") == str(path)
    del expected["source"]
    assert_close(found, expected)


@pytest.mark.parametrize("suffix", ["tltb", "onnx"])
@pytest.mark.parametrize("task", INPUTS)
def test_inference_takes_the_old_files(task: str, suffix: str, tmp_path: Path) -> None:
    """The rows of predictions.csv say what the runtime predicted."""
    words = [
        f"results_dir={tmp_path}",
        f"inference.checkpoint={FOLDER / f'{task}.{suffix}'}",
        f"inference.source={FOLDER / INPUTS[task]}",
    ]
    if task == "pose_classification":
        words.append("model.graph_layout=openpose")  # an exported file does not say it, and the plots need it
    result = tao_like.run(task, "inference", None, words, quiet=True)
    with (result.folder / "predictions.csv").open(newline="", encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    expected = expected_prediction(task)
    if "probabilities" in expected:
        assert row["label"] == expected["label"]
        for name, value in expected["probabilities"].items():
            assert float(row[f"p_{name}"]) == pytest.approx(value, abs=STAGE_TOLERANCE)
    else:
        assert int(row["objects"]) == len(expected["detections"]) > 0


def test_the_names_of_version_0_1_stay() -> None:
    from tao_like.runtime.geometry import boxes, boxes3d
    from tao_like.runtime.predictions import classes, detections

    assert runtime.ClassificationAnswer is runtime.ClassPrediction is classes.ClassificationAnswer
    assert runtime.DetectionAnswer is runtime.BoxesPrediction
    assert runtime.Detection3dAnswer is runtime.Boxes3dPrediction
    assert runtime.Answer is runtime.Prediction
    assert detections.Detections is detections.Detections
    assert (boxes.overlaps, boxes.letterbox_transform) == (boxes.box_iou, boxes.letterbox_transform)
    assert (boxes3d.ground_overlaps, boxes3d.overlaps_3d) == (boxes3d.bev_iou, boxes3d.box_iou_3d)
    assert runtime.ImagePreparation is runtime.ImagePreprocessing
    assert runtime.SkeletonPreparation is runtime.SkeletonPreprocessing
    assert runtime.SkeletonPreprocessing.places is runtime.SkeletonPreprocessing.dimensions
    assert (runtime.prepare, runtime.prepare_skeleton) == (runtime.preprocess, runtime.preprocess_skeleton)
    assert (runtime.Model.prepare, runtime.Model.run_prepared) == (
        runtime.Model.preprocess,
        runtime.Model.run_preprocessed,
    )
    model = runtime.load(FOLDER / "classification.onnx")
    assert isinstance(model, runtime.Model)
    assert model.preparation is model.preprocessing
    assert model.metadata.preparation == model.metadata.preprocessing
    assert {"height", "width"} <= set(model.metadata.preparation)
