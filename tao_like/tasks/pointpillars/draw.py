"""Frames seen from above, with boxes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from tao_like.data.lidar.frame import Calibration
from tao_like.plots.palette import IGNORED, TARGET
from tao_like.plots.text import drawable, load_font
from tao_like.runtime.geometry.boxes3d import as_boxes, corners, ground_corners
from tao_like.runtime.inputs.points import Points
from tao_like.tasks.common.boxes.box_predictions import DrawnBox

LONGEST_SIDE = 720
_LOW, _MIDDLE, _HIGH = (70, 80, 130), (90, 170, 150), (250, 225, 110)
"""Colors of points from the lowest to the highest."""
_TICK = 10


def draw_frame(
    points: Points,
    limits: Sequence[float],
    found: Sequence[DrawnBox] = (),
    targets: npt.ArrayLike = (),
) -> Image.Image:
    """A frame from above: x up, y to the left, points by height, predictions in color, targets in white.

    A line from the middle of a box to its front shows where it points.

    Args:
        points: (N, 4).
        limits: smallest x, y, z and largest x, y, z in metres: what is drawn.
        found: boxes with their colors.
        targets: (G, 7) drawn thin and white, below those.
    """
    low_x, low_y, low_z, high_x, high_y, high_z = limits
    scale = LONGEST_SIDE / max(high_x - low_x, high_y - low_y)
    size = max(1, round((high_y - low_y) * scale)), max(1, round((high_x - low_x) * scale))

    def to_pixels(ground: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
        return np.stack([(high_y - ground[..., 1]) * scale, (high_x - ground[..., 0]) * scale], axis=-1)

    pixels = np.full((size[1], size[0], 3), 18, np.uint8)
    inside = (points[:, :2] >= (low_x, low_y)).all(axis=1) & (points[:, :2] < (high_x, high_y)).all(axis=1)
    # The highest last, so that they lie above.
    shown = points[inside][np.argsort(points[inside, 2], kind="stable")]
    spots = to_pixels(shown[:, :2]).astype(int).clip(0, (size[0] - 1, size[1] - 1))
    pixels[spots[:, 1], spots[:, 0]] = _colors((shown[:, 2] - low_z) / (high_z - low_z))
    image = Image.fromarray(pixels)
    pen = ImageDraw.Draw(image)
    for metres in range(int(np.ceil(low_x / _TICK)) * _TICK, int(high_x) + 1, _TICK):
        height = float(to_pixels(np.array([metres, 0.0]))[1])
        pen.line([(0, height), (6, height)], fill=IGNORED)
        pen.text((9, height - 7), f"{metres} m", fill=IGNORED, font=load_font(12))
    for box in as_boxes(targets):
        _box(pen, box, to_pixels, TARGET, 1)
    for one in found:
        corner = _box(pen, as_boxes(one.box)[0], to_pixels, one.color, 2)
        if one.text:
            font = load_font(12, one.text)
            pen.text((corner[0] + 3, corner[1] - 14), drawable(one.text, font), fill=one.color, font=font)
    return image


def draw_on_camera(
    photo: Image.Image,
    calibration: Calibration,
    found: Sequence[DrawnBox] = (),
    targets: npt.ArrayLike = (),
) -> Image.Image:
    """The camera's image with the edges of boxes; those that reach behind the camera are left out."""
    image = photo.convert("RGB")
    pen = ImageDraw.Draw(image)
    drawn = [(box, TARGET, 1) for box in as_boxes(targets)]
    drawn += [(as_boxes(one.box)[0], one.color, 2) for one in found]
    for box, color, width in drawn:
        pixels = calibration.to_pixels(calibration.to_camera(corners(box)[0]))
        if (pixels[:, 2] <= 0).any():
            continue
        spots = [(float(x), float(y)) for x, y in pixels[:, :2]]
        for side in range(4):
            following = (side + 1) % 4
            for start, end in ((side, following), (side + 4, following + 4), (side, side + 4)):
                pen.line([spots[start], spots[end]], fill=color, width=width)
    return image


def stacked(upper: Image.Image, lower: Image.Image) -> Image.Image:
    """Two images, the upper one brought to the width of the lower one."""
    height = max(1, round(upper.height * lower.width / upper.width))
    image = Image.new("RGB", (lower.width, height + lower.height))
    image.paste(upper.resize((lower.width, height), Image.Resampling.BICUBIC), (0, 0))
    image.paste(lower, (0, height))
    return image


def _box(
    pen: ImageDraw.ImageDraw, box: npt.NDArray[np.floating], to_pixels: object, color: str, width: int
) -> tuple[float, float]:
    """Draws a box; the position of its rightmost corner."""
    assert callable(to_pixels)
    spots = to_pixels(ground_corners(box)[0])
    outline = [tuple(spot) for spot in spots.tolist()]
    pen.line([*outline, outline[0]], fill=color, width=width)
    front = (spots[0] + spots[3]) / 2
    pen.line([tuple(spots.mean(axis=0).tolist()), tuple(front.tolist())], fill=color, width=width)
    x, y = spots[spots[:, 0].argmax()].tolist()
    return x, y


def _colors(heights: npt.NDArray[np.floating]) -> npt.NDArray[np.uint8]:
    """Colors (N, 3) of heights from 0 to 1."""
    stops = np.array([_LOW, _MIDDLE, _HIGH], np.float64)
    values = heights.clip(0, 1)
    channels = [np.interp(values, (0, 0.5, 1), stops[:, channel]) for channel in range(3)]
    return np.stack(channels, axis=-1).astype(np.uint8)
