"""Big pictures as a dataset of their tiles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from typing_extensions import override

from tao_like.contract.task import Sample
from tao_like.data.boxes.annotation import BoxArrays, BoxRecord
from tao_like.data.images.files import read_header
from tao_like.runtime.geometry.boxes import box_areas
from tao_like.runtime.predictions.tiles import Tile, Tiling
from tao_like.tasks.detection.data.augmentation import LEAST_SIDE, LEAST_VISIBLE
from tao_like.tasks.detection.data.dataset import DetectionDataset, Truth


class TiledDataset(DetectionDataset):
    """Records as the tiles of their pictures. Answers are held against the objects of the whole picture.

    Args:
        records: pictures and their boxes.
        tiling: how they are cut.
        arguments: of ``DetectionDataset``.
    """

    def __init__(self, records: Sequence[BoxRecord], *arguments: Any, tiling: Tiling, **named: Any) -> None:
        super().__init__(records, *arguments, **named)
        self.tiles = tiles_of(records, tiling)

    @override
    def __len__(self) -> int:
        return len(self.tiles)

    def whole(self, picture: int) -> Sample:
        """A whole picture with its truth."""
        return super().sample(picture)

    @override
    def sample(self, index: int) -> Sample:
        """A tile, with those objects of which enough can be seen on it."""
        return self._read(index)[0]

    @override
    def _read(self, index: int) -> tuple[Sample, Truth]:
        picture, tile = self.tiles[index]
        whole = self.whole(picture)
        arrays = arrays_on(whole.target.arrays, tile)
        image = whole.data.crop(tile)
        sample = Sample(
            f"{whole.key}@{tile.left},{tile.top}", image, Truth(arrays, image.width, image.height)
        )
        return sample, replace(whole.target, picture=picture)


def tiles_of(records: Sequence[BoxRecord], tiling: Tiling) -> list[tuple[int, Tile]]:
    """Number of the record and place of every tile, picture by picture. Raises DatasetError."""
    headers = (read_header(record.path) for record in records)
    return [
        (number, tile)
        for number, header in enumerate(headers)
        for tile in tiling.tiles(header.width, header.height)
    ]


def arrays_on(arrays: BoxArrays, tile: Tile) -> BoxArrays:
    """The boxes on a tile, cut off at its borders, in its pixels; without those of which little is left."""
    limits = np.array([tile.right - tile.left, tile.bottom - tile.top] * 2, np.float32)
    moved = arrays.boxes - np.array([tile.left, tile.top] * 2, np.float32)
    clipped = np.clip(moved, 0, limits)
    share = box_areas(clipped) / np.maximum(box_areas(moved), 1e-9)
    sides = clipped[:, 2:] - clipped[:, :2]
    # What must not be held against an answer counts however little of it there is.
    is_left = arrays.crowd | (share >= LEAST_VISIBLE)
    seen = arrays._replace(boxes=clipped, areas=(arrays.areas * share).astype(np.float32))
    least = np.where(arrays.crowd, 0.0, LEAST_SIDE)[:, None]
    return seen.select(is_left & (sides >= least).all(axis=1) & (share > 0))
