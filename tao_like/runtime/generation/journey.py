"""Images that begin with an image: others like it, those between two, and where words lead it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tao_like.errors import SpecError
from tao_like.runtime.choices import TURN
from tao_like.runtime.generation.base import check_setting
from tao_like.runtime.generation.edit import HALF, pixel_array

JOURNEYS = {
    "image": "an image, or several, of which each begins a row",
    "image_to": "another image",
    "caption": "what the image shows, as tokens (1, T)",
    "turn": "0 to 1",
    "frames": "how many",
    "first": "the first seed",
    "components": "how many principal components of the image's embedding each image of its row keeps",
    "labels": "captions by which images are judged, as tokens (K, T)",
}
"""What a user gives for it."""
MOST_FRAMES = 10000
MOST_COMPONENTS = 65536

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Journey:
    """An image to begin with, and where to go.

    Attributes:
        images: each (1, 3, H, W), -1 to 1. In rows any number, else one, or two with a way between them.
        caption: tokens (1, T) of what the first image shows; None: no words lead.
        turn: where words lead, the fraction of the angle to their direction that the last image has.
        frames: images on the way, the ends among them.
        first: seed of the first of them; the next ones have the seeds after it.
        rows: each image begins a row: itself, and then what is made of it, in all rows of the same noise.
        components: principal components that each image of a row keeps; empty: there are others like it.
        labels: tokens (K, T) of captions by which images are judged; None: they are not.
    """

    images: tuple[Floats, ...]
    caption: npt.NDArray[np.int64] | None = None
    turn: float = TURN
    frames: int = 1
    first: int = 0
    rows: bool = False
    components: tuple[int, ...] = ()
    labels: npt.NDArray[np.int64] | None = None

    @classmethod
    def of(cls, given: Mapping[str, Any], height: int, width: int) -> Journey:
        """What a user has given.

        Args:
            given: of `JOURNEYS`; Pillow images, or arrays (H, W, 3) uint8. A list of images, ``components``
                or ``labels`` ask for rows.
            height, width: of the model's images.

        Raises:
            SpecError: there is no image to begin with, one has another size, or a number has no meaning.
        """
        if "image" not in given:
            raise SpecError(f"{', '.join(sorted(given))} is given without an image to begin with.")
        if "image_to" in given and "caption" in given:
            raise SpecError("image_to and caption are given together; an image goes one way: keep one.")
        turn, frames = given.get("turn", TURN), given.get("frames", 1)
        check_setting("turn", turn, 0.0, 1.0)
        check_setting("frames", frames, 1, MOST_FRAMES)
        components = tuple(given.get("components", ()))
        for one in components:
            check_setting("components", one, 0, MOST_COMPONENTS)
        rows = _is_list(given["image"]) or bool(components) or "labels" in given
        if rows and ("image_to" in given or "caption" in given):
            raise SpecError("image_to and caption lead one image elsewhere and make no rows; leave them out.")
        named = [("image", one) for one in (given["image"] if _is_list(given["image"]) else [given["image"]])]
        named += [(name, given[name]) for name in ("image_to",) if name in given]
        images = []
        for name, one in named:
            array = pixel_array(one, "RGB", (height, width, 3), name)
            images.append((array.astype(np.float32) / HALF - 1).transpose(2, 0, 1)[None])
        if not images:
            raise SpecError("image is an empty list; give an image, or several.")
        caption, labels = (
            np.asarray(given[name], np.int64) if name in given else None for name in ("caption", "labels")
        )
        return cls(
            tuple(images),
            caption,
            float(turn),
            int(frames),
            int(given.get("first", 0)),
            rows,
            tuple(int(one) for one in components),
            labels,
        )

    @property
    def columns(self) -> int:
        """Images of a row, the given one first."""
        return 1 + (len(self.components) or self.frames)

    def cells(self, seeds: npt.NDArray[Any]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Row and column of each sample, (N,) both: by its seed."""
        numbers = np.asarray(seeds, np.int64) - self.first
        return (numbers // self.columns).clip(0, len(self.images) - 1), numbers % self.columns

    def noise_seeds(self, seeds: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """What each sample's noise is drawn from: in rows the same for a column, of components for all."""
        if not self.rows:
            return seeds
        columns = self.cells(seeds)[1]
        return np.full_like(columns, self.first) if self.components else self.first + columns

    def with_given(self, pixels: Floats, seeds: npt.NDArray[Any]) -> Floats:
        """Images (N, 3, H, W), of which those that begin a row are the given ones."""
        if not self.rows:
            return pixels
        rows, columns = self.cells(seeds)
        given = np.concatenate(self.images)[rows]
        found: Floats = np.where((columns == 0)[:, None, None, None], given, pixels)
        return found

    def places(self, seeds: npt.NDArray[Any]) -> Floats:
        """How far on its way each sample is, (N,), 0 to 1: by its seed."""
        if self.frames == 1:
            return np.ones(len(seeds), np.float32)
        found: Floats = ((seeds - self.first) / (self.frames - 1)).clip(0, 1).astype(np.float32)
        return found


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)


def slerp(start: Floats, end: Floats, positions: Floats) -> Floats:
    """Between two points along the great circle through them (Shoemake 1985).

    Args:
        start: (N, ...).
        end: (N or 1, ...).
        positions: (N,): 0 gives the start, 1 the end.

    Returns:
        (N, ...); lengths pass from that of the start to that of the end.
    """
    one = start.reshape(len(start), -1).astype(np.float64)
    other = np.broadcast_to(end, start.shape).reshape(len(start), -1).astype(np.float64)
    lengths = [np.maximum(np.linalg.norm(vector, axis=1, keepdims=True), 1e-9) for vector in (one, other)]
    cosine = ((one / lengths[0]) * (other / lengths[1])).sum(axis=1, keepdims=True).clip(-1, 1)
    angle = np.arccos(cosine)
    position = positions.astype(np.float64)[:, None]
    sine = np.maximum(np.sin(angle), 1e-9)
    # Nearly one direction: the sines have no ratio, and a straight line is as good.
    straight = angle < 1e-4
    first = np.where(straight, 1 - position, np.sin((1 - position) * angle) / sine)
    second = np.where(straight, position, np.sin(position * angle) / sine)
    mixed: Floats = (first * one + second * other).reshape(start.shape).astype(np.float32)
    return mixed
