"""Images of instance segmentation: masks in the colors of their classes, with edges and boxes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from tao_like.plots.palette import TARGET, rgb
from tao_like.tasks.common.boxes.box_predictions import DrawnBox
from tao_like.tasks.detection.draw import draw_boxes

OPACITY = 0.45
SHORTEST_SIDE = 480
Mask = npt.NDArray[np.bool_]


def draw_instances(
    image: Image.Image,
    found: Sequence[DrawnBox],
    masks: Sequence[Mask],
    targets: Sequence[Mask] = (),
) -> Image.Image:
    """The image with predictions in their colors, and the edges of targets as thin white lines.

    Args:
        image: as it was taken.
        found: boxes, the one to be drawn last at the end.
        masks: of each of these, (H, W) at the image's size.
        targets: masks at the image's size.
    """
    # Enlarged before anything is drawn, so that edges are as thin as lines.
    factor = max(1, -(-SHORTEST_SIDE // max(image.size)))
    size = (image.width * factor, image.height * factor)
    pixels = np.asarray(image.convert("RGB").resize(size, Image.Resampling.BICUBIC)).astype(np.float32)
    for drawn, mask in zip(found, masks, strict=True):
        large, color = _enlarged(mask, factor), np.array(rgb(drawn.color), np.float32)
        pixels[large] = pixels[large] * (1 - OPACITY) + color * OPACITY
        pixels[_edge(large)] = color
    for mask in targets:
        pixels[_edge(_enlarged(mask, factor))] = rgb(TARGET)
    boxes = [one._replace(box=[value * factor for value in one.box]) for one in found]
    return draw_boxes(Image.fromarray(pixels.astype(np.uint8)), boxes)


def _enlarged(mask: Mask, factor: int) -> Mask:
    return np.repeat(np.repeat(np.asarray(mask, np.bool_), factor, axis=0), factor, axis=1)


def _edge(mask: Mask) -> Mask:
    """The pixels of a mask that have a neighbor outside of it."""
    padded = np.pad(mask, 1)
    inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask & ~inner
