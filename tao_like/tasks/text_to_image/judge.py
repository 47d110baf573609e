"""Says what is on an image, without any training: by its nearest neighbors among real images.

A generator is judged attribute by attribute, for a mean hides what it has not learnt. The judge looks at two
things: the silhouette of what stands out from the background, and the color of that. Which of the two tells
an attribute better is found on the real images themselves, each of which is judged by the others.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tao_like.errors import DatasetError

NEIGHBORS = 3
MOST_REFERENCES = 4000
"""Real images that are looked at: more make the judge slower, and hardly better."""
_SPREAD = 0.35
"""Standard deviation of the blur of a silhouette, in pixels of an image of 16: it forgives half a pixel."""

Floats = npt.NDArray[np.float32]
Attributes = Mapping[str, Sequence[str]]
"""For each attribute its words: ``{"shape": ["circle", "square"], "color": ["red", "blue"]}``."""


WHOLE = "caption"
"""The only attribute where none are named: the whole caption, in lower case."""


def attribute_names(attributes: Attributes) -> list[str]:
    """What is judged: the attributes, or where there are none the caption as a whole."""
    return list(attributes) or [WHOLE]


def words_of(caption: str, attributes: Attributes) -> dict[str, str]:
    """For each attribute the word that a caption names first; attributes that it leaves out are missing.

    A word may be several, such as ``top left``; of those that begin at one place the longest is meant.
    """
    if not attributes:
        return {WHOLE: caption.lower()}
    found = {}
    for name, words in attributes.items():
        places = [
            (match.start(), -len(word), word)
            for word in words
            if (match := re.search(rf"\b{re.escape(word)}\b", caption, re.IGNORECASE))
        ]
        if places:
            found[name] = min(places)[2]
    return found


@dataclass(frozen=True)
class Features:
    """What the judge sees of images.

    Attributes:
        silhouette: (N, H * W), of length 1 each.
        color: (N, 3): mean color of what stands out, 0 to 1.
    """

    silhouette: Floats
    color: Floats

    @classmethod
    def of(cls, images: npt.NDArray[np.uint8]) -> Features:
        """Looks at images (N, H, W, 3)."""
        pixels = images.astype(np.float32) / 255
        count, height, width, _ = pixels.shape
        ground = np.median(pixels.reshape(count, -1, 3), axis=1)[:, None, None]
        distance = np.sqrt(((pixels - ground) ** 2).sum(axis=-1))
        high = np.quantile(distance.reshape(count, -1), 0.97, axis=1)[:, None, None]
        alpha = ((distance / np.maximum(high, 1e-3) - 0.25) / 0.5).clip(0, 1)
        weights = alpha**2
        color = (weights[..., None] * pixels).sum(axis=(1, 2))
        color /= np.maximum(weights.sum(axis=(1, 2)), 1e-6)[:, None]
        soft = _blurred(alpha, _SPREAD * height / 16).reshape(count, height * width)
        soft /= np.maximum(np.linalg.norm(soft, axis=1, keepdims=True), 1e-6)
        return cls(soft.astype(np.float32), color.astype(np.float32))

    def near(self, other: Features, kind: str) -> Floats:
        """How near each of these images is to each of others, (N, M): more is nearer."""
        if kind == "silhouette":
            return self.silhouette @ other.silhouette.T
        return -((self.color[:, None] - other.color[None]) ** 2).sum(axis=-1)


class Judge:
    """Made of real images and their captions.

    Attributes:
        attributes: their words.
        names: of what is judged.
        looks_at: for each attribute ``silhouette`` or ``color``, whichever tells it better.
        accuracy: for each attribute how often a real image is judged right by the others.

    Args:
        images: (N, H, W, 3) uint8.
        captions: of the images.
        attributes: what to look for.

    Raises:
        DatasetError: an attribute is never named, or fewer than two of its words are.
    """

    def __init__(
        self, images: npt.NDArray[np.uint8], captions: Sequence[str], attributes: Attributes
    ) -> None:
        self.attributes = attributes
        self._last: tuple[bytes, dict[str, str]] | None = None
        step = max(1, -(-len(images) // MOST_REFERENCES))
        self._features = Features.of(images[::step])
        named = [words_of(caption, attributes) for caption in captions[::step]]
        self.names = attribute_names(attributes)
        self._words = {name: [one.get(name, "") for one in named] for name in self.names}
        for name, words in self._words.items():
            if name in attributes and len(set(words) - {""}) < 2:
                raise DatasetError(
                    f"dataset.attributes.{name}: the training captions name "
                    f"{', '.join(set(words) - {''}) or 'none'} of {', '.join(attributes[name])}; a judge "
                    "needs two words or more that occur"
                )
        self.looks_at: dict[str, str] = {}
        self.accuracy: dict[str, float] = {}
        for kind in ("silhouette", "color"):
            near = self._features.near(self._features, kind)
            np.fill_diagonal(near, -np.inf)
            order = _nearest(near)
            for name in self.names:
                right = np.mean(
                    [
                        found == wanted
                        for found, wanted in zip(self._voted(name, order), self._words[name], strict=True)
                        if wanted
                    ]
                )
                if right > self.accuracy.get(name, -1.0):
                    self.accuracy[name], self.looks_at[name] = float(right), kind

    def __call__(self, images: npt.NDArray[np.uint8]) -> list[dict[str, str]]:
        """For each image (N, H, W, 3) the word of each attribute."""
        features = Features.of(images)
        orders = {kind: _nearest(features.near(self._features, kind)) for kind in set(self.looks_at.values())}
        found = {name: self._voted(name, orders[self.looks_at[name]]) for name in self.names}
        return [{name: words[number] for name, words in found.items()} for number in range(len(images))]

    def one(self, pixels: npt.NDArray[np.uint8]) -> dict[str, str]:
        """The word of each attribute of an image (H, W, 3); the last one asked about is remembered."""
        content = pixels.tobytes()
        if self._last is None or self._last[0] != content:
            self._last = (content, self(pixels[None])[0])
        return self._last[1]

    def _voted(self, name: str, order: npt.NDArray[np.int64]) -> list[str]:
        """The word that most of the nearest images bear; of equally many the nearest's."""
        words = self._words[name]
        chosen = []
        for row in order:
            near = [words[number] for number in row if words[number]] or [""]
            chosen.append(max(near, key=lambda word: (near.count(word), -near.index(word))))
        return chosen


def _nearest(near: Floats) -> npt.NDArray[np.int64]:
    """The numbers of the nearest images of each row, the nearest first."""
    count = min(NEIGHBORS, near.shape[1])
    some = np.argpartition(-near, count - 1, axis=1)[:, :count]
    order = np.argsort(-np.take_along_axis(near, some, axis=1), axis=1, kind="stable")
    return np.take_along_axis(some, order, axis=1)


def _blurred(alpha: Floats, deviation: float) -> Floats:
    """(N, H, W) blurred by a Gaussian."""
    radius = max(1, round(3 * deviation))
    places = np.arange(-radius, radius + 1)
    kernel = np.exp(-0.5 * (places / deviation) ** 2)
    kernel /= kernel.sum()
    for axis in (1, 2):
        padding = [(0, 0)] * 3
        padding[axis] = (radius, radius)
        padded = np.pad(alpha, padding)
        length = alpha.shape[axis]
        alpha = sum(
            weight * np.take(padded, range(number, number + length), axis=axis)
            for number, weight in enumerate(kernel)
        )
    return alpha
