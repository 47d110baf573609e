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
            # A side may be so short that it is none in the numbers of an array.
            if len(usable_boxes([box], numbers, width, height).boxes):
                found.append(box._replace(crowd=True))
                masks.append(_rectangle(box, width, height))
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


def _rectangle(box: Box, width: int, height: int) -> Mask:
    """The mask of a box, of which a part lies in the image."""
    mask = np.zeros((height, width), np.uint8)
    left, top = int(max(0, box.left)), int(max(0, box.top))
    right, bottom = round(min(width, box.right)), round(min(height, box.bottom))
    mask[top : max(top + 1, bottom), left : max(left + 1, right)] = 1
    return mask
