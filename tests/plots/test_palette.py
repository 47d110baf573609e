"""Colors that are told apart, measured by formulas written down here."""

from __future__ import annotations

import itertools
import math

import pytest

from tao_like.plots.palette import IGNORED, PALETTE, class_color, ink_on, paler, rgb

# Machado, Oliveira and Fernandes (2009), severity 1, on linear RGB.
VISIONS = {
    "protanopia": (
        (0.152286, 1.052583, -0.204868),
        (0.114503, 0.786281, 0.099216),
        (-0.003882, -0.048116, 1.051998),
    ),
    "deuteranopia": (
        (0.367322, 0.860646, -0.227968),
        (0.280085, 0.672501, 0.047413),
        (-0.011820, 0.042940, 0.968881),
    ),
    "tritanopia": (
        (1.255528, -0.076749, -0.178779),
        (-0.078411, 0.930809, 0.147602),
        (0.004733, 0.691367, 0.303900),
    ),
}
PLAIN = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
Matrix = tuple[tuple[float, float, float], ...]


def linear(channel: int) -> float:
    fraction = channel / 255
    return fraction / 12.92 if fraction <= 0.04045 else ((fraction + 0.055) / 1.055) ** 2.4


def times(matrix: Matrix, vector: list[float]) -> list[float]:
    return [sum(factor * value for factor, value in zip(row, vector, strict=True)) for row in matrix]


def lab(color: str, vision: Matrix = PLAIN) -> list[float]:
    """CIE L*a*b* of an sRGB color under D65, as somebody with this vision sees it."""
    seen = [min(max(value, 0.0), 1.0) for value in times(vision, [linear(channel) for channel in rgb(color)])]
    to_xyz = (
        (0.4124564, 0.3575761, 0.1804375),
        (0.2126729, 0.7151522, 0.072175),
        (0.0193339, 0.119192, 0.9503041),
    )
    xyz = [value / white for value, white in zip(times(to_xyz, seen), (0.95047, 1, 1.08883), strict=True)]
    x, y, z = (v ** (1 / 3) if v > (6 / 29) ** 3 else v / (3 * (6 / 29) ** 2) + 4 / 29 for v in xyz)
    return [116 * y - 16, 500 * (x - y), 200 * (y - z)]


def least_distance(count: int, vision: Matrix = PLAIN) -> float:
    places = [lab(class_color(number), vision) for number in range(count)]
    return min(math.dist(one, other) for one, other in itertools.combinations(places, 2))


def test_the_formula_gives_known_values() -> None:
    assert lab("#FFFFFF") == pytest.approx([100, 0, 0], abs=0.02)
    assert lab("#FF0000") == pytest.approx([53.24, 80.09, 67.20], abs=0.02)
    assert lab("#0000FF") == pytest.approx([32.30, 79.19, -107.86], abs=0.02)


def test_the_first_twenty_two_classes_differ_clearly() -> None:
    # 2.3 is a difference that is just seen; 10 is seen at a glance.
    assert len(set(PALETTE)) == 22
    assert least_distance(22) > 25
    assert class_color(0) != class_color(7)


@pytest.mark.parametrize("vision", VISIONS)
def test_the_first_eight_differ_for_any_color_vision(vision: str) -> None:
    assert least_distance(8, VISIONS[vision]) > 15


def test_further_classes_have_fixed_colors_that_differ() -> None:
    colors = [class_color(number) for number in range(200)]
    assert len(set(colors)) == 200
    assert colors == [class_color(number) for number in range(200)]
    assert all(math.dist(lab(one), lab(other)) > 5 for one, other in itertools.pairwise(colors))
    assert class_color(-1) == IGNORED not in colors


def test_text_on_a_color_can_be_read() -> None:
    assert ink_on("#F0E442") == "#000000"
    assert ink_on("#003CA5") == "#FFFFFF"
    assert paler((0, 114, 178), 0) == (255, 255, 255)
    assert paler((0, 114, 178), 0.5) == (128, 184, 216)
