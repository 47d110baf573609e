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


def spread_mask(
    shape: npt.NDArray[np.float32], box: Sequence[float], size: tuple[int, int]
) -> npt.NDArray[np.float64]:
    """The probabilities of a photo's pixels from those of cells that cover all of it.

    Bilinear between the centers of the cells; beyond the outermost centers the value of the outermost cell.

    Args:
        shape: (h, w) probabilities of the cells.
        box: left, top, right, bottom of all cells together, in pixels of the photo.
        size: width and height of the photo.

    Returns:
        (height, width); 0 beside the box.
    """
    left, top, right, bottom = (float(value) for value in box)
    cell = ((right - left) / shape.shape[1], (bottom - top) / shape.shape[0])
    padded = np.pad(shape.astype(np.float64), 1, mode="edge")
    columns, across = _weights(left - cell[0], right + cell[0], size[0], padded.shape[1])
    rows, down = _weights(top - cell[1], bottom + cell[1], size[1], padded.shape[0])
    values = np.zeros(size[::-1])
    if columns.stop > columns.start and rows.stop > rows.start:
        values[rows, columns] = down @ padded @ across.T
    return values


def mask_box(mask: Photo) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of a mask (H, W) along its pixels' edges; zeros where it has no pixel."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return (0, 0, 0, 0)
    return (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)


def _weights(begin: float, end: float, limit: int, cells: int) -> tuple[slice, npt.NDArray[np.float64]]:
    """The pixels along one axis whose centers may lie in the box, and how much of each cell they show."""
    first, last = max(0, int(np.floor(begin))), min(limit, int(np.ceil(end)))
    if end <= begin or last <= first:
        return slice(0, 0), np.zeros((0, cells))
    positions = (np.arange(first, last) + 0.5 - begin) / (end - begin) * cells - 0.5
    weights = 1 - np.abs(positions[:, None] - np.arange(cells)[None, :])
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
