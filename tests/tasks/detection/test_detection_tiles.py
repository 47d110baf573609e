"""Big images as tiles in training and evaluation: known squares are where each tile's boxes say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from box_images import IDS, annotation
from PIL import Image, ImageDraw
from sample_images import COLORS
from tiny_detection import tiny_spec

from tao_like.contract.capabilities import Tiles
from tao_like.contract.sample import Sample
from tao_like.runtime.geometry.boxes import letterbox_transform
from tao_like.runtime.inputs.image import ImagePreprocessing, read_image
from tao_like.runtime.predictions.detections import Detections
from tao_like.runtime.predictions.tiles import Tiles as Cut
from tao_like.tasks import task_class

SIZE = (248, 150)
SQUARES = [("red", 5, 5, 12), ("green", 90, 40, 14), ("blue", 60, 60, 8), ("red", 228, 130, 20)]
"""Class, left, top and side: in a corner, on a border of tiles, on another, and in the opposite corner."""


@pytest.fixture
def task(tmp_path: Path) -> Any:
    """Detection on one big image with known squares."""
    (tmp_path / "train").mkdir()
    image = Image.new("RGB", SIZE, (100, 100, 100))
    pen = ImageDraw.Draw(image)
    for name, left, top, side in SQUARES:
        pen.rectangle((left, top, left + side - 1, top + side - 1), fill=COLORS[name])
    image.save(tmp_path / "train" / "0.png")
    content = {
        "images": [{"id": 0, "file_name": "0.png", "width": SIZE[0], "height": SIZE[1]}],
        "annotations": [
            annotation(number, 0, name, [left, top, side, side])
            for number, (name, left, top, side) in enumerate(SQUARES)
        ],
        "categories": [{"id": number, "name": name} for name, number in IDS.items()],
    }
    (tmp_path / "train.json").write_text(json.dumps(content))
    named = f"{{image_dir: '{tmp_path / 'train'}', json_file: '{tmp_path / 'train.json'}'}}"
    splits = [f"dataset.{split}_data_sources={named}" for split in ("train", "val")]
    # A tile is as large as the input: 96 x 64 pixels.
    return task_class("detection")(tiny_spec(*splits, "dataset.tiling.enable=true"))


def test_each_tile_is_a_sample_whose_boxes_lie_on_its_squares(task: Any) -> None:
    dataset = task.data.dataset("train")
    assert len(dataset) == task.data.count("train") == 9
    seen = set()
    for index in range(len(dataset)):
        sample = dataset.sample(index)
        pixels = np.asarray(sample.data).astype(int)
        assert pixels.shape == (64, 96, 3)
        arrays = sample.target.arrays
        for box, label in zip(arrays.boxes.astype(int), arrays.labels, strict=True):
            name = task.data.labels.names[label]
            inside = pixels[box[1] : box[3], box[0] : box[2]]
            assert (np.abs(inside - COLORS[name]).max(axis=2) == 0).all()
            seen.add(name)
        # Nothing else of a square's color is on the tile, but remnants below a fifth of a square.
        painted = sum((np.abs(pixels - color).max(axis=2) == 0).sum() for color in COLORS.values())
        covered = ((arrays.boxes[:, 2:] - arrays.boxes[:, :2]).prod(axis=1)).sum()
        assert 0 <= painted - covered < 0.2 * 20**2 + 20
    assert seen == set(COLORS)


def test_perfect_answers_of_the_tiles_are_a_perfect_answer_for_the_image(task: Any) -> None:
    dataset = task.data.dataset("val")
    tiles = task.capability(Tiles)
    assert list(tiles.image_numbers(dataset)) == [0] * len(dataset)
    scored = []
    for index in range(len(dataset)):
        item = dataset[index]
        scores = np.full(len(item.labels), 0.9, np.float32)
        scored.append((index, Detections(item.boxes, scores, item.labels), item.ground_truth))
    ((image, prediction, target),) = tiles.merged(scored)
    assert image == 0
    assert len(prediction) == len(SQUARES)
    metrics = task.phases()[0].metrics()
    metrics.update([image], [prediction], [target])
    assert metrics.compute().values["mAP"] == pytest.approx(1.0)
    whole = tiles.whole_sample(dataset, 0)
    assert (tiles.whole_key(dataset, 0), dataset.key(1)) == (whole.key, dataset.sample(1).key)
    assert whole.data.size == SIZE
    boxes = letterbox_transform(*SIZE, task.data.preprocessing).to_image(prediction.boxes)
    expected = [[left, top, left + side, top + side] for _, left, top, side in SQUARES]
    assert sorted(boxes.round().tolist()) == sorted(expected)
    row = task.predictions.csv_row(whole, prediction)
    assert int(row["objects"]) == len(SQUARES)
    # The sizes of the target stand for those of the image, which need not be decoded again.
    assert task.predictions.csv_row(Sample(whole.key, None, target), prediction) == row


def test_training_draws_on_other_tiles_too(task: Any) -> None:
    augmented = task.data.dataset("train", augment=True)
    augmented.set_epoch(0)
    item = augmented[3]
    assert item.pixels.shape == (64, 96, 3)
    assert item.ground_truth.image == 0


def test_tiles_of_twelve_bits_are_as_bright_in_training_and_at_run_time(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    pixels = np.zeros((150, 248), np.uint16)
    pixels[40:54, 90:104] = 3800
    Image.fromarray(pixels).save(tmp_path / "train" / "a.png")
    content = {
        "images": [{"id": 1, "file_name": "a.png", "width": 248, "height": 150}],
        "annotations": [annotation(1, 1, "green", [90, 40, 14, 14])],
        "categories": [{"id": number, "name": name} for name, number in IDS.items()],
    }
    (tmp_path / "train.json").write_text(json.dumps(content))
    source = f"[{{image_dir: '{tmp_path / 'train'}', json_file: '{tmp_path / 'train.json'}'}}]"
    words = (f"dataset.train_data_sources={source}", "dataset.split.val=0", "dataset.split.test=0")
    task = task_class("detection")(tiny_spec(*words, "dataset.tiling.enable=true", "train.keep=last"))
    dataset = task.data.dataset("train")
    brightest = max(np.asarray(dataset.sample(index).data).max() for index in range(len(dataset)))
    # 3800 of 4095 is 236.6 of 255.
    assert brightest == 237
    stated = ImagePreprocessing.from_dict(task.inputs["image"].preprocessing)
    tiles = Cut(read_image(tmp_path / "train" / "a.png", stated.window), task.data.tiling)
    assert len(tiles) == len(dataset)
    assert max(np.asarray(tile).max() for tile in tiles) == 237
