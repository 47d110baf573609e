"""Big images as a dataset of their tiles, and the predictions for images from those for their tiles."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain, groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, Protocol

from PIL import Image
from typing_extensions import override

from tao_like.contract.capabilities import Tiles
from tao_like.contract.data import Dataset
from tao_like.contract.sample import Sample
from tao_like.data.images.files import read_header
from tao_like.runtime.inputs.image import ImagePreprocessing
from tao_like.runtime.predictions.tiles import Tile, Tiling
from tao_like.runtime.predictions.tiles import Tiles as Cut


class HasPath(Protocol):
    """A record of an image."""

    @property
    def path(self) -> Path:
        """Of its file."""


class TiledRecords(ABC):
    """Records as the tiles of their images; stands before a task's dataset among a class's bases.

    Predictions are held against the target of the whole image, a dataclass with the field ``image``.

    Args:
        records: images and their targets.
        tiling: how they are cut.
        arguments: of the dataset.
    """

    def __init__(self, records: Sequence[HasPath], *arguments: Any, tiling: Tiling, **named: Any) -> None:
        super().__init__(records, *arguments, **named)  # type: ignore[call-arg]
        self.tiles = tiles_of(records, tiling)
        self._last: tuple[int, Sample] | None = None

    @abstractmethod
    def target_on(self, target: Any, tile: Tile, pixels: Image.Image) -> Any:
        """What is on a tile of the target of the whole image.

        Args:
            target: of the whole image.
            tile: its region there.
            pixels: the tile itself.
        """

    def reduced(self, target: Any) -> Any:
        """What all tiles of an image but the first need of its target: that is large, and needed once."""
        return target

    def __len__(self) -> int:
        return len(self.tiles)

    def whole(self, image: int) -> Sample:
        """A whole image with its target."""
        found: Sample = super().sample(image)  # type: ignore[misc]
        return found

    def key(self, index: int) -> str:
        """The image's path, and where the tile lies on it."""
        image, tile = self.tiles[index]
        return f"{super().key(image)}@{tile.left},{tile.top}"  # type: ignore[misc]

    def sample(self, index: int) -> Sample:
        """A tile with what is on it of the target."""
        return self._read(index)[0]

    def _read(self, index: int) -> tuple[Sample, Any]:
        image, tile = self.tiles[index]
        # The tiles of an image follow each other where nothing is shuffled: it is then decoded once.
        if self._last is None or self._last[0] != image:
            self._last = image, self.whole(image)
        whole = self._last[1]
        pixels = whole.data.crop(tile)
        sample = Sample(self.key(index), pixels, self.target_on(whole.target, tile, pixels))
        is_first = index == 0 or self.tiles[index - 1][0] != image
        target = whole.target if is_first else self.reduced(whole.target)
        return sample, replace(target, image=image)


class TiledData(Protocol):
    """Data whose images may be cut."""

    @property
    def preprocessing(self) -> ImagePreprocessing:
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

    @abstractmethod
    def merge_tiles(self, predictions: Iterable[Any], size: tuple[int, int]) -> Any:
        """The prediction for an image of a width and height from those for its tiles in order.

        These are asked for one by one, so that few need to be held.
        """

    @property
    def tiling(self) -> Tiling:
        """How images are cut."""
        tiling = self.data.tiling
        assert tiling is not None, "there are tiles only where images are cut"
        return tiling

    @override
    def tiles(self, sample: Sample) -> Sequence[Image.Image]:
        return Cut(sample.data, self.data.tiling)

    @override
    def merge(self, sample: Sample, predictions: Iterable[Any]) -> Any:
        return self.merge_tiles(predictions, sample.data.size)

    @override
    def image_numbers(self, dataset: Dataset) -> Sequence[int]:
        return [image for image, _ in _tiled(dataset).tiles]

    @override
    def merged(self, predictions: Iterable[tuple[int, Any, Any]]) -> Iterator[tuple[int, Any, Any]]:
        for image, tiles in groupby(predictions, lambda scored: scored[2].image):
            yield image, *self._whole(tiles)

    def _whole(self, tiles: Iterator[tuple[int, Any, Any]]) -> tuple[Any, Any]:
        """Prediction and target of an image; the target comes with its first tile."""
        _, first, target = next(tiles)
        found = chain([first], map(itemgetter(1), tiles))
        return self.merge_tiles(found, (target.width, target.height)), target

    @override
    def whole_sample(self, dataset: Dataset, number: int) -> Sample:
        return _tiled(dataset).whole(number)

    @override
    def whole_key(self, dataset: Dataset, number: int) -> str:
        names: Sequence[str] = _tiled(dataset).names  # type: ignore[attr-defined]
        return names[number]


def _tiled(dataset: Dataset) -> TiledRecords:
    assert isinstance(dataset, TiledRecords), "the data gives no other where there is a tiling"
    return dataset


def tiles_of(records: Sequence[HasPath], tiling: Tiling) -> list[tuple[int, Tile]]:
    """Number of the record and region of every tile, image by image. Raises DatasetError."""
    headers = (read_header(record.path) for record in records)
    return [
        (number, tile)
        for number, header in enumerate(headers)
        for tile in tiling.tiles(header.width, header.height)
    ]
