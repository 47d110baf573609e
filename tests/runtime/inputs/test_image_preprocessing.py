"""Preparing images for a network: timm's own transforms are the oracle."""

from __future__ import annotations

import functools
import math

import numpy as np
import pytest
from PIL import Image

from tao_like.errors import BundleError
from tao_like.networks import _torchvision  # noqa: F401  (before timm)
from tao_like.runtime.inputs.image import ImagePreprocessing, preprocess, to_rgb


@functools.cache
def photo(height: int, width: int) -> Image.Image:
    """Waves of several lengths with noise: edges in every direction, overshoot for bicubic and lanczos."""
    rows, columns = np.mgrid[0:height, 0:width]
    noise = np.random.default_rng(height * 10_000 + width).normal(0, 30, (height, width, 3))
    waves = [np.sin(rows / 7) + np.cos(columns / 11), np.sin(rows * columns / 900), np.cos(rows / 3)]
    return Image.fromarray(np.clip(127 + 80 * np.stack(waves, -1) + noise, 0, 255).astype(np.uint8))


def timm_evaluation(
    image: Image.Image, preprocessing: ImagePreprocessing, mode: str, crop_pct: float
) -> np.ndarray:
    from timm.data import create_transform

    transform = create_transform(
        (3, preprocessing.height, preprocessing.width),
        is_training=False,
        crop_pct=crop_pct,
        crop_mode=mode,
        interpolation=preprocessing.interpolation,
        mean=(preprocessing.fill / 255,) * 3,
        normalize=False,
    )
    return transform(image).permute(1, 2, 0).numpy()


IMAGE_SIZES = [
    (300, 400),
    (401, 333),
    (224, 224),
    (256, 256),
    (37, 900),
    (1100, 31),
    (5, 7),
    (1, 1),
    (719, 1279),
]


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize("size", [(224, 224), (64, 96), (33, 31), (7, 120)])
@pytest.mark.parametrize("resize", ["crop", "squash", "letterbox"])
def test_preprocess_equals_timm(resize: str, size: tuple[int, int], interpolation: str) -> None:
    mode = {"crop": "center", "squash": "squash", "letterbox": "border"}[resize]
    for image_size in IMAGE_SIZES:
        image = photo(*image_size)
        for crop_pct in (0.875, 1.0) if resize == "crop" else (1.0,):
            preprocessing = ImagePreprocessing(*size, resize, crop_pct, interpolation)
            if resize == "letterbox" and min(image_size) * min(size) < max(image_size):
                continue  # timm scales such a strip to a width of 0
            expected = timm_evaluation(image, preprocessing, mode, crop_pct)
            preprocessed = preprocess(image, preprocessing)
            assert preprocessed.dtype == np.uint8
            assert preprocessed.shape == (*size, 3)
            difference = np.abs(preprocessed.astype(int) - expected.astype(int)).max()
            assert difference <= 1, (image_size, crop_pct)


def test_crop_keeps_the_center() -> None:
    values = np.zeros((4, 8, 3), np.uint8)
    values[:, 2:6] = np.arange(4)[None, :, None] * 10 + 5
    preprocessed = preprocess(Image.fromarray(values), ImagePreprocessing(4, 4, "crop", 1.0))
    assert preprocessed[:, :, 0].tolist() == [[5, 15, 25, 35]] * 4


def test_letterbox_pads_evenly_and_loses_nothing() -> None:
    preprocessed = preprocess(
        Image.new("RGB", (8, 4), (200, 0, 0)), ImagePreprocessing(8, 8, "letterbox", fill=7)
    )
    assert (preprocessed[[0, 1, 6, 7]] == 7).all()
    assert (preprocessed[2:6] == [200, 0, 0]).all()


@pytest.mark.parametrize("size", [(1, 20_000), (20_000, 1)])
def test_a_very_long_strip_takes_no_memory_and_keeps_its_center(size: tuple[int, int]) -> None:
    values = np.zeros((*size, 3), np.uint8)
    middle = [math.ceil(side / 2) - 1 for side in size]
    values[
        middle[0] - 20 * (size[0] > 1) : middle[0] + 20, middle[1] - 20 * (size[1] > 1) : middle[1] + 20
    ] = 99
    for resize in ("crop", "squash", "letterbox"):
        preprocessed = preprocess(Image.fromarray(values), ImagePreprocessing(224, 224, resize))
        assert preprocessed.shape == (224, 224, 3)
        if resize == "crop":
            assert (preprocessed == 99).all()


def test_preprocess_takes_any_mode() -> None:
    preprocessed = preprocess(Image.new("LA", (9, 9), (0, 0)), ImagePreprocessing(4, 4))
    assert preprocessed.tolist() == [[[255] * 3] * 4] * 4


def test_the_result_may_be_written_to() -> None:
    preprocess(Image.new("RGB", (4, 4)), ImagePreprocessing(4, 4))[:] = 1


def test_preprocessing_survives_a_dictionary() -> None:
    preprocessing = ImagePreprocessing(32, 48, "letterbox", 0.9, "bilinear", 7)
    assert ImagePreprocessing.from_dict(preprocessing.to_dict()) == preprocessing


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"height": 0}, "height"),
        ({"width": 12.5}, "width"),
        ({"height": True}, "height"),
        ({"resize": "stretch"}, "resize"),
        ({"crop_pct": 0}, "crop_pct"),
        ({"crop_pct": float("nan")}, "crop_pct"),
        ({"interpolation": ["bicubic"]}, "interpolation"),
        ({"fill": 256}, "fill"),
        ({"channels": 1}, "channels"),
        ({"colour": "RGB"}, "colour"),
    ],
)
def test_preprocessing_without_meaning_is_refused(changes: dict[str, object], key: str) -> None:
    with pytest.raises(BundleError, match=f"preprocessing.{key}"):
        ImagePreprocessing.from_dict({"height": 8, "width": 8, **changes})
    with pytest.raises(BundleError, match=r"preprocessing\.width is missing"):
        ImagePreprocessing.from_dict({"height": 8})


def test_to_rgb_leaves_an_rgb_image_as_it_is() -> None:
    image = photo(20, 30)
    assert (np.asarray(to_rgb(image)) == np.asarray(image)).all()


def test_the_window_belongs_to_the_preprocessing() -> None:
    preprocessing = ImagePreprocessing(8, 8, window=(0, 4095))
    assert preprocessing.to_dict()["window"] == [0, 4095]
    assert ImagePreprocessing.from_dict(preprocessing.to_dict()) == preprocessing
    # A file without one is as it was, and one that needs none can be read by earlier releases.
    assert "window" not in ImagePreprocessing(8, 8).to_dict()
    deep = Image.fromarray(np.full((8, 8), 4095, np.uint16))
    assert preprocess(deep, preprocessing).min() == 255
    for wrong in ([5, 5], [0, 70000], [0], "0-4095", [-1, 5], [0, True]):
        with pytest.raises(BundleError, match=r"preprocessing\.window"):
            ImagePreprocessing.from_dict({"height": 8, "width": 8, "window": wrong})
