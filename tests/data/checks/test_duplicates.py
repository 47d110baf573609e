"""Telling images that look the same."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageDraw

from tao_like.data.checks.duplicates import Fingerprint, difference_hash, fingerprint, near_duplicates


def test_the_hash_of_images_that_can_be_worked_out_by_hand() -> None:
    rising = Image.fromarray(np.tile(np.arange(9, dtype=np.uint8) * 20, (8, 1)))
    assert difference_hash(rising) == 2**64 - 1
    assert difference_hash(rising.transpose(Image.Transpose.FLIP_LEFT_RIGHT)) == 0
    # One step up, between the fifth and sixth column: bit 5 of 8 from the left in every row.
    step = Image.fromarray(np.tile(np.where(np.arange(9) > 4, 200, 50).astype(np.uint8), (8, 1)))
    assert difference_hash(step) == int("00001000" * 8, 2)


def scene(seed: int, size: tuple[int, int] = (320, 240)) -> Image.Image:
    draw_from = np.random.default_rng(seed)
    image = Image.new("RGB", size, tuple(int(v) for v in draw_from.integers(60, 200, 3)))
    draw = ImageDraw.Draw(image)
    for _ in range(12):
        x, y, r = (int(v) for v in draw_from.integers((0, 0, 15), (size[0], size[1], 70)))
        draw.ellipse((x - r, y - r, x + r, y + r), fill=tuple(int(v) for v in draw_from.integers(0, 255, 3)))
    return image


def saved(image: Image.Image, quality: int) -> Image.Image:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return Image.open(io.BytesIO(stream.getvalue())).convert("RGB")


@pytest.mark.parametrize("quality", [50, 90])
def test_copies_are_found_and_different_scenes_are_not(quality: int) -> None:
    scenes = [scene(seed) for seed in range(40)]
    prints = [fingerprint(image) for image in scenes] + [
        fingerprint(saved(image, quality)) for image in scenes
    ]
    groups = near_duplicates(prints)
    assert all(group == [group[0], group[0] + 40] for group in groups)
    assert len(groups) >= 38


def test_equal_hashes_of_different_images_are_told_apart() -> None:
    ramp = np.tile(np.linspace(0, 200, 180).astype(np.uint8), (160, 1))
    red, blue = (np.zeros((160, 180, 3), np.uint8) for _ in range(2))
    red[..., 0], blue[..., 2] = ramp, ramp
    prints = [fingerprint(Image.fromarray(each)) for each in (red, blue, red)]
    assert len({each.hash for each in prints}) == 1
    assert near_duplicates(prints) == [[0, 2]]


def test_hashes_that_differ_in_three_bits_are_compared_and_in_four_are_not() -> None:
    base = fingerprint(scene(2))

    def turned(bits: list[int]) -> Fingerprint:
        return Fingerprint(base.hash ^ sum(1 << bit for bit in bits), base.thumbnail, False)

    # One bit in each of three parts of sixteen, and one in each of all four.
    assert near_duplicates([base, turned([0, 20, 40])]) == [[0, 1]]
    assert near_duplicates([base, turned([0, 20, 40, 60])]) == []
    assert near_duplicates([base, turned([0, 1, 2, 3])]) == []


def test_grey_and_colored() -> None:
    assert fingerprint(scene(1).convert("L").convert("RGB")).is_grey
    assert not fingerprint(scene(1)).is_grey
    spot = Image.new("RGB", (400, 400), "grey")
    spot.paste("red", (0, 0, 20, 20))
    assert not fingerprint(spot).is_grey
