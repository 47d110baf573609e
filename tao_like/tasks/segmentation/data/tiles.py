"""Big photos as a dataset of windows, and the masks of photos from the probabilities of their windows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from PIL import Image
from typing_extensions import override

from tao_like.runtime.predictions.mask import merged_map
from tao_like.runtime.predictions.tiles import Tile
from tao_like.tasks.common.image_tiles import ImageTiles, TiledRecords
from tao_like.tasks.segmentation.data.dataset import SegmentationDataset
from tao_like.tasks.segmentation.data.targets import MaskTarget
from tao_like.tasks.segmentation.prediction import Segmented


class TiledDataset(TiledRecords, SegmentationDataset):
    """Photos and masks as windows."""

    @override
    def target_on(self, target: MaskTarget, tile: Tile, pixels: Image.Image) -> MaskTarget:
        assert target.classes is not None, "samples are read with their masks"
        classes = np.ascontiguousarray(target.classes[tile.top : tile.bottom, tile.left : tile.right])
        return MaskTarget(pixels.width, pixels.height, classes)

    @override
    def reduced(self, target: MaskTarget) -> MaskTarget:
        return replace(target, classes=None)


class PhotoTiles(ImageTiles):
    """Big photos seen window by window."""

    @override
    def merge_tiles(self, predictions: Iterable[Segmented], size: tuple[int, int]) -> Segmented:
        values = (one.values for one in predictions if one.values is not None)
        mask = merged_map(values, size, self.data.preprocessing, self.tiling)
        return Segmented.ready(mask, self.data.preprocessing)
