"""Big images in tiles: where the tiles lie, and how the boxes of all tiles become those of the image.

Neighbouring tiles share a strip of the image. An object in it is seen twice, perhaps cut off by the border
of one tile. What a cut box shows of the object ends at the border, so its overlap with the whole box may be
small; but on the ground that both tiles see, the two boxes are the same, or the cut one lies inside the
other. So boxes are compared there alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, overload

import numpy as np
import numpy.typing as npt
from PIL import Image

from tao_like.errors import BundleError
from tao_like.runtime.geometry.boxes import Boxes, box_areas, box_iou

BORDER, BORDER_PIXELS = 0.02, 4.0
"""A box may be cut off that ends so near an inner border: a fraction of the tile's side, and pixels at
least."""
CONTAINED = 0.8
"""Fraction of a cut box, on common ground, inside another from which on it is a part of that one's object."""
LEAST_TILE, MOST_OVERLAP = 32, 0.8
"""Smaller tiles or larger overlaps would make too many of an image."""
TINY = 1e-9
SURE = 0.5
"""Of cut boxes of one object, those with this fraction of the best score say where it ends."""


class Tile(NamedTuple):
    """A part of an image, in its pixels."""

    left: int
    top: int
    right: int
    bottom: int

    def common(self, other: Tile) -> Tile:
        """What both see; without an area where they see nothing in common."""
        left, top = max(self.left, other.left), max(self.top, other.top)
        return Tile(
            left, top, max(left, min(self.right, other.right)), max(top, min(self.bottom, other.bottom))
        )


@dataclass(frozen=True)
class Tiling:
    """How images are cut.

    Attributes:
        width: of a tile, in pixels of the image.
        height: likewise.
        overlap: fraction of a tile's sides that neighbours have in common, at least.
        agreement: intersection over union, on common ground, from which on two boxes are of one object.
    """

    width: int
    height: int
    overlap: float
    agreement: float

    @classmethod
    def of(cls, extra: Mapping[str, Any]) -> Tiling | None:
        """What a model's metadata states under ``tiling``; None: images are not cut. Raises BundleError."""
        values = extra.get("tiling")
        if values is None:
            return None
        try:
            tiling = cls(**values)
            is_usable = (
                isinstance(tiling.width, int)
                and isinstance(tiling.height, int)
                and min(tiling.width, tiling.height) >= LEAST_TILE
                and 0 <= tiling.overlap <= MOST_OVERLAP
                and 0 < tiling.agreement <= 1
            )
        except TypeError as error:
            raise BundleError(f"the model's metadata has an odd tiling {values!r}: {error}.") from error
        if not is_usable:
            raise BundleError(
                f"the model's metadata has an odd tiling {values!r}: tiles have {LEAST_TILE} pixels or more "
                f"a side, overlap by 0 to {MOST_OVERLAP}, and agree by a fraction up to 1."
            )
        return tiling

    def to_dict(self) -> dict[str, Any]:
        """What `of` reads."""
        return asdict(self)

    def tiles(self, width: int, height: int) -> list[Tile]:
        """The tiles of an image, row by row; all of one size, and evenly spread."""
        columns = _starts(width, self.width, self.overlap)
        rows = _starts(height, self.height, self.overlap)
        return [
            Tile(left, top, min(width, left + self.width), min(height, top + self.height))
            for top in rows
            for left in columns
        ]


def _starts(length: int, tile: int, overlap: float) -> list[int]:
    """Where tiles begin along a side."""
    if length <= tile:
        return [0]
    step = max(1.0, tile * (1 - overlap))
    count = 1 + int(np.ceil((length - tile) / step))
    return [round(number * (length - tile) / (count - 1)) for number in range(count)]


class Tiles(Sequence[Image.Image]):
    """The tiles of an image as images, each cut when it is asked for; the image itself if it is not cut.

    Args:
        image: the image.
        tiling: None: it is not cut.
    """

    def __init__(self, image: Image.Image, tiling: Tiling | None) -> None:
        self.image = image
        self.tiles = tiling.tiles(*image.size) if tiling else []

    def __len__(self) -> int:
        return max(1, len(self.tiles))

    @overload
    def __getitem__(self, number: int) -> Image.Image: ...

    @overload
    def __getitem__(self, number: slice) -> list[Image.Image]: ...

    def __getitem__(self, number: int | slice) -> Image.Image | list[Image.Image]:
        if isinstance(number, slice):
            return [self[one] for one in range(*number.indices(len(self)))]
        if len(self.tiles) > 1:
            return self.image.crop(self.tiles[number])
        return (self.image,)[number]


class Group(NamedTuple):
    """Boxes of an image.

    Attributes:
        boxes: (N, 4) in pixels of the image.
        scores: (N,).
        labels: (N,) class numbers.
    """

    boxes: Boxes
    scores: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]


def join(found: Sequence[Group], tiles: Sequence[Tile], tiling: Tiling, size: tuple[int, int]) -> Group:
    """The boxes of an image from those of its tiles, best first; what several tiles see appears once.

    Args:
        found: of each tile, in pixels of the image.
        tiles: likewise.
        tiling: how it was cut.
        size: width and height of the image.
    """
    starts = np.cumsum([0, *(len(each.scores) for each in found)])
    boxes, scores, labels = (np.concatenate(parts) for parts in zip(*found, strict=True))
    owner = np.repeat(np.arange(len(tiles)), np.diff(starts))
    is_cut = _is_cut(boxes, owner, tiles, size)
    pairs = _pairs(boxes, labels, is_cut, starts, tiles, tiling.agreement)
    merged = []
    for members in _groups(pairs, owner, scores):
        best = members[np.argmax(scores[members])]
        whole = members[~is_cut[members]]
        if len(whole):
            box = boxes[whole[np.argmax(scores[whole])]]
        else:
            sure = boxes[members[scores[members] >= SURE * scores[best]]]
            box = np.concatenate([sure[:, :2].min(axis=0), sure[:, 2:].max(axis=0)])
        merged.append((box, scores[best], labels[best]))
    merged.sort(key=lambda each: -each[1])
    return Group(
        np.array([box for box, _, _ in merged], np.float32).reshape(-1, 4),
        np.array([score for _, score, _ in merged], np.float32),
        np.array([label for _, _, label in merged], np.int64),
    )


def _pairs(
    boxes: Boxes,
    labels: npt.NDArray[np.int64],
    is_cut: npt.NDArray[np.bool_],
    starts: npt.NDArray[np.int64],
    tiles: Sequence[Tile],
    agreement: float,
) -> list[tuple[float, int, int]]:
    """Pairs of boxes of different tiles that are of one object: their agreement, and their numbers."""
    pairs: list[tuple[float, int, int]] = []
    for one in range(len(tiles)):
        for other in range(one + 1, len(tiles)):
            if tiles[other].top >= tiles[one].bottom:
                break  # they come row by row
            ground = tiles[one].common(tiles[other])
            if ground.left == ground.right or ground.top == ground.bottom:
                continue
            limits = np.array(ground, np.float32)
            first, second = slice(starts[one], starts[one + 1]), slice(starts[other], starts[other + 1])
            clipped = [
                np.clip(boxes[each], np.tile(limits[:2], 2), np.tile(limits[2:], 2))
                for each in (first, second)
            ]
            ious = box_iou(*clipped)
            inside = _contained(ious, *clipped)
            is_part = (is_cut[first, None] & (inside[0] >= CONTAINED)) | (
                is_cut[None, second] & (inside[1] >= CONTAINED)
            )
            is_same = (labels[first, None] == labels[None, second]) & ((ious >= agreement) | is_part)
            pairs += [
                (float(ious[row, column]), int(starts[one] + row), int(starts[other] + column))
                for row, column in np.argwhere(is_same)
            ]
    return pairs


def _contained(
    ious: npt.NDArray[np.floating], boxes: Boxes, others: Boxes
) -> tuple[npt.NDArray[np.floating], npt.NDArray[np.floating]]:
    """From intersections over unions: the fraction of each box (N) in each other (M), and the reverse."""
    areas, other_areas = box_areas(boxes)[:, None], box_areas(others)[None, :]
    common = ious * (areas + other_areas) / (1 + ious)
    return common / np.maximum(areas, TINY), common / np.maximum(other_areas, TINY)


def _groups(
    pairs: list[tuple[float, int, int]], owner: npt.NDArray[np.int64], scores: npt.NDArray[np.float32]
) -> list[npt.NDArray[np.int64]]:
    """Numbers of the boxes of each object: the best pairs first, and of each tile one box at most.

    A pair is as good as its agreement times its lesser score: a box that a tile is hardly sure of must not
    take the place of its better one.

    A tile may say twice what another says once. The second box then fits an object that has a better one of
    the same tile; it goes where no other tile has one for it.
    """
    group_of = {number: [number] for number in range(len(owner))}
    refused: list[tuple[int, int]] = []
    for _, one, other in sorted(pairs, key=lambda pair: -pair[0] * min(scores[pair[1]], scores[pair[2]])):
        first, second = group_of[one], group_of[other]
        if first is second:
            continue
        if set(owner[first]) & set(owner[second]):
            refused += [(one, other), (other, one)]
            continue
        first += second
        group_of.update(dict.fromkeys(second, first))
    for alone, taken in refused:
        members = group_of.get(taken, [])
        if len(group_of.get(alone, [])) == 1 and len(members) > 1 and scores[alone] < scores[members].max():
            del group_of[alone]
    distinct = {id(members): members for members in group_of.values()}
    return [np.array(members, np.int64) for members in distinct.values()]


def _is_cut(
    boxes: Boxes, owner: npt.NDArray[np.int64], tiles: Sequence[Tile], size: tuple[int, int]
) -> npt.NDArray[np.bool_]:
    """(N,) whether a box ends at a border of its tile that is no border of the image."""
    borders = np.array(tiles, np.float32).reshape(-1, 4)[owner]
    sides = borders[:, 2:] - borders[:, :2]
    slack = np.maximum(BORDER * sides, BORDER_PIXELS)
    is_inner = np.concatenate([borders[:, :2] > 0, borders[:, 2:] < np.array(size, np.float32)], axis=1)
    is_near = np.concatenate(
        [boxes[:, :2] <= borders[:, :2] + slack, boxes[:, 2:] >= borders[:, 2:] - slack], axis=1
    )
    cut_off: npt.NDArray[np.bool_] = (is_inner & is_near).any(axis=1)
    return cut_off
