"""A mask as COCO's runs: down the columns, beginning with pixels outside of the object.

Decoded and encoded by faster-coco-eval, whose results are pycocotools' to the byte.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt
from faster_coco_eval.core import mask as coco

from tao_like.errors import DatasetError

Mask = npt.NDArray[np.uint8]
Corners = tuple[float, float, float, float]
LARGEST_SIDE = 65_535


class Runs(TypedDict):
    """COCO's object of runs.

    Attributes:
        size: height and width.
        counts: the runs' lengths as COCO's text.
    """

    size: list[int]
    counts: str


def runs_of(value: Mapping[str, Any], where: str = "the mask") -> Runs:
    """Runs in their one form, from a text or a list of lengths.

    Args:
        value: ``size`` and ``counts``.
        where: file and position in it, for messages.

    Raises:
        DatasetError: they are damaged, or do not cover their size exactly.
    """
    try:
        height, width = (int(side) for side in value["size"])
        counts = value["counts"]
        if not (0 <= height <= LARGEST_SIDE and 0 <= width <= LARGEST_SIDE):
            raise ValueError(f"its size is {height} x {width}")
        if isinstance(counts, bytes):
            counts = counts.decode("ascii")
        if isinstance(counts, str):
            lengths = _lengths({"size": [height, width], "counts": counts})
        else:
            lengths = [int(count) for count in counts]
        if min(lengths, default=0) < 0:
            raise ValueError("a run has fewer than 0 pixels")
        if sum(lengths) != height * width:
            raise ValueError(f"its runs have {sum(lengths)} pixels, its size {height} x {width} has others")
        if isinstance(counts, str):
            return {"size": [height, width], "counts": counts}
        packed = coco.frPyObjects({"size": [height, width], "counts": lengths}, height, width)
        return readable_runs(packed)
    except (KeyError, TypeError, ValueError, RuntimeError, OverflowError, UnicodeError) as error:
        raise DatasetError(f"{where}: the segmentation cannot be read: {error}") from error


def encode_mask(mask: npt.NDArray[Any]) -> Runs:
    """The runs of a mask (H, W), of which every value but 0 is the object."""
    return readable_runs(coco.encode(np.asfortranarray(mask != 0, dtype=np.uint8)))


def decode_runs(runs: Runs) -> Mask:
    """The mask (H, W) of runs that ``runs_of`` gave, 0 and 1."""
    if not runs["size"][0] * runs["size"][1]:
        return np.zeros(tuple(runs["size"]), np.uint8)
    return np.ascontiguousarray(coco.decode(dict(runs)), dtype=np.uint8)


def union(parts: Sequence[Runs]) -> Runs:
    """The runs of all pixels that are in some part; at least one part."""
    return readable_runs(coco.merge([dict(part) for part in parts]))


def area_of_runs(runs: Runs) -> int:
    """Pixels of the object."""
    return int(coco.area(dict(runs)))


def box_of_runs(runs: Runs) -> Corners | None:
    """Left, top, right and bottom of the object's pixels; None where it has none."""
    if not area_of_runs(runs):
        return None
    left, top, width, height = (float(value) for value in coco.toBbox(dict(runs)))
    return left, top, left + width, top + height


def _lengths(runs: Runs) -> list[int]:
    return [int(length) for length in coco._mask.toUncompressedRLE([dict(runs)])[0]["counts"]]


def readable_runs(runs: Mapping[str, Any]) -> Runs:
    """Runs whose text is a str, as JSON has it."""
    height, width = runs["size"]
    counts = runs["counts"]
    return {
        "size": [int(height), int(width)],
        "counts": counts.decode("ascii") if isinstance(counts, bytes) else str(counts),
    }
