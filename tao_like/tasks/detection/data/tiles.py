"""Big images as a dataset of their tiles."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from PIL import Image
from typing_extensions import override

from tao_like.data.boxes.annotation import BoxArrays
from tao_like.runtime.geometry.boxes import box_areas
from tao_like.runtime.predictions.boxes import merge_detections
from tao_like.runtime.predictions.detections import Detections
from tao_like.runtime.predictions.tiles import Tile
from tao_like.tasks.common.augmentation.annotations import LEAST_SIDE, LEAST_VISIBLE
from tao_like.tasks.common.image_tiles import ImageTiles, TiledRecords
from tao_like.tasks.detection.data.dataset import DetectionDataset, GroundTruth


class TiledDataset(TiledRecords, DetectionDataset):
    """Images and boxes as tiles, each with those objects of which enough can be seen on it."""

    @override
    def target_on(self, target: GroundTruth, tile: Tile, pixels: Image.Image) -> GroundTruth:
        return GroundTruth(arrays_on(target.arrays, tile), pixels.width, pixels.height)


class BoxTiles(ImageTiles):
    """Big images seen tile by tile."""

    @override
    def merge_tiles(self, predictions: Iterable[Detections], size: tuple[int, int]) -> Detections:
        return merge_detections(list(predictions), size, self.data.preprocessing, self.tiling)


def arrays_on(arrays: BoxArrays, tile: Tile) -> BoxArrays:
    """The boxes on a tile, cut off at its borders, in its pixels; without those of which little is left."""
    limits = np.array([tile.right - tile.left, tile.bottom - tile.top] * 2, np.float32)
    moved = arrays.boxes - np.array([tile.left, tile.top] * 2, np.float32)
    clipped = np.clip(moved, 0, limits)
    fraction = box_areas(clipped) / np.maximum(box_areas(moved), 1e-9)
    sides = clipped[:, 2:] - clipped[:, :2]
    # What must not be held against a prediction counts however little of it there is.
    is_left = arrays.crowd | (fraction >= LEAST_VISIBLE)
    seen = arrays._replace(boxes=clipped, areas=(arrays.areas * fraction).astype(np.float32))
    least = np.where(arrays.crowd, 0.0, LEAST_SIDE)[:, None]
    return seen.select(is_left & (sides >= least).all(axis=1) & (fraction > 0))
