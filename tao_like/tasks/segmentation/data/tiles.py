"""Big photos as a dataset of windows, and the masks of photos from the probabilities of their windows."""

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
from tao_like.data.images.files import read_header
from tao_like.data.masks.record import MaskRecord
from tao_like.runtime.inputs.image import ImagePreparation
from tao_like.runtime.predictions.mask import merged_map
from tao_like.runtime.predictions.tiles import Tile, Tiling, cut
from tao_like.tasks.segmentation.data.dataset import SegmentationDataset
from tao_like.tasks.segmentation.data.targets import MaskTarget
from tao_like.tasks.segmentation.prediction import Segmented


class TiledDataset(SegmentationDataset):
    """Records as the windows of their photos. Predictions are held against the mask of the whole photo.

    Args:
        records: photos and their masks.
        tiling: how they are cut.
        arguments: of ``SegmentationDataset``.
    """

    def __init__(self, records: Sequence[MaskRecord], *arguments: Any, tiling: Tiling, **named: Any) -> None:
        super().__init__(records, *arguments, **named)
        self.tiles = tiles_of(records, tiling)
        self._last: tuple[int, Sample] | None = None

    @override
    def __len__(self) -> int:
        return len(self.tiles)

    def whole(self, image: int) -> Sample:
        """A whole photo with its target."""
        return super().sample(image)

    @override
    def key(self, index: int) -> str:
        """The photo's path, and where the window lies on it."""
        image, tile = self.tiles[index]
        return f"{super().key(image)}@{tile.left},{tile.top}"

    @override
    def sample(self, index: int) -> Sample:
        """A window with its mask."""
        return self._read(index)[0]

    @override
    def _read(self, index: int) -> tuple[Sample, MaskTarget]:
        image, tile = self.tiles[index]
        # The windows of a photo follow each other where nothing is shuffled: it is then decoded once.
        if self._last is None or self._last[0] != image:
            self._last = image, self.whole(image)
        whole = self._last[1]
        pixels = whole.data.crop(tile)
        classes = np.ascontiguousarray(whole.target.classes[tile.top : tile.bottom, tile.left : tile.right])
        sample = Sample(self.key(index), pixels, MaskTarget(pixels.width, pixels.height, classes))
        return sample, replace(whole.target, image=image)


class TiledData(Protocol):
    """Data whose photos may be cut."""

    @property
    def preprocessing(self) -> ImagePreparation:
        """How a window becomes an input."""

    @property
    def tiling(self) -> Tiling | None:
        """How photos are cut; None: they are not."""


class PhotoTiles(Tiles):
    """Big photos seen window by window.

    Args:
        data: says how they are cut, and how a window becomes an input; asked only when there is a photo.
    """

    def __init__(self, data: TiledData) -> None:
        self.data = data

    @override
    def tiles(self, sample: Sample) -> list[Sample]:
        return [Sample(sample.key, tile) for tile in cut(sample.data, self.data.tiling)]

    @override
    def merge(self, sample: Sample, predictions: Sequence[Segmented]) -> Segmented:
        return self._merged(predictions, sample.data.size)

    @override
    def image_numbers(self, dataset: Dataset) -> Sequence[int]:
        return [image for image, _ in _tiled(dataset).tiles]

    @override
    def merged(self, predictions: Iterable[tuple[int, Any, Any]]) -> Iterator[tuple[int, Any, Any]]:
        for image, tiles in groupby(predictions, lambda scored: scored[2].image):
            of_tiles = list(tiles)
            target = of_tiles[0][2]
            found = [prediction for _, prediction, _ in of_tiles]
            yield image, self._merged(found, (target.width, target.height)), target

    @override
    def whole_sample(self, dataset: Dataset, number: int) -> Sample:
        return _tiled(dataset).whole(number)

    @override
    def whole_key(self, dataset: Dataset, number: int) -> str:
        return _tiled(dataset).names[number]

    def _merged(self, found: Sequence[Segmented], size: tuple[int, int]) -> Segmented:
        tiling = self.data.tiling
        assert tiling is not None, "there are windows only where photos are cut"
        values = [one.values for one in found if one.values is not None]
        mask = merged_map(values, size, self.data.preprocessing, tiling)
        return Segmented.ready(mask, self.data.preprocessing)


def _tiled(dataset: Dataset) -> TiledDataset:
    assert isinstance(dataset, TiledDataset), "the data gives no other where there is a tiling"
    return dataset


def tiles_of(records: Sequence[MaskRecord], tiling: Tiling) -> list[tuple[int, Tile]]:
    """Number of the record and place of every window, photo by photo. Raises DatasetError."""
    headers = (read_header(record.path) for record in records)
    return [
        (number, tile)
        for number, header in enumerate(headers)
        for tile in tiling.tiles(header.width, header.height)
    ]
