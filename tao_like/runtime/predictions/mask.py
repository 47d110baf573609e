"""From a segmentation network's outputs to the class of every pixel of the photo."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from tao_like.errors import BundleError
from tao_like.runtime.geometry.outlines import Point, mask_rings
from tao_like.runtime.inputs.image import ImagePreprocessing, letterbox_region
from tao_like.runtime.metadata import ModelMetadata
from tao_like.runtime.predictions.base import Outputs, Prediction, PredictionReader
from tao_like.runtime.predictions.tiles import Tiling

CLASS_MAP = "class_map"
"""Meaning of an output (N, H, W) uint8: the class number of every pixel of the input."""
PIXEL_PROBABILITIES = "pixel_probabilities"
"""Meaning of an output (N, classes, H, W): the probabilities of the classes at every pixel of the input."""
MEANINGS = (CLASS_MAP, PIXEL_PROBABILITIES)
_BLOCK = 2**24
"""Pixels."""
ClassMap = npt.NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class MaskPrediction(Prediction):
    """The class of every pixel of a photo.

    Attributes:
        width: of the photo, in pixels.
        height: likewise.
        runs: the mask, row by row from the upper left, as class number and number of pixels in turn.
        areas: class name to the number of its pixels; classes without any are there with 0.
        colors: of each class, for `image`.
    """

    width: int = 0
    height: int = 0
    runs: tuple[int, ...] = ()
    areas: Mapping[str, int] = field(default_factory=dict)
    colors: tuple[tuple[int, int, int], ...] = ()

    @property
    def mask(self) -> ClassMap:
        """(height, width) class numbers."""
        return decode_runs(self.runs, self.width, self.height)

    @property
    def shares(self) -> dict[str, float]:
        """Class name to its fraction of the photo, 0 to 1."""
        total = max(1, self.width * self.height)
        return {name: area / total for name, area in self.areas.items()}

    def image(self) -> Image.Image:
        """The mask as a palette image: its values are class numbers, its colors tell them apart."""
        return palette_image(self.mask, self.colors)

    def polygons(self, label: str) -> list[list[Point]]:
        """The rings around the regions of a class along its pixels; see `mask_rings`. Raises KeyError."""
        if label not in self.areas:
            raise KeyError(f"there is no class {label!r}; the classes are {', '.join(self.areas)}")
        return mask_rings(self.mask == list(self.areas).index(label))


def pixel_counts(mask: ClassMap, num_classes: int) -> npt.NDArray[np.int64]:
    """(classes or more,) pixels of each class number."""
    counts = np.zeros(np.iinfo(np.uint8).max + 1, np.int64)
    for rows in row_blocks(*mask.shape):
        counts += np.bincount(mask[rows].ravel(), minlength=len(counts))
    largest = int(counts.nonzero()[0].max(initial=-1))
    return counts[: max(num_classes, largest + 1)]


def row_blocks(height: int, width: int) -> Iterator[slice]:
    """Slices over all rows of a mask, each of so few pixels that wide numbers of them fit in memory."""
    rows = max(1, _BLOCK // max(1, width))
    for start in range(0, height, rows):
        yield slice(start, min(height, start + rows))


def palette_image(mask: ClassMap, colors: Sequence[tuple[int, int, int]]) -> Image.Image:
    """A class map as an image of mode P."""
    image = Image.fromarray(mask).convert("P") if mask.dtype != np.uint8 else Image.fromarray(mask, "P")
    image.putpalette([value for color in colors for value in color])
    return image


def encode_runs(mask: ClassMap) -> tuple[int, ...]:
    """A class map as class number and number of pixels in turn, row by row."""
    flat = mask.ravel()
    starts = (
        np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1]) if len(flat) else np.zeros(0, int)
    )
    lengths = np.diff(np.concatenate([starts, [len(flat)]]))
    return tuple(np.stack([flat[starts].astype(np.int64), lengths], axis=1).ravel().tolist())


def decode_runs(runs: Sequence[int], width: int, height: int) -> ClassMap:
    """The class map of `encode_runs`."""
    pairs = np.asarray(runs, np.int64).reshape(-1, 2)
    mask: ClassMap = np.repeat(pairs[:, 0].astype(np.uint8), pairs[:, 1]).reshape(height, width)
    return mask


def photo_map(values: npt.NDArray[Any], size: tuple[int, int], preprocessing: ImagePreprocessing) -> ClassMap:
    """The class of every pixel of a photo from what the network says of the input.

    Probabilities are scaled to the photo's size before the likeliest class is taken; of a class map the
    nearest pixel counts.

    Args:
        values: (H, W) class numbers, or (classes, H, W) probabilities, of the input.
        size: width and height of the photo.
        preprocessing: how the photo became the input.
    """
    inner = inside(values, size, preprocessing)
    if inner.ndim == 2:
        if inner.shape[::-1] == size:
            return np.ascontiguousarray(inner)
        return np.asarray(Image.fromarray(np.ascontiguousarray(inner)).resize(size, Image.Resampling.NEAREST))
    best = np.full(size[::-1], -np.inf, np.float32)
    mask: ClassMap = np.zeros(size[::-1], np.uint8)
    for number, channel in enumerate(inner):
        scaled = scaled_channel(channel, size)
        is_better = scaled > best
        mask[is_better] = number
        best[is_better] = scaled[is_better]
    return mask


def inside(
    values: npt.NDArray[Any], size: tuple[int, int], preprocessing: ImagePreprocessing
) -> npt.NDArray[Any]:
    """The part of (..., H, W) that shows the photo: without the borders of ``letterbox``."""
    if preprocessing.resize == "squash":
        return values
    left, top, width, height = letterbox_region(*size, preprocessing)
    return values[..., top : top + height, left : left + width]


def scaled_channel(channel: npt.NDArray[Any], size: tuple[int, int]) -> npt.NDArray[np.float32]:
    """One channel (h, w) at another size (width, height), bilinear, with half-pixel centers."""
    plain = np.ascontiguousarray(channel, np.float32)
    if plain.shape[::-1] == size:
        return plain
    return np.asarray(Image.fromarray(plain).resize(size, Image.Resampling.BILINEAR))


def merged_map(
    found: Iterable[npt.NDArray[Any]],
    size: tuple[int, int],
    preprocessing: ImagePreprocessing,
    tiling: Tiling,
) -> ClassMap:
    """The class map of a photo from its tiles' probabilities (classes, H, W), averaged where they meet.

    Only the rows that the last tiles reach are held as probabilities.
    """
    mask = np.zeros((size[1], size[0]), np.uint8)
    tiles = tiling.tiles(*size)
    total, count = np.zeros((0, 0, size[0]), np.float32), np.zeros((0, size[0]), np.float32)
    top = 0
    for tile, values in zip(tiles, found, strict=True):
        height = tile.bottom - tile.top
        if tile.top > top or not len(total):
            done = tile.top - top
            _decide_rows(mask[top : tile.top], total[:, :done], count[:done])
            rest_total, rest_count = total[:, done:], count[done:]
            total = np.zeros((len(values), height, size[0]), np.float32)
            count = np.zeros((height, size[0]), np.float32)
            if done and len(rest_count):
                total[:, : len(rest_count)], count[: len(rest_count)] = rest_total, rest_count
            top = tile.top
        extent = (tile.right - tile.left, height)
        area = (slice(0, height), slice(tile.left, tile.right))
        for number, channel in enumerate(inside(values, extent, preprocessing)):
            total[number][area] += scaled_channel(channel, extent)
        count[area] += 1
    _decide_rows(mask[top:], total, count)
    return mask


def _decide_rows(mask: ClassMap, total: npt.NDArray[np.float32], count: npt.NDArray[np.float32]) -> None:
    """Writes the likeliest class of some rows into them."""
    if len(mask):
        mask[:] = (total / count).argmax(axis=0)


class MaskReader(PredictionReader):
    """Reads a segmentation network's predictions."""

    kind = MaskPrediction

    def check(self, metadata: ModelMetadata) -> None:
        """Refuse metadata without classes or one known output, with class maps of tiles, or odd colors."""
        if not metadata.classes:
            raise BundleError("the model's metadata lists no classes.")
        meanings = list(metadata.outputs.values())
        if len(meanings) != 1 or meanings[0] not in MEANINGS:
            raise BundleError(
                f"a segmentation model has one output, with the meaning {' or '.join(MEANINGS)}; the "
                f"metadata has {', '.join(meanings) or 'none'}."
            )
        if Tiling.of(metadata.extra) is not None and meanings[0] == CLASS_MAP:
            raise BundleError("tiles can be merged by their probabilities, and the model gives class maps.")
        preprocessing = ImagePreprocessing.from_dict(metadata.input_of("image").preprocessing)
        if preprocessing.resize == "crop":
            raise BundleError("a mask covers the whole photo; the model's preprocessing crops it.")
        class_colors(metadata)

    def read(
        self,
        outputs: Outputs,
        metadata: ModelMetadata,
        sources: Sequence[str | None],
        sizes: Sequence[tuple[int, int]],
    ) -> list[MaskPrediction]:
        """Return the mask of each photo, at the photo's size."""
        ((name, _),) = metadata.outputs.items()
        preprocessing = ImagePreprocessing.from_dict(metadata.input_of("image").preprocessing)
        return [
            _prediction(photo_map(values, size, preprocessing), metadata, source)
            for values, source, size in zip(outputs[name], sources, sizes, strict=True)
        ]

    def read_tiles(
        self, outputs: Iterable[Outputs], metadata: ModelMetadata, source: str | None, size: tuple[int, int]
    ) -> MaskPrediction:
        """Return the mask of a photo that was seen tile by tile."""
        ((name, _),) = metadata.outputs.items()
        preprocessing = ImagePreprocessing.from_dict(metadata.input_of("image").preprocessing)
        tiling = Tiling.of(metadata.extra)
        assert tiling is not None, "there are tiles"
        values = (one for part in outputs for one in part[name])
        return _prediction(merged_map(values, size, preprocessing, tiling), metadata, source)


def class_colors(metadata: ModelMetadata) -> tuple[tuple[int, int, int], ...]:
    """The color of each class that the metadata states under ``colors``. Raises BundleError."""
    given = metadata.extra.get("colors")
    try:
        colors = tuple((int(r), int(g), int(b)) for r, g, b in given)  # type: ignore[union-attr]
    except (TypeError, ValueError) as error:
        raise BundleError(f"the model's metadata has odd colors {given!r:.80}: {error}.") from error
    if len(colors) != len(metadata.classes) or not all(0 <= value <= 255 for rgb in colors for value in rgb):
        raise BundleError(
            f"the model's metadata has {len(colors)} colors for {len(metadata.classes)} classes; each "
            "class has one, of three numbers from 0 to 255."
        )
    return colors


def _prediction(mask: ClassMap, metadata: ModelMetadata, source: str | None) -> MaskPrediction:
    classes = metadata.classes
    counts = pixel_counts(mask, len(classes))
    if len(counts) > len(classes):
        raise BundleError(
            f"the model gave class number {len(counts) - 1}, and its metadata names {len(classes)} classes, "
            "from 0 on."
        )
    return MaskPrediction(
        source=source,
        width=mask.shape[1],
        height=mask.shape[0],
        runs=encode_runs(mask),
        areas=dict(zip(classes, counts.tolist(), strict=True)),
        colors=class_colors(metadata),
    )
