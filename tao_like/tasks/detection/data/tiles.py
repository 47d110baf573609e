"""Big images as a dataset of their tiles."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any, Protocol

import numpy as np
from typing_extensions import override

from tao_like.contract.capabilities import Tiles
from tao_like.contract.data import Dataset
from tao_like.contract.sample import Sample
from tao_like.data.boxes.annotation import BoxArrays, BoxRecord
from tao_like.data.images.files import read_header
from tao_like.runtime.geometry.boxes import box_areas
from tao_like.runtime.inputs.image import ImagePreparation
from tao_like.runtime.predictions.boxes import merge_detections
from tao_like.runtime.predictions.detections import Detections
from tao_like.runtime.predictions.tiles import Tile, Tiling, cut
from tao_like.tasks.common.augmentation.annotations import LEAST_SIDE, LEAST_VISIBLE
from tao_like.tasks.detection.data.dataset import DetectionDataset, GroundTruth


class TiledDataset(DetectionDataset):
    """Records as the tiles of their images. Predictions are held against the objects of the whole
    image.

    Args:
        records: images and their boxes.
        tiling: how they are cut.
        arguments: of ``DetectionDataset``.
    """

    def __init__(self, records: Sequence[BoxRecord], *arguments: Any, tiling: Tiling, **named: Any) -> None:
        super().__init__(records, *arguments, **named)
        self.tiles = tiles_of(records, tiling)
        self._last: tuple[int, Sample] | None = None

    @override
    def __len__(self) -> int:
        return len(self.tiles)

    def whole(self, image: int) -> Sample:
        """A whole image with its target."""
        return super().sample(image)

    @override
    def key(self, index: int) -> str:
        """The image's path, and where the tile lies on it."""
        image, tile = self.tiles[index]
        return f"{super().key(image)}@{tile.left},{tile.top}"

    @override
    def sample(self, index: int) -> Sample:
        """A tile, with those objects of which enough can be seen on it."""
        return self._read(index)[0]

    @override
    def _read(self, index: int) -> tuple[Sample, GroundTruth]:
        image, tile = self.tiles[index]
        # The tiles of an image follow each other where nothing is shuffled: it is then decoded once.
        if self._last is None or self._last[0] != image:
            self._last = image, self.whole(image)
        whole = self._last[1]
        pixels = whole.data.crop(tile)
        arrays = arrays_on(whole.target.arrays, tile)
        sample = Sample(self.key(index), pixels, GroundTruth(arrays, pixels.width, pixels.height))
        return sample, replace(whole.target, image=image)


class TiledData(Protocol):
    """Data whose images may be cut."""

    @property
    def preprocessing(self) -> ImagePreparation:
        """How a tile becomes an input."""

    @property
    def tiling(self) -> Tiling | None:
        """How images are cut; None: they are not."""


class ImageTiles(Tiles):
    """Big images seen tile by tile.

    Args:
        data: says how they are cut, and how a tile becomes an input; asked only when there is an image.
    """

    def __init__(self, data: TiledData) -> None:
        self.data = data

    @property
    def _tiling(self) -> Tiling:
        tiling = self.data.tiling
        assert tiling is not None, "there are tiles only where images are cut"
        return tiling

    @override
    def tiles(self, sample: Sample) -> list[Sample]:
        return [Sample(sample.key, tile) for tile in cut(sample.data, self.data.tiling)]

    @override
    def merge(self, sample: Sample, predictions: Sequence[Detections]) -> Detections:
        return merge_detections(predictions, sample.data.size, self.data.preprocessing, self._tiling)

    @override
    def image_numbers(self, dataset: Dataset) -> Sequence[int]:
        return [image for image, _ in _tiled(dataset).tiles]

    @override
    def merged(self, predictions: Iterable[tuple[int, Any, Any]]) -> Iterator[tuple[int, Any, Any]]:
        for image, tiles in groupby(predictions, lambda scored: scored[2].image):
            of_tiles = list(tiles)
            target = of_tiles[0][2]
            size = (target.width, target.height)
            found = [prediction for _, prediction, _ in of_tiles]
            yield image, merge_detections(found, size, self.data.preprocessing, self._tiling), target

    @override
    def whole_sample(self, dataset: Dataset, number: int) -> Sample:
        return _tiled(dataset).whole(number)

    @override
    def whole_key(self, dataset: Dataset, number: int) -> str:
        return _tiled(dataset).names[number]


def _tiled(dataset: Dataset) -> TiledDataset:
    assert isinstance(dataset, TiledDataset), "the data gives no other where there is a tiling"
    return dataset


def tiles_of(records: Sequence[BoxRecord], tiling: Tiling) -> list[tuple[int, Tile]]:
    """Number of the record and place of every tile, image by image. Raises DatasetError."""
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
    # What must not be held against a prediction counts however little of it there is.
    is_left = arrays.crowd | (share >= LEAST_VISIBLE)
    seen = arrays._replace(boxes=clipped, areas=(arrays.areas * share).astype(np.float32))
    least = np.where(arrays.crowd, 0.0, LEAST_SIDE)[:, None]
    return seen.select(is_left & (sides >= least).all(axis=1) & (share > 0))
