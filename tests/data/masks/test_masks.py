"""Masks of COCO's polygons and runs against pycocotools, to the byte; and back to polygons."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from label_files import write
from mask_outlines import polygons_of_mask
from PIL import Image
from pycocotools import mask as coco

from tao_like.data.boxes.annotation import Box
from tao_like.data.boxes.sources import BoxSource, read_boxes
from tao_like.data.masks.instances import usable_instances
from tao_like.data.masks.runs import (
    area_of_runs,
    box_of_runs,
    decode_runs,
    encode_mask,
    runs_of,
    union,
)
from tao_like.data.masks.segmentation import mask_of_segmentation, runs_of_segmentation
from tao_like.errors import DatasetError

WIDTH, HEIGHT = 60, 45


def blobs(seed: int) -> np.ndarray:
    """A mask of several discs, perhaps with holes; (45, 60)."""
    draw = np.random.default_rng(seed)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    mask = np.zeros((HEIGHT, WIDTH), bool)
    for number in range(int(draw.integers(1, 6))):
        distance = np.hypot(x - draw.uniform(0, WIDTH), y - draw.uniform(0, HEIGHT))
        mask = (mask ^ (distance < draw.uniform(2, 15))) if number % 2 else mask | (distance < 9)
    return mask.astype(np.uint8)


def random_polygons(seed: int) -> list[list[float]]:
    """Some rings, with corners outside of the image too."""
    draw = np.random.default_rng(seed)
    return [
        draw.uniform(-15, 75, 2 * int(draw.integers(3, 12))).round(2).tolist()
        for _ in range(int(draw.integers(1, 4)))
    ]


def as_text(counts: bytes) -> str:
    return counts.decode("ascii")


@pytest.mark.parametrize("seed", range(60))
def test_polygons_are_decoded_as_pycocotools_does(seed: int) -> None:
    polygons = random_polygons(seed)
    expected = coco.merge(coco.frPyObjects(polygons, HEIGHT, WIDTH))
    runs = runs_of_segmentation(polygons, WIDTH, HEIGHT)
    assert runs["counts"] == as_text(expected["counts"])
    assert runs["size"] == expected["size"]
    mask = mask_of_segmentation(polygons, WIDTH, HEIGHT)
    assert mask.tobytes() == np.ascontiguousarray(coco.decode(expected)).tobytes()
    assert area_of_runs(runs) == coco.area(expected) == mask.sum()
    left, top, width, height = coco.toBbox(expected)
    assert box_of_runs(runs) == ((left, top, left + width, top + height) if mask.any() else None)


@pytest.mark.parametrize("seed", range(30))
def test_runs_are_pycocotools_s_and_give_the_mask_back(seed: int) -> None:
    mask = blobs(seed)
    runs = encode_mask(mask)
    assert runs["counts"] == as_text(coco.encode(np.asfortranarray(mask))["counts"])
    np.testing.assert_array_equal(decode_runs(runs), mask)
    # The same as a list of lengths: down the columns, from a pixel outside on.
    flat = np.concatenate([[0], mask.ravel(order="F"), [2]])
    begins = np.flatnonzero(np.diff(flat))
    lengths = np.diff(np.concatenate([[0], begins])).tolist()
    assert runs_of({"size": [HEIGHT, WIDTH], "counts": lengths}) == runs
    assert runs_of({"size": [HEIGHT, WIDTH], "counts": runs["counts"].encode()}) == runs
    assert runs_of_segmentation(dict(runs), WIDTH, HEIGHT) == runs


def test_parts_are_joined() -> None:
    one, other = blobs(1), blobs(2)
    np.testing.assert_array_equal(decode_runs(union([encode_mask(one), encode_mask(other)])), one | other)


@pytest.mark.parametrize(
    "segmentation",
    [
        [],
        [[]],
        [[5.0, 5.0]],
        [[5.0, 5.0, 9.0, 9.0]],
        [[500, 500, 530, 500, 520, 530]],
        [[5.2, 5.2, 5.21, 5.2, 5.2, 5.21]],
        {"size": [HEIGHT, WIDTH], "counts": [HEIGHT * WIDTH]},
        {"size": [HEIGHT, WIDTH], "counts": [0, 0, HEIGHT * WIDTH]},
    ],
)
def test_an_object_without_a_pixel_stops_nothing(segmentation: Any) -> None:
    runs = runs_of_segmentation(segmentation, WIDTH, HEIGHT)
    assert area_of_runs(runs) == 0
    assert box_of_runs(runs) is None
    assert decode_runs(runs).shape == (HEIGHT, WIDTH)
    arrays, masks = usable_instances([Box("a", 1, 1, 9, 9, segmentation=segmentation)], {"a": 0}, 60, 45)
    assert (len(arrays.boxes), masks.shape) == (0, (0, HEIGHT, WIDTH))


@pytest.mark.parametrize(
    ("segmentation", "words"),
    [
        ([[1, 2, 3, 4, 5]], "has 5 numbers"),
        ([[1, 2, 3, 4, 5, "x"]], "not a list of numbers"),
        ([[1, 2, 3, 4, 5, 10**400]], "not a list of numbers"),
        ([[1, 2, 3, 4, 5, float("nan")]], "corner at nan"),
        ([[1, 2, 1e9, 4, 5, 6]], r"corner at 1000000000\.0; the image has 60 x 45"),
        ([7], "not a list of numbers"),
        ({"size": [45, 60], "counts": [5, 2690]}, "2695 pixels"),
        ({"size": [45, 60], "counts": [5, 9999]}, "10004 pixels"),
        ({"size": [45, 60], "counts": [-1, 2701]}, "fewer than 0"),
        ({"size": [45, 60], "counts": "~~~~"}, "cannot be read"),
        ({"size": [45, 60], "counts": "\xe9"}, "cannot be read"),
        ({"size": [45], "counts": "0"}, "cannot be read"),
        ({"size": [-1, 60], "counts": [0]}, "size is -1 x 60"),
        ({"size": [60, 45], "counts": [2700]}, "of an image of 45 x 60 pixels; this one has 60 x 45"),
    ],
)
def test_damaged_segmentations_say_where_and_why(segmentation: Any, words: str) -> None:
    with pytest.raises(DatasetError, match=rf"c\.json: annotations\[3\]: .*{words}"):
        runs_of_segmentation(segmentation, WIDTH, HEIGHT, "c.json: annotations[3]")


@pytest.mark.parametrize("seed", range(30))
def test_outlines_give_the_mask_back_but_for_its_holes(seed: int) -> None:
    mask = blobs(seed) if seed < 20 else np.random.default_rng(seed).integers(0, 2, (12, 14), np.uint8)
    height, width = mask.shape
    polygons = polygons_of_mask(mask)
    again = mask_of_segmentation(polygons, width, height)
    np.testing.assert_array_equal(again, filled(mask))


def filled(mask: np.ndarray) -> np.ndarray:
    """The mask without holes: what cannot be reached from outside, over edges and corners of pixels."""
    outside = np.zeros((mask.shape[0] + 2, mask.shape[1] + 2), bool)
    outside[[0, -1]] = outside[:, [0, -1]] = True
    free = np.pad(mask == 0, 1, constant_values=True)
    while True:
        grown = outside.copy()
        for rows in (-1, 0, 1):
            for columns in (-1, 0, 1):
                grown |= np.roll(outside, (rows, columns), (0, 1))
        grown &= free
        if (grown == outside).all():
            return (~outside[1:-1, 1:-1]).astype(np.uint8)
        outside = grown


def test_the_outline_of_a_square_has_four_corners() -> None:
    mask = np.zeros((10, 10), np.uint8)
    mask[2:5, 3:7] = 1
    assert polygons_of_mask(mask) == [[3, 2, 7, 2, 7, 5, 3, 5]]
    assert polygons_of_mask(np.zeros((4, 4), np.uint8)) == []


def test_pixels_that_touch_by_a_corner_are_two_outlines() -> None:
    assert polygons_of_mask(np.eye(2, dtype=np.uint8)) == [
        [0, 0, 1, 0, 1, 1, 0, 1],
        [1, 1, 2, 1, 2, 2, 1, 2],
    ]


def test_instances_have_the_boxes_and_areas_of_their_masks() -> None:
    square = [[10, 5, 30, 5, 30, 25, 10, 25]]
    boxes = [
        Box("b", 0, 0, 60, 45, segmentation=square),
        Box("a", 1, 1, 2, 2, crowd=True, area=7, segmentation=dict(encode_mask(blobs(3)))),
        Box("unknown", 0, 0, 9, 9, segmentation=square),
        Box("a", 50.2, 40, 70, 44.6),
        Box("a", 70, 40, 90, 44),
    ]
    arrays, masks = usable_instances(boxes, {"a": 0, "b": 1}, WIDTH, HEIGHT)
    assert arrays.labels.tolist() == [1, 0, 0]
    # What has a box alone is neither learnt nor held against a prediction.
    assert arrays.crowd.tolist() == [False, True, True]
    assert arrays.areas.tolist() == pytest.approx([400, 7, 9.8 * 4.6], rel=1e-5)
    assert arrays.boxes[0].tolist() == [10, 5, 30, 25]
    assert masks.sum(axis=(1, 2)).tolist() == [400, blobs(3).sum(), 10 * 5]
    np.testing.assert_array_equal(masks[1], blobs(3))


def test_a_box_that_is_none_in_the_numbers_of_an_array_is_left_out() -> None:
    boxes = [Box("a", 20, 5, 20 + 1e-7, 9), Box("a", 59.9999999999, 5, 70, 9), Box("a", -1e30, 5, 1e30, 9)]
    arrays, masks = usable_instances(boxes, {"a": 0}, WIDTH, HEIGHT)
    assert arrays.boxes.tolist() == [[0, 5, 60, 9]]
    assert masks.sum(axis=(1, 2)).tolist() == [60 * 4]


def png_text(mask: np.ndarray) -> str:
    stream = io.BytesIO()
    Image.fromarray(mask * 255).save(stream, "PNG")
    return base64.b64encode(stream.getvalue()).decode()


def test_all_formats_give_one_form(tmp_path: Path) -> None:
    """One polygon in COCO, YOLO and LabelMe; runs in COCO as a list and as a text, pixels in LabelMe."""
    Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "a.png")
    polygon = [6.0, 9.0, 30.0, 9.0, 30.0, 27.0, 12.0, 36.0]
    expected = coco.merge(coco.frPyObjects([polygon], HEIGHT, WIDTH))
    mask = coco.decode(expected)
    lengths = [int(count) for count in coco_lengths(mask)]
    text = as_text(expected["counts"])
    entries = [
        {"segmentation": [polygon]},
        {"segmentation": {"size": [HEIGHT, WIDTH], "counts": lengths}, "iscrowd": 1},
        {"segmentation": {"size": [HEIGHT, WIDTH], "counts": text}},
    ]
    pairs = list(zip(polygon[::2], polygon[1::2], strict=True))
    shapes = [
        {"label": "cat", "shape_type": "polygon", "points": pairs},
        {
            "label": "cat",
            "shape_type": "mask",
            "points": [[6, 9], [29, 35]],
            "mask": png_text(mask[9:36, 6:30]),
        },
    ]
    fractions = " ".join(f"{x / WIDTH} {y / HEIGHT}" for x, y in pairs)
    write(
        tmp_path,
        {
            "c.json": json.dumps(
                {
                    "images": [{"id": 1, "file_name": "a.png"}],
                    "annotations": [
                        {"image_id": 1, "category_id": 1, "bbox": [6, 9, 24, 27]} | entry for entry in entries
                    ],
                    "categories": [{"id": 1, "name": "cat"}],
                }
            ),
            "labelme/a.json": json.dumps({"shapes": shapes, "imageWidth": WIDTH, "imageHeight": HEIGHT}),
            "yolo/a.txt": f"0 {fractions}\n",
            "yolo/classes.txt": "cat\n",
        },
    )
    sources = [
        BoxSource(tmp_path, tmp_path / "c.json"),
        BoxSource(tmp_path, label_dir=tmp_path / "labelme", format="labelme"),
        BoxSource(tmp_path, label_dir=tmp_path / "yolo", format="yolo_segment"),
    ]
    found = [box for source in sources for record in read_boxes(source, "key") for box in record.boxes]
    assert len(found) == 6
    for box in found:
        assert isinstance(box.segmentation, list) or isinstance(box.segmentation["counts"], str)
        assert box.segmentation is not None
        runs = runs_of_segmentation(box.segmentation, WIDTH, HEIGHT)
        assert runs == {"size": [HEIGHT, WIDTH], "counts": text}
        assert box[1:5] == (6, 9, 30, 36)
    assert [box.crowd for box in found] == [False, True, False, False, False, False]


def coco_lengths(mask: np.ndarray) -> list[int]:
    flat = np.concatenate([[0], mask.ravel(order="F"), [2]])
    return np.diff(np.concatenate([[0], np.flatnonzero(np.diff(flat))])).tolist()


def test_a_damaged_mask_of_labelme_says_where(tmp_path: Path) -> None:
    Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "a.png")
    for text, words in (
        ("no base64", "cannot be read"),
        (png_text(np.ones((40, 60), np.uint8)), "leave the image"),
    ):
        shape = {"label": "cat", "shape_type": "mask", "points": [[5, 5], [9, 9]], "mask": text}
        write(tmp_path, {"l/a.json": json.dumps({"shapes": [shape], "imageWidth": 60, "imageHeight": 45})})
        with pytest.raises(DatasetError, match=rf"a\.json: shapes\[0\]: the mask .*{words}"):
            read_boxes(BoxSource(tmp_path, label_dir=tmp_path / "l", format="labelme"), "key")
