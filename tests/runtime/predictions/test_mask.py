"""Masks in the runtime: from outputs to the photo's pixels, runs, rings, and metadata that means nothing."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest

from tao_like.errors import BundleError
from tao_like.runtime.geometry.outlines import mask_rings, ring_area
from tao_like.runtime.inputs.image import ImagePreprocessing
from tao_like.runtime.metadata import ModelMetadata
from tao_like.runtime.predictions.mask import (
    MaskReader,
    decode_runs,
    encode_runs,
    merged_map,
    photo_map,
    scaled_channel,
)
from tao_like.runtime.predictions.tiles import Tiling

COLORS = [[0, 0, 0], [200, 0, 0]]


def metadata(**changes: Any) -> ModelMetadata:
    given: dict[str, Any] = {
        "task": "segmentation",
        "prediction": "mask",
        "outputs": {"class_map": "class_map"},
        "preprocessing": ImagePreprocessing(4, 8, resize="letterbox").to_dict(),
        "input_format": "uint8_nhwc",
        "mean": [0.0] * 3,
        "std": [1.0] * 3,
        "classes": ["ground", "lid"],
        "extra": {"colors": COLORS},
    }
    return ModelMetadata(**(given | changes))


def test_rings_enclose_exactly_the_pixels() -> None:
    draw = np.random.default_rng(0)
    for _ in range(100):
        mask = draw.random((draw.integers(1, 12), draw.integers(1, 12))) < draw.random()
        assert sum(map(ring_area, mask_rings(mask))) == mask.sum()
    frame = np.ones((4, 5), bool)
    frame[1:3, 1:4] = False
    assert mask_rings(frame) == [[(0, 0), (5, 0), (5, 4), (0, 4)], [(1, 3), (4, 3), (4, 1), (1, 1)]]
    # Regions that touch at a corner alone are two.
    assert [ring_area(ring) for ring in mask_rings(np.eye(2, dtype=bool))] == [1, 1]


def test_runs_come_back_and_say_little_of_even_masks() -> None:
    draw = np.random.default_rng(0)
    mask = draw.integers(0, 3, (7, 9)).astype(np.uint8)
    assert (decode_runs(encode_runs(mask), 9, 7) == mask).all()
    assert encode_runs(np.full((50, 60), 4, np.uint8)) == (4, 3000)


def test_the_reader_cuts_borders_off_and_answers_in_the_photo_s_pixels() -> None:
    # A photo of 8 x 8 lies in the middle 4 columns of an input of 8 x 4; its left half is a lid.
    output = np.full((1, 4, 8), 0, np.uint8)
    output[0, :, :4] = 1
    (found,) = MaskReader().read({"class_map": output}, metadata(), ["a.png"], [(8, 8)])
    assert found.mask.tolist() == [[1] * 4 + [0] * 4] * 8
    assert found.areas == {"ground": 32, "lid": 32}
    assert found.shares["lid"] == 0.5
    assert found.polygons("lid") == [[(0, 0), (4, 0), (4, 8), (0, 8)]]
    image = found.image()
    assert (image.mode, image.size) == ("P", (8, 8))
    assert image.convert("RGB").getpixel((0, 0)) == (200, 0, 0)
    json.dumps(dataclasses.asdict(found))
    with pytest.raises(KeyError, match="ground, lid"):
        found.polygons("sky")
    with pytest.raises(BundleError, match="class number 7"):
        MaskReader().read({"class_map": np.full((1, 4, 8), 7, np.uint8)}, metadata(), [None], [(8, 8)])


def test_probabilities_are_scaled_before_the_class_is_taken() -> None:
    preprocessing = ImagePreprocessing(1, 2, resize="squash")
    left = np.array([[0.9, 0.0]], np.float32)
    # Between the two centers the first falls from 0.9 to 0 and the second rises from 0.1 to 1.
    found = photo_map(np.stack([left, 1 - left]), (8, 1), preprocessing)
    # Centers of the eight pixels in input pixels: 0.125 ... 1.875; they cross at 0.5 + 0.4 / 0.9 = 0.944.
    assert found.tolist() == [[0, 0, 0, 0, 1, 1, 1, 1]]
    assert scaled_channel(left, (4, 1))[0].tolist() == pytest.approx([0.9, 0.675, 0.225, 0.0])
    nearest = photo_map(np.array([[0, 1]], np.uint8), (8, 1), preprocessing)
    assert nearest.tolist() == [[0] * 4 + [1] * 4]


def test_windows_are_averaged_where_they_meet() -> None:
    tiling = Tiling(32, 32, 0.5, 1.0)
    preprocessing = ImagePreprocessing(32, 32, resize="letterbox")
    # Two windows over 48 x 32; in the 16 columns that both see the surer one wins.
    one, other = np.zeros((2, 32, 32), np.float32), np.zeros((2, 32, 32), np.float32)
    one[0], one[1] = 0.6, 0.4
    other[0], other[1] = 0.1, 0.9
    found = merged_map([one, other], (48, 32), preprocessing, tiling)
    assert found[0].tolist() == [0] * 16 + [1] * 32


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"classes": []}, "no classes"),
        ({"outputs": {"a": "class_map", "b": "class_map"}}, "one output"),
        ({"outputs": {"a": "boxes_xyxy"}}, "one output"),
        ({"extra": {}}, "odd colors"),
        ({"extra": {"colors": COLORS[:1]}}, "1 colors for 2 classes"),
        ({"extra": {"colors": [[0, 0, 0], [0, 0, 300]]}}, "from 0 to 255"),
        ({"preprocessing": ImagePreprocessing(4, 8).to_dict()}, "crops it"),
        (
            {"extra": {"colors": COLORS, "tiling": Tiling(64, 64, 0.2, 1.0).to_dict()}},
            "merged by their probabilities",
        ),
    ],
)
def test_metadata_without_meaning_is_refused(changes: dict[str, Any], told: str) -> None:
    MaskReader().check(metadata())
    with pytest.raises(BundleError, match=told):
        MaskReader().check(metadata(**changes))
