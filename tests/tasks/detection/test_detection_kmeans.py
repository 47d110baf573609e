"""Anchors for the training data: the clustering, and the stage that writes a spec with them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from box_images import write_coco
from PIL import Image
from tiny_detection import TINY, data_overrides, run

import tao_like
from tao_like.config import load_spec, to_dict
from tao_like.errors import DatasetError, SpecError
from tao_like.tasks import spec_module
from tao_like.tasks.detection.anchors.clusters import cluster_shapes, mean_best_iou, shape_iou

TINY_YOLO = "model.arch=yolo_v4_tiny"


def test_overlaps_of_shapes_by_hand() -> None:
    found = shape_iou(np.array([[4.0, 2.0], [10.0, 10.0]]), np.array([[2.0, 4.0], [4.0, 2.0]]))
    assert found.tolist() == [[4 / 12, 1.0], [8 / 100, 8 / 100]]
    assert mean_best_iou(np.array([[4.0, 2.0], [10.0, 10.0]]), np.array([[4.0, 2.0]])) == pytest.approx(0.54)


def test_three_heaps_of_boxes_give_their_middles_the_smallest_first() -> None:
    generator = np.random.default_rng(0)
    middles = np.array([[120.0, 60.0], [10.0, 30.0], [40.0, 40.0]])
    heaps = [middle * generator.uniform(0.9, 1.1, (50, 2)) for middle in middles]
    found = cluster_shapes(np.concatenate(heaps), 3, seed=0, max_steps=100)
    expected = [heaps[1].mean(axis=0), heaps[2].mean(axis=0), heaps[0].mean(axis=0)]
    np.testing.assert_allclose(found, expected)
    again = cluster_shapes(np.concatenate(heaps), 3, seed=0, max_steps=100)
    np.testing.assert_array_equal(found, again)


def test_the_distance_is_of_overlap_and_not_of_pixels() -> None:
    # In pixels 100 and 130 are farther apart than 2 and 8, which would share a center.
    shapes = np.array([[2.0, 2.0]] * 4 + [[8.0, 8.0]] * 4 + [[100.0, 100.0]] * 4 + [[130.0, 130.0]] * 4)
    found = cluster_shapes(shapes, 3, seed=1, max_steps=100)
    assert found[:2].tolist() == [[2.0, 2.0], [8.0, 8.0]]
    assert 100 <= found[2, 0] <= 130


def test_the_stage_writes_a_spec_that_trains_and_leaves_the_users_as_it_is(tmp_path: Path) -> None:
    folder = write_coco(tmp_path / "data")
    own = tmp_path / "own.yaml"
    own.write_text("# mine\nmodel: {arch: yolo_v4_tiny}\n", encoding="utf-8")
    words = [*TINY, *data_overrides(folder), f"results_dir={tmp_path}", "dataset.img_size=192"]
    result = tao_like.run("detection", "kmeans", own, [*words, "dataset.img_height=128"], quiet=True)
    assert own.read_text("utf-8") == "# mine\nmodel: {arch: yolo_v4_tiny}\n"
    report = json.loads((result.folder / "report.json").read_text("utf-8"))
    found = [tuple(shape) for name in ("mid", "big") for shape in report["anchors"][name]]
    # Images of 96 x 64 become inputs of 192 x 128, so squares of 16 to 29 pixels those of 32 to 58.
    annotations = json.loads((folder / "train.json").read_text())["annotations"]
    sides = 2 * np.array([box["bbox"][2] for box in annotations], float)
    assert report["boxes"] == len(sides)
    assert all(32 <= width == height <= 58 for width, height in found)
    assert found == sorted(found)
    best = np.array([max(min(a, s) ** 2 / max(a, s) ** 2 for a, _ in found) for s in sides])
    assert report["mean_overlap"]["after"] == pytest.approx(best.mean(), abs=1e-3)
    assert report["mean_overlap"]["after"] > report["mean_overlap"]["before"]
    written = result.folder / "spec_with_anchors.yaml"
    spec = load_spec(spec_module("detection").Spec, written).spec
    assert spec.model.anchors.mid_anchor_shape == report["anchors"]["mid"]
    assert spec.model.anchors.big_anchor_shape == report["anchors"]["big"]
    before = load_spec(spec_module("detection").Spec, result.folder / "spec.yaml").spec
    spec.model.anchors = before.model.anchors
    assert to_dict(spec) == to_dict(before)
    with Image.open(result.folder / "anchors.png") as image:
        assert image.size[0] > 400
    trained = tao_like.run("detection", "train", written, ["train.num_epochs=1"], quiet=True)
    assert trained.bundle.is_file()


def test_small_boxes_and_other_numbers_of_anchors(tmp_path: Path) -> None:
    words = [*data_overrides(write_coco(tmp_path / "data")), TINY_YOLO]
    four = run("kmeans", tmp_path / "four", *words, "kmeans.num_clusters=4", "kmeans.min_x=22")
    assert [len(shapes) for shapes in four.report["anchors"].values()] == [2, 2]
    assert min(width for width, _ in four.report["anchors"]["mid"]) >= 22
    with pytest.raises(SpecError, match=r"kmeans\.num_clusters=5.*multiple of 2"):
        run("kmeans", tmp_path / "five", *words, "kmeans.num_clusters=5")


def test_too_few_boxes_and_networks_without_anchors_are_named(tmp_path: Path) -> None:
    words = data_overrides(write_coco(tmp_path / "data", {"train": 2, "val": 2, "test": 2}))
    with pytest.raises(DatasetError, match=r"data/train.*6 anchors.*kmeans\.num_clusters"):
        run("kmeans", tmp_path, *words, TINY_YOLO)
    with pytest.raises(SpecError, match=r"model\.arch=yolox has no anchors.*yolo_v3"):
        run("kmeans", tmp_path, *words)


def test_sizes_are_those_of_the_images_whatever_the_labels_say(tmp_path: Path) -> None:
    folder = write_coco(tmp_path / "data")
    words = [*data_overrides(folder), TINY_YOLO]
    stated = run("kmeans", tmp_path / "coco", *words)
    run("dataset_convert", tmp_path, *words, "dataset_convert.format=kitti")
    labels = tmp_path / "dataset_convert" / "train_0"
    source = f"[{{image_dir: '{folder / 'train'}', label_dir: '{labels / 'labels'}'}}]"
    read = run("kmeans", tmp_path / "kitti", *words, f"dataset.train_data_sources={source}")
    assert read.report["anchors"] == stated.report["anchors"]
    content = json.loads((folder / "train.json").read_text("utf-8"))
    for entry in content["images"]:
        entry |= {"width": 10 * entry["height"], "height": 10 * entry["width"]}
    (folder / "train.json").write_text(json.dumps(content), encoding="utf-8")
    misled = run("kmeans", tmp_path / "misled", *words)
    assert misled.report["anchors"] == stated.report["anchors"]
    shutil.rmtree(labels)
