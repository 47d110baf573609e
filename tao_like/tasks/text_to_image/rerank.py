"""Re-ranking: of several images of a prompt the one that fits best, as a `clip` model sees it, is taken."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from tao_like.runtime.generation.base import IMAGE, SEED, TEXT, Arrays, GraphCall
from tao_like.runtime.inputs.text import UNKNOWN, TextPreprocessing
from tao_like.runtime.predictions.image import to_pixels
from tao_like.tasks.common.pair_judge import PairJudge
from tao_like.tasks.text_to_image.around import AroundGenerator

SEEDS_APART = 2**40
"""Between the seeds of a sample's candidates: samples have seeds such as 0, 1, 2."""


@dataclass(frozen=True)
class Reranked(AroundGenerator):
    """A way of generating of whose images the best of several is taken (Ramesh et al. 2021, section 2.6).

    The first candidate has the sample's own seed, so that one candidate is no re-ranking.

    Attributes:
        judge: opened when the first images are there.
        text: how captions became tokens; they are turned back into words for the judge.
        candidates: images of each sample.
    """

    judge: Callable[[], PairJudge]
    text: Callable[[], TextPreprocessing]
    candidates: int

    kind: ClassVar[str] = "reranked"

    def run(self, call: GraphCall, given: Mapping[str, npt.NDArray[Any]]) -> Arrays:
        """Images for captions and seeds; see `Generator`."""
        words = self.text()
        texts = [spoken(row, words) for row in given[TEXT]]
        best: npt.NDArray[Any] | None = None
        scores = np.full(len(texts), -np.inf)
        for number in range(self.candidates):
            seeds = given[SEED] + np.int64(number * SEEDS_APART)
            made = self.generator.run(call, {**given, SEED: seeds})[IMAGE]
            cosines = self.judge().cosines(to_pixels(made), texts)
            better = cosines > scores
            best = made if best is None else np.where(better[:, None, None, None], made, best)
            scores = np.where(better, cosines, scores)
        assert best is not None
        return {IMAGE: best}


def spoken(ids: npt.NDArray[np.int64], text: TextPreprocessing) -> str:
    """The words of a caption's tokens; those that are not in the vocabulary are lost, as to the model."""
    return " ".join(text.words[number - UNKNOWN - 1] for number in ids.tolist() if number > UNKNOWN)
