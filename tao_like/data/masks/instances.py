"""The objects of an image with their masks, as arrays."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from tao_like.data.boxes.annotation import Box, BoxArrays, usable_boxes
from tao_like.data.masks.runs import Mask, box_of_runs, decode_runs
from tao_like.data.masks.segmentation import runs_of_segmentation


def usable_instances(
    boxes: Iterable[Box], numbers: dict[str, int], width: int, height: int, where: str = "the image"
) -> tuple[BoxArrays, Mask]:
    """Objects with masks, without those that have no pixel in the image.

    The box of an object is the one around its mask, and its area that of the mask where the file states none.
    An object that has only a box is kept like a crowd: nothing can be learnt of its mask, and a prediction
    there is no mistake.

    Args:
        boxes: as read, with their segmentation.
        numbers: class name to number; objects of other classes are left out, regions to ignore are kept.
        width: of the upright image.
        height: likewise.
        where: the file, for messages.

    Returns:
        The objects, and their masks (N, H, W) of 0 and 1 in the same order.

    Raises:
        DatasetError: a segmentation is damaged, or of an image of another size.
    """
    found: list[Box] = []
    masks: list[Mask] = []
    for box in boxes:
        if not (box.ignore or box.label in numbers):
            continue
        if box.segmentation is None:
            filled = _rectangle(box, width, height)
            if filled is not None:
                found.append(box._replace(crowd=True))
                masks.append(filled)
            continue
        runs = runs_of_segmentation(box.segmentation, width, height, where)
        corners = box_of_runs(runs)
        if corners is not None:
            mask = decode_runs(runs)
            left, top, right, bottom = corners
            area = box.area or float(np.count_nonzero(mask))
            found.append(box._replace(left=left, top=top, right=right, bottom=bottom, area=area))
            masks.append(mask)
    arrays = usable_boxes(found, numbers, width, height)
    assert len(arrays.boxes) == len(masks), "every box has an area inside of the image"
    return arrays, np.stack(masks) if masks else np.zeros((0, height, width), np.uint8)


def _rectangle(box: Box, width: int, height: int) -> Mask | None:
    """The mask of a box; None where it has no pixel in the image."""
    if box.is_empty or box.left >= width or box.top >= height or box.right <= 0 or box.bottom <= 0:
        return None
    mask = np.zeros((height, width), np.uint8)
    left, top = max(0, int(box.left)), max(0, int(box.top))
    mask[top : max(top + 1, round(box.bottom)), left : max(left + 1, round(box.right))] = 1
    return mask
