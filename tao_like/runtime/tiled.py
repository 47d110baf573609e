"""Predictions for big images that are seen tile by tile, with few tiles and few images in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby, islice
from typing import Any, NamedTuple, Protocol, runtime_checkable

from PIL import Image

from tao_like.errors import DatasetError
from tao_like.runtime.inputs.image import preprocess
from tao_like.runtime.inputs.image.input import ImageInput
from tao_like.runtime.metadata import ModelMetadata
from tao_like.runtime.predictions.base import Outputs, Prediction
from tao_like.runtime.predictions.tiles import Tiles

PIXELS_AHEAD = 2**25
"""Images are read before they are needed up to so many pixels together; a larger one only when it is."""


@runtime_checkable
class TileReader(Protocol):
    """Reads predictions of a kind that can be merged over tiles."""

    def read_tiles(
        self, outputs: Iterable[Outputs], metadata: ModelMetadata, source: str | None, size: tuple[int, int]
    ) -> Prediction:
        """Return the prediction for an image.

        Args:
            outputs: of the graph, for each tile in order; asked for one by one.
            metadata: of the model.
            source: the file asked about.
            size: width and height of the image, in pixels.
        """

    def failed(self, source: str | None, error: str) -> Prediction:
        """Return the prediction for an input that cannot be read."""


class _Named(NamedTuple):
    """An image by its number: where it comes from, how large it is, and why it cannot be read."""

    number: int
    source: str | None
    size: tuple[int, int] = (0, 0)
    error: str | None = None


@dataclass
class TiledImages:
    """Images seen tile by tile.

    Attributes:
        images: reads them.
        reader: reads the graph's outputs.
        run: gives these for a batch of preprocessed tiles.
        source: names the file of what was given.
        batch_size: tiles that are computed at once.
        workers: threads that read and preprocess.
        skip: go on after an image that cannot be read.
    """

    images: ImageInput
    reader: TileReader
    run: Callable[[Any], Outputs]
    source: Callable[[Any], str | None]
    batch_size: int
    workers: int
    skip: bool

    def predict(self, given: Iterable[Any], metadata: ModelMetadata) -> Iterator[Prediction]:
        """One prediction an image, in order. Raises DatasetError where none is to be skipped."""
        with ThreadPoolExecutor(self.workers) as pool:
            outputs = self._outputs(self._tiles(self._opened(given, pool)), pool)
            for image, of_image in groupby(outputs, lambda one: one[0]):
                if image.error is not None:
                    next(of_image)
                    yield self.reader.failed(image.source, image.error)
                    continue
                parts = (part for _, part in of_image if part is not None)
                yield self.reader.read_tiles(parts, metadata, image.source, image.size)

    def _opened(
        self, given: Iterable[Any], pool: ThreadPoolExecutor
    ) -> Iterator[tuple[str | None, Future[Image.Image]]]:
        """Images as they are read, small ones some at a time before they are needed."""
        ahead: deque[tuple[int, str | None, Future[Image.Image]]] = deque()
        for one in given:
            pixels = self.images.pixels(one)
            while ahead and (
                len(ahead) >= 2 * self.workers or pixels + sum(each[0] for each in ahead) > PIXELS_AHEAD
            ):
                yield ahead.popleft()[1:]
            ahead.append((pixels, self.source(one), pool.submit(self.images.whole, one)))
        while ahead:
            yield ahead.popleft()[1:]

    def _tiles(
        self, opened: Iterator[tuple[str | None, Future[Image.Image]]]
    ) -> Iterator[tuple[_Named, Image.Image | None]]:
        """The tiles of all images; of one that cannot be read none once."""
        for number in range(2**62):
            # Nothing here may hold an image while the next one is read.
            source, reading = next(opened, (None, None))
            if reading is None:
                return
            try:
                tiles = Tiles(reading.result(), self.images.tiling)
            except DatasetError as error:
                if not self.skip:
                    raise
                yield _Named(number, source, error=str(error)), None
                continue
            finally:
                del reading
            image = _Named(number, source, tiles.image.size)
            for tile in tiles:
                yield image, tile
            del tiles, tile

    def _outputs(
        self, tiles: Iterator[tuple[_Named, Image.Image | None]], pool: ThreadPoolExecutor
    ) -> Iterator[tuple[_Named, Outputs | None]]:
        """The graph's outputs for each tile, each with a batch of one."""
        while batch := list(islice(tiles, self.batch_size)):
            seen = [tile for _, tile in batch if tile is not None]
            preprocessed = list(pool.map(lambda tile: preprocess(tile, self.images.preprocessing), seen))
            outputs = self.run(self.images.batch(preprocessed)) if preprocessed else {}
            position = 0
            for image, tile in batch:
                if tile is None:
                    yield image, None
                    continue
                yield image, {name: values[position : position + 1] for name, values in outputs.items()}
                position += 1
