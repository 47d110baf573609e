"""Masks at the photo's size: pasted as torch pastes them, written as COCO writes them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from faster_coco_eval.core import mask as coco
from torch.nn import functional

from tao_like.errors import BundleError
from tao_like.runtime.geometry.boxes import LetterboxTransform
from tao_like.runtime.geometry.outlines import ring_area
from tao_like.runtime.geometry.pasting import mask_of_runs, mask_runs, pasted_mask
from tao_like.runtime.predictions.instances import Instances, decide_instances, stated_mask_threshold

SIZE = (50, 40)
BOXES = [(10.3, 5.7, 31.2, 22.9), (-6.0, -3.5, 20.0, 44.0), (48.2, 38.1, 49.0, 39.9), (0, 0, 50, 40)]


def pasted_by_torch(shape: np.ndarray, box: tuple[float, ...], threshold: float) -> np.ndarray:
    """The whole photo sampled from the mask by ``grid_sample``, which counts 0 outside of its cells."""
    left, top, right, bottom = box
    columns = (torch.arange(SIZE[0], dtype=torch.float64) + 0.5 - left) / (right - left) * 2 - 1
    rows = (torch.arange(SIZE[1], dtype=torch.float64) + 0.5 - top) / (bottom - top) * 2 - 1
    grid = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), dim=-1)[None]
    values = functional.grid_sample(torch.from_numpy(shape)[None, None].double(), grid, align_corners=False)
    return values[0, 0].numpy() >= threshold


@pytest.mark.parametrize("box", BOXES)
def test_a_mask_is_pasted_as_grid_sample_does(box: tuple[float, ...]) -> None:
    shape = np.random.default_rng(0).random((28, 28)).astype(np.float32)
    assert np.array_equal(pasted_mask(shape, box, SIZE, 0.5), pasted_by_torch(shape, box, 0.5))


@pytest.mark.parametrize("box", [(60.0, 1, 70, 9), (-20.0, 1, -3, 9), (5.0, 5, 5, 9)])
def test_a_box_beside_the_photo_or_without_area_has_no_pixel(box: tuple[float, ...]) -> None:
    assert not pasted_mask(np.ones((28, 28), np.float32), box, SIZE, 0.5).any()


def test_a_full_mask_fills_its_box() -> None:
    mask = pasted_mask(np.ones((28, 28), np.float32), (4, 6, 20, 30), SIZE, 0.5)
    assert mask[6:30, 4:20].all()
    assert mask.sum() == 16 * 24


@pytest.mark.parametrize("seed", range(4))
def test_runs_are_cocos(seed: int) -> None:
    mask = np.random.default_rng(seed).random((7, 5)) < (0.3, 0.7, 0.0, 1.1)[seed]
    runs = mask_runs(mask)
    packed = coco.frPyObjects({"size": [7, 5], "counts": list(runs)}, 7, 5)
    assert np.array_equal(coco.decode(packed) > 0, mask)
    assert np.array_equal(mask_of_runs(runs, (5, 7)), mask)


def test_objects_on_the_photo_have_masks_areas_and_polygons() -> None:
    # The input is twice the photo, with a border of 10 above it; the first box reaches into the border.
    place = LetterboxTransform(50, 40, 2.0, 2.0, 0.0, 10.0)
    boxes = np.array([[20, 0, 60, 50], [0, 10, 10, 20]], np.float32)
    shapes = np.ones((2, 28, 28), np.float32)
    found = Instances(boxes, np.array([0.9, 0.2], np.float32), np.array([1, 0]), shapes=shapes)
    (one,) = decide_instances(found, place, ["a", "b"], {}, 0.5)
    assert (one.label, one.box) == ("b", (10.0, 0.0, 30.0, 20.0))
    assert one.area == 20 * 20 == one.mask.sum()
    (ring,) = one.polygons()
    assert ring_area(ring) == one.area
    assert coco.area(coco.frPyObjects(one.segmentation, 40, 50)) == one.area


@pytest.mark.parametrize("value", [0, 1, "half", True, None])
def test_an_odd_threshold_of_masks_is_refused(value: object) -> None:
    with pytest.raises(BundleError, match="mask_threshold"):
        stated_mask_threshold({"mask_threshold": value})
