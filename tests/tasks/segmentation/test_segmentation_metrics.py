"""Metrics of segmentation: pooled, without what is ignored, at the photo's size."""

from __future__ import annotations

import numpy as np
import pytest

from tao_like.data.masks.values import IGNORE
from tao_like.runtime.inputs.image import ImagePreprocessing
from tao_like.runtime.predictions.mask import photo_map
from tao_like.tasks.segmentation.data.dataset import preprocessed_mask
from tao_like.tasks.segmentation.data.targets import MaskTarget
from tao_like.tasks.segmentation.metrics.boundary import boundary_counts, inner_strip
from tao_like.tasks.segmentation.metrics.pixels import PixelMetrics
from tao_like.tasks.segmentation.prediction import Segmented

PREPROCESSING = ImagePreprocessing(64, 96, resize="letterbox")


def scored(
    pairs: list[tuple[list[list[int]], list[list[int]]]], num_classes: int, boundary: bool = False
) -> PixelMetrics:
    metrics = PixelMetrics([f"c{number}" for number in range(num_classes)], boundary=boundary)
    predictions = [Segmented.ready(np.array(found, np.uint8), PREPROCESSING) for found, _ in pairs]
    targets = [MaskTarget(len(target[0]), len(target), np.array(target, np.uint8)) for _, target in pairs]
    metrics.update(range(len(pairs)), predictions, targets)
    return metrics


def test_miou_is_pooled_and_not_the_mean_of_photos() -> None:
    # Two photos of 2 x 2: pooled 0.6, the mean of the photos' own would be 0.375.
    pairs = [([[0, 0], [0, 0]], [[0, 0], [0, 1]]), ([[1, 1], [1, 1]], [[0, 1], [1, 1]])]
    report = scored(pairs, 2).compute()
    assert report.details["confusion_matrix"] == [[3, 1], [1, 3]]
    assert report.values["mIoU"] == pytest.approx(0.6)
    assert report.values["pixel_accuracy"] == pytest.approx(0.75)
    assert report.values["dice"] == pytest.approx(0.75)


def test_absent_classes_are_left_out_and_predicted_ones_count_zero() -> None:
    pairs = [([[0, 0, 2, 9]], [[0, 0, 0, IGNORE]])]
    report = scored(pairs, 4).compute()
    # c0: 2 of 3; c2 is predicted and not there: 0; c1 and c3 are neither.
    assert report.values["mIoU"] == pytest.approx((2 / 3 + 0) / 2)
    assert report.values["mean_accuracy"] == pytest.approx(2 / 3)
    assert report.values["frequency_weighted_iou"] == pytest.approx(2 / 3)
    assert report.details["averaged_classes"] == ["c0", "c2"]
    assert report.details["per_class"]["c1"]["iou"] is None
    assert report.details["per_class"]["c2"]["iou"] == 0


def test_joined_metrics_are_those_of_all_and_the_worst_photo_comes_first() -> None:
    good = ([[0, 1], [1, 1]], [[0, 1], [1, 1]])
    bad = ([[1, 0], [0, 0]], [[0, 1], [1, 1]])
    both = scored([good, bad], 2, boundary=True)
    assert [index for index, _ in both.worst(2)] == [1, 0]
    one, other = scored([good], 2, boundary=True), scored([bad], 2, boundary=True)
    one.join(other)
    assert one.compute().values == both.compute().values
    assert both.reported().keys() == both.compute().values.keys()


def test_a_strip_is_what_erosions_with_a_square_take_away() -> None:
    draw = np.random.default_rng(0)
    region = draw.random((19, 23)) < 0.8
    for width in (1, 3):
        eroded = region
        for _ in range(width):
            padded = np.pad(eroded, 1)
            shifts = [padded[y : y + 19, x : x + 23] for y in range(3) for x in range(3)]
            eroded = np.logical_and.reduce(shifts)
        assert (inner_strip(region, width) == (region & ~eroded)).all()


def test_boundary_counts_by_hand() -> None:
    # 10 x 10: the strips are round(0.02 * 14.1) = 0, so 1 pixel wide.
    target = np.zeros((10, 10), np.uint8)
    target[2:8, 2:8] = 1
    found = np.zeros((10, 10), np.uint8)
    found[2:8, 3:9] = 1
    counts = boundary_counts(found, target, 2)
    # Frames of 6 x 6 have 20 pixels; moved by one column they share 2 x 5 of the rows and none of the columns
    # but the corners already counted.
    assert counts[:, 1].tolist() == [10, 30]
    assert boundary_counts(target, target, 2)[0].tolist() == boundary_counts(target, target, 2)[1].tolist()


@pytest.mark.parametrize("resize", ["letterbox", "squash"])
@pytest.mark.parametrize("size", [(96, 64), (48, 32), (37, 53), (200, 131)])
def test_a_mask_comes_back_from_the_input(resize: str, size: tuple[int, int]) -> None:
    preprocessing = ImagePreprocessing(64, 96, resize=resize)
    mask = np.zeros(size[::-1], np.uint8)
    mask[size[1] // 4 : size[1] // 2, size[0] // 3 :] = 2
    mask[: size[1] // 5] = 1
    preprocessed = preprocessed_mask(mask, preprocessing)
    assert preprocessed.shape == (64, 96)
    back = photo_map(preprocessed, size, preprocessing)
    assert back.shape == mask.shape
    assert IGNORE not in back
    assert (back == mask).mean() > (0.999 if size == (96, 64) else 0.95)
    probabilities = np.stack([(preprocessed == number).astype(np.float32) for number in range(3)])
    assert (photo_map(probabilities, size, preprocessing) == mask).mean() > 0.94
