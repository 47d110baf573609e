"""Masks are scored as pycocotools scores the file that the stages write; outlines as data; their check."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_instances import IDS, data_overrides, tiny_spec, write_coco

from tao_like.contract.sample import Sample
from tao_like.runtime.predictions.instances import Instances
from tao_like.tasks.instance_segmentation.data.data import InstanceData
from tao_like.tasks.instance_segmentation.task import InstanceSegmentationTask

SIZES = {"train": 4, "val": 6, "test": 1}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images, of which one object in three on val is a crowd."""
    folder = write_coco(tmp_path_factory.mktemp("data"), SIZES)
    content = json.loads((folder / "val.json").read_text())
    for entry in content["annotations"][::3]:
        entry["iscrowd"] = 1
    (folder / "val.json").write_text(json.dumps(content))
    return folder


def guesses(target: Any, draw: np.random.Generator) -> Instances:
    """Boxes near the objects and elsewhere, with masks that are partly right."""
    boxes = target.arrays.boxes + draw.normal(0, 2, target.arrays.boxes.shape)
    boxes = np.concatenate([boxes, [[2, 2, 30, 20], [50, 10, 90, 60]]]).clip(0, [96, 64, 96, 64])
    labels = np.concatenate([target.arrays.labels, [0, 1]])
    yy, xx = np.mgrid[-1:1:28j, -1:1:28j]
    shapes = [np.hypot(yy, xx) < draw.uniform(0.6, 1.2) for _ in labels]
    scores = np.sort(draw.random(len(labels)))[::-1]
    return Instances(
        boxes.astype(np.float32), scores.astype(np.float32), labels, shapes=np.array(shapes, np.float32)
    )


def by_pycocotools(targets: Path, found: dict[str, Any], kind: str) -> list[float]:
    """The twelve figures of the reference implementation."""
    coco, evaluation = pytest.importorskip("pycocotools.coco"), pytest.importorskip("pycocotools.cocoeval")
    names = {image["id"]: image["file_name"] for image in found["images"]}
    with contextlib.redirect_stdout(io.StringIO()):
        target = coco.COCO(str(targets))
        ids = {image["file_name"]: image["id"] for image in target.dataset["images"]}
        results = [
            {
                "image_id": ids[Path(names[entry["image_id"]]).name],
                "category_id": sorted(IDS.values())[entry["category_id"] - 1],
                "score": entry["score"],
                **({"segmentation": entry["segmentation"]} if kind == "segm" else {"bbox": entry["bbox"]}),
            }
            for entry in found["annotations"]
        ]
        scored = evaluation.COCOeval(target, target.loadRes(results), kind)
        scored.evaluate()
        scored.accumulate()
        scored.summarize()
    return [float(value) for value in scored.stats]


def test_the_written_file_scores_in_pycocotools_as_the_metrics_say(folder: Path) -> None:
    task = InstanceSegmentationTask(tiny_spec(*data_overrides(folder)))
    dataset, draw = task.data.dataset("val"), np.random.default_rng(0)
    metrics, records = task.phases()[0].metrics(), []
    for index in range(len(dataset)):
        target = dataset[index].ground_truth
        found = guesses(target, draw)
        metrics.update([index], [found], [target])
        records.append(task.predictions.record(Sample(dataset.key(index), None, target), found))  # type: ignore[attr-defined]
    values = metrics.compute().values
    written = json.loads(task.predictions.files(records)["detections.json"])  # type: ignore[attr-defined]
    own = [list(values.values())[start : start + 12] for start in (0, 12)]
    assert 0.1 < values["mask_mAP50"] < 1
    assert by_pycocotools(folder / "val.json", written, "segm") == pytest.approx(own[0], abs=1e-12)
    assert by_pycocotools(folder / "val.json", written, "bbox") == pytest.approx(own[1], abs=1e-12)


def test_masks_follow_the_image_into_the_input(folder: Path) -> None:
    words = [
        f"dataset.{key}"
        for key in ("img_size=192", "img_height=160", "augmentation.random_color.enable=false")
    ]
    torch.manual_seed(0)
    data = InstanceSegmentationTask(tiny_spec(*data_overrides(folder), *words)).data
    for index in range(1, 4):
        item = data.dataset("train", augment=True)[index]
        assert item.masks.shape == (len(item.boxes), 160, 192)
        for mask, box in zip(item.masks, item.boxes, strict=True):
            rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
            around = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
            assert box.tolist() == around
            # All of the object and hardly any ground: it is red or blue, and the ground is gray.
            inside = item.pixels[mask > 0].astype(int)
            assert np.median(np.abs(inside[:, 0] - inside[:, 2])) > 100


def yolo_data(folder: Path, line: str) -> InstanceData:
    """One photo of 40 x 20 with a YOLO file of one line, in every split."""
    folder.mkdir()
    Image.new("RGB", (40, 20)).save(folder / "a.png")
    (folder / "a.txt").write_text(line)
    (folder / "classes.txt").write_text("thing\n")
    source = f"[{{image_dir: '{folder}', label_dir: '{folder}', classes_file: '{folder}/classes.txt'}}]"
    words = [f"dataset.{split}_data_sources={source}" for split in ("train", "val")]
    return InstanceSegmentationTask(tiny_spec(*words)).data


def test_yolos_polygons_are_masks(tmp_path: Path) -> None:
    data = yolo_data(tmp_path / "photos", "0 0.25 0.5 0.75 0.5 0.75 1 0.25 1\n")
    (mask,) = data.dataset("train").sample(0).target.masks
    assert mask[10:, 10:30].all()
    assert mask.sum() == 200


def test_boxes_without_outlines_are_refused_and_objects_without_a_pixel_are_not(
    folder: Path, tmp_path: Path
) -> None:
    report = yolo_data(tmp_path / "photos", "0 0.5 0.5 0.5 0.5\n").check(full=False)
    assert "no_outlines" in [finding.code for finding in report.errors]
    content = json.loads((folder / "train.json").read_text())
    empty = {"bbox": [3, 3, 1, 1], "segmentation": [[3, 3, 3, 3, 3, 3]]}
    content["annotations"].append({**content["annotations"][0], "id": 999, **empty})
    file = tmp_path / "train.json"
    file.write_text(json.dumps(content))
    words = [word.replace(str(folder / "train.json"), str(file)) for word in data_overrides(folder)]
    data = InstanceSegmentationTask(tiny_spec(*words)).data
    report = data.check(full=True)
    assert not report.errors
    assert "no_pixel" in [finding.code for finding in report.findings]
    before = InstanceSegmentationTask(tiny_spec(*data_overrides(folder))).data.dataset("train")
    assert [len(data.dataset("train")[n].masks) for n in range(4)] == [len(before[n].masks) for n in range(4)]
