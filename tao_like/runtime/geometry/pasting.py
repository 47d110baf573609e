"""From a mask within a box to the pixels of a photo, and to COCO's runs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Photo = npt.NDArray[np.bool_]


def pasted_mask(
    shape: npt.NDArray[np.float32], box: Sequence[float], size: tuple[int, int], threshold: float
) -> Photo:
    """The pixels of a photo that belong to an object.

    The mask is first enlarged to the box, bilinear between the centers of its cells and 0 outside of them,
    and then compared with the threshold, so that edges are smooth. This is the rule of detectron2's
    ``paste_masks_in_image``.

    Args:
        shape: (M, M) probabilities within the box.
        box: left, top, right, bottom in pixels of the photo; it may begin or end beside the photo.
        size: width and height of the photo.
        threshold: a pixel of at least this probability belongs to the object.

    Returns:
        (height, width).
    """
    mask = np.zeros(size[::-1], np.bool_)
    left, top, right, bottom = (float(value) for value in box)
    columns, across = _weights(left, right, size[0], shape.shape[1])
    rows, down = _weights(top, bottom, size[1], shape.shape[0])
    if columns.stop > columns.start and rows.stop > rows.start:
        mask[rows, columns] = down @ shape.astype(np.float64) @ across.T >= threshold
    return mask


def _weights(begin: float, end: float, limit: int, cells: int) -> tuple[slice, npt.NDArray[np.float64]]:
    """The pixels along one axis whose centers may lie in the box, and how much of each cell they show."""
    first, last = max(0, int(np.floor(begin))), min(limit, int(np.ceil(end)))
    if end <= begin or last <= first:
        return slice(0, 0), np.zeros((0, cells))
    places = (np.arange(first, last) + 0.5 - begin) / (end - begin) * cells - 0.5
    weights = 1 - np.abs(places[:, None] - np.arange(cells)[None, :])
    return slice(first, last), np.maximum(weights, 0)


def mask_runs(mask: Photo) -> tuple[int, ...]:
    """COCO's uncompressed runs of a mask (H, W): down the columns, first how many pixels are outside."""
    flat = mask.ravel(order="F")
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    lengths = np.diff(np.concatenate([[0], changes, [len(flat)]])).tolist()
    return (0, *lengths) if len(flat) and flat[0] else tuple(lengths)


def mask_of_runs(runs: Sequence[int], size: tuple[int, int]) -> Photo:
    """The mask (height, width) of such runs.

    Args:
        runs: as `mask_runs` gives them.
        size: width and height.
    """
    inside = np.arange(len(runs)) % 2 == 1
    mask: Photo = np.repeat(inside, np.asarray(runs, np.int64)).reshape(size).T
    return mask
