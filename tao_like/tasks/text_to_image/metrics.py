"""What made images are worth: attribute by attribute, for other captions, and how varied they are."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from typing_extensions import override

from tao_like.contract.metrics import Metrics, Report
from tao_like.tasks.common.pair_judge import PairJudge
from tao_like.tasks.text_to_image.data.data import Target
from tao_like.tasks.text_to_image.judge import Attributes, Judge, attribute_names, words_of

Words = tuple[str, ...]
Row = tuple[Words, Words]
SIDE = 4
"""Images are looked at in so many rows and columns of mean colors for the Frechet distance."""


class JudgedMetrics(Metrics):
    """Attributes of images against those of their captions.

    Args:
        attributes: what is judged, each with its words.
        judge: made when the first image comes.
    """

    def __init__(self, attributes: Attributes, judge: Callable[[], Judge]) -> None:
        super().__init__()
        self.attributes = attributes
        self.names = attribute_names(attributes)
        self._judge: Callable[[], Judge] | None = judge
        self.found: list[tuple[str, ...]] = []
        self.wanted: list[tuple[str, ...]] = []
        self.groups: list[str] = []

    def __getstate__(self) -> dict[str, Any]:
        # The judge holds all training images, and other processes have theirs.
        return {**self.__dict__, "_judge": None}

    @override
    def reported(self) -> Mapping[str, bool]:
        return {"accuracy": True, **dict.fromkeys(self.attributes, True), "all_right": True}

    @override
    def add(self, prediction: Any, target: Target) -> float:
        assert self._judge is not None
        found = self._judge().one(prediction)
        wanted = words_of(target.caption, self.attributes)
        self.found.append(tuple(found[name] for name in self.names))
        self.wanted.append(tuple(wanted.get(name, "") for name in self.names))
        self.groups.append(target.group)
        return float(sum(a != b for a, b in zip(self.found[-1], self.wanted[-1], strict=True) if b))

    @override
    def merge(self, other: JudgedMetrics) -> None:
        self.found += other.found
        self.wanted += other.wanted
        self.groups += other.groups

    @override
    def compute(self) -> Report:
        rows = list(zip(self.found, self.wanted, strict=True))
        details: dict[str, Any] = {}
        if self._judge and rows and self.attributes:
            details["judge_accuracy_on_real_pictures"] = self._judge().accuracy
        if len(set(self.groups)) > 1:
            details["groups"] = {
                group: self._values([row for row, one in zip(rows, self.groups, strict=True) if one == group])
                for group in sorted(set(self.groups))
            }
        return Report(self._values(rows), details)

    def _values(self, rows: list[Row]) -> dict[str, float]:
        right = {name: _fraction(rows, number) for number, name in enumerate(self.names)}
        whole = [all(a == b for a, b in zip(*row, strict=True) if b) for row in rows]
        own = {name: right[name] for name in self.attributes}
        return {"accuracy": _mean(right.values()), **own, "all_right": _mean(whole)}


class GenerationMetrics(JudgedMetrics):
    """The same of images out of sentences, with more.

    ``caption_swap``: the accuracy where images are judged by captions of others, over all pairs of an image
    and a caption that differs from its own. ``caption_chance``: the same of images that are just what their
    own captions say, so what two captions have in common; images that hear their captions come down to it.
    ``ffd``: a Frechet distance to the real images, of features of our own (mean colors of 4 by 4 fields),
    so it compares with nothing but itself; ``diversity``: the mean distance of two images over that of two
    real ones. ``clip_score``: CLIP-S (Hessel et al. 2021), where a model of the task `clip` is named.

    Args:
        attributes, judge: as of `JudgedMetrics`.
        clip: the model, opened when the first image comes; None: there is none.
    """

    def __init__(
        self,
        attributes: Attributes,
        judge: Callable[[], Judge],
        clip: Callable[[], PairJudge] | None = None,
    ) -> None:
        super().__init__(attributes, judge)
        self._clip = clip
        self.scores_clip = clip is not None
        self.clip_scores: list[float] = []
        self.made: list[np.ndarray] = []
        self.real: list[np.ndarray] = []

    @override
    def reported(self) -> Mapping[str, bool]:
        score = {"clip_score": True} if self.scores_clip else {}
        own = {"caption_swap": False, "caption_chance": False, "diversity": True, "ffd": False}
        return {**super().reported(), **own, **score}

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_clip": None}

    @override
    def add(self, prediction: Any, target: Target) -> float:
        self.made.append(_fields(prediction))
        if target.pixels is not None:
            self.real.append(_fields(target.pixels))
        if self._clip is not None:
            (score,) = self._clip().clip_scores(prediction[None], [target.caption])
            self.clip_scores.append(float(score))
        return super().add(prediction, target)

    @override
    def merge(self, other: JudgedMetrics) -> None:
        super().merge(other)
        assert isinstance(other, GenerationMetrics)
        self.made += other.made
        self.real += other.real
        self.clip_scores += other.clip_scores

    @override
    def compute(self) -> Report:
        report = super().compute()
        report.values["caption_swap"] = swapped_accuracy(self.found, self.wanted)
        report.values["caption_chance"] = swapped_accuracy(self.wanted, self.wanted)
        spread = _spread(self.real)
        report.values["diversity"] = _spread(self.made) / spread if spread else 0.0
        report.values["ffd"] = frechet_distance(np.array(self.made), np.array(self.real))
        if self.scores_clip:
            report.values["clip_score"] = _mean(self.clip_scores)
        return report


class ReconstructionMetrics(JudgedMetrics):
    """What a dVAE keeps of images: PSNR, codes that occur, and their attributes.

    Args:
        codes: size of the vocabulary.
        attributes, judge: as of `JudgedMetrics`.
    """

    def __init__(self, codes: int, attributes: Attributes, judge: Callable[[], Judge]) -> None:
        super().__init__(attributes, judge)
        self.codes = codes
        self.error = 0.0
        self.counts = np.zeros(codes, np.int64)

    @override
    def reported(self) -> Mapping[str, bool]:
        return {"psnr": True, "codes_used": True, "entropy": True, **super().reported()}

    @override
    def add(self, prediction: Any, target: Target) -> float:
        pixels, codes = prediction
        assert target.pixels is not None
        error = float(np.mean((pixels.astype(np.float64) - target.pixels) ** 2)) / 255**2
        self.error += error
        self.counts += np.bincount(codes.ravel(), minlength=self.codes)
        super().add(pixels, target)
        return error

    @override
    def merge(self, other: JudgedMetrics) -> None:
        super().merge(other)
        assert isinstance(other, ReconstructionMetrics)
        self.error += other.error
        self.counts += other.counts

    @override
    def compute(self) -> Report:
        report = super().compute()
        fractions = self.counts[self.counts > 0] / max(self.counts.sum(), 1)
        own = {
            "psnr": -10 * math.log10(max(self.error / max(self.count, 1), 1e-10)),
            "codes_used": len(fractions) / self.codes,
            "entropy": float(-(fractions * np.log2(fractions)).sum()),
        }
        return Report({**own, **report.values}, report.details)


def swapped_accuracy(found: Sequence[Words], wanted: Sequence[Words]) -> float:
    """How often images show what captions of others say: the mean over attributes.

    It is over all pairs of an image and a caption that differs from the image's own, so no order of the
    data has a say in it.

    Args:
        found: for each image the word of each attribute.
        wanted: the same for its caption; empty where the caption leaves an attribute out.
    """
    owners = Counter(wanted)
    values = []
    for number in range(len(wanted[0]) if wanted else 0):
        shown = Counter(words[number] for words in found)
        said = Counter(words[number] for words in wanted)
        said.pop("", None)
        pairs, right = len(found) * said.total(), sum(shown[word] * count for word, count in said.items())
        # Those with the image's own caption, or with another's that says the same.
        for one, caption in zip(found, wanted, strict=True):
            if caption[number]:
                pairs -= owners[caption]
                right -= owners[caption] * (one[number] == caption[number])
        if pairs:
            values.append(right / pairs)
    return _mean(values)


def frechet_distance(first: np.ndarray, second: np.ndarray) -> float:
    """Between two normal distributions with the mean and covariance of features (N, D).

    Heusel et al. 2017, equation 6: |m1 - m2|² + tr(c1 + c2 - 2 (c1 c2)^(1/2)), where the trace of the root
    comes of the eigenvalues of the product.
    """
    if len(first) < 2 or len(second) < 2:
        return 0.0
    gap = ((first.mean(axis=0) - second.mean(axis=0)) ** 2).sum()
    one, other = np.cov(first, rowvar=False), np.cov(second, rowvar=False)
    values = np.linalg.eigvals(one @ other).real.clip(min=0)
    return float(gap + np.trace(one) + np.trace(other) - 2 * np.sqrt(values).sum())


def _fields(pixels: np.ndarray) -> np.ndarray:
    """Mean colors, 0 to 1, of `SIDE` by `SIDE` fields of an image (H, W, 3)."""
    rows = np.array_split(pixels.astype(np.float64) / 255, SIDE, axis=0)
    return np.concatenate(
        [field.mean(axis=(0, 1)) for row in rows for field in np.array_split(row, SIDE, axis=1)]
    )


def _spread(features: list[np.ndarray]) -> float:
    """The mean distance of two of the features."""
    if len(features) < 2:
        return 0.0
    array = np.array(features)
    squares = (array**2).sum(axis=1)
    distances = np.sqrt((squares[:, None] + squares[None] - 2 * array @ array.T).clip(min=0))
    return float(distances.sum() / (len(array) * (len(array) - 1)))


def _fraction(rows: list[Row], number: int) -> float:
    return _mean(found[number] == wanted[number] for found, wanted in rows if wanted[number])


def _mean(values: Any) -> float:
    """Of values or targets; 0 where there is none."""
    listed = [float(value) for value in values]
    return sum(listed) / len(listed) if listed else 0.0
