"""Of several images the one that fits best is taken."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tao_like
from tao_like.errors import SpecError
from tao_like.runtime.generation.base import IMAGE, SEED, TEXT
from tao_like.runtime.inputs.text import TextPreprocessing, Tokenizer
from tao_like.tasks.text_to_image.rerank import SEEDS_APART, Reranked, spoken

TEXTS = TextPreprocessing("words", 8, words=["bright", "dark", "a"])


class GrayOfSeed:
    """Makes a gray image whose brightness follows from the seed alone."""

    graphs, kind = (), "gray"

    def run(self, call: Any, given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        candidate, sample = np.divmod(given[SEED], SEEDS_APART)
        levels = ((3 * candidate + sample) % 7 / 7).astype(np.float32)
        return {IMAGE: np.broadcast_to(levels[:, None, None, None], (len(levels), 2, 2, 3)).copy()}


class Brightness:
    """Finds that bright images fit ``bright``, and dark ones ``dark``."""

    def cosines(self, images: np.ndarray, texts: list[str]) -> np.ndarray:
        light = images.reshape(len(images), -1).mean(axis=1) / 255
        return np.array([one if "bright" in text else -one for one, text in zip(light, texts, strict=True)])


def test_the_best_of_all_candidates_is_taken_for_each_sample() -> None:
    tokenizer = Tokenizer(TEXTS)
    texts = np.stack([tokenizer.ids(text) for text in ("a bright", "a dark", "a bright")])
    given = {TEXT: texts, SEED: np.array([0, 1, 2])}
    ranked = Reranked(GrayOfSeed(), Brightness, lambda: TEXTS, 4)  # type: ignore[arg-type]
    found = ranked.run(lambda name, values: values, given)[IMAGE][:, 0, 0, 0] * 7
    # Levels 0 3 6 2; 1 4 0 3; 2 5 1 4.
    assert found.round().tolist() == [6, 0, 5]
    one = Reranked(GrayOfSeed(), Brightness, lambda: TEXTS, 1)  # type: ignore[arg-type]
    assert (one.run(lambda name, values: values, given)[IMAGE][:, 0, 0, 0] * 7).round().tolist() == [
        0,
        1,
        2,
    ]


def test_tokens_become_words_again() -> None:
    ids = Tokenizer(TEXTS).ids("A bright, unknown dark")
    assert spoken(ids, TEXTS) == "a bright dark"


def test_ranking_without_a_judge_is_refused() -> None:
    with pytest.raises(SpecError, match=r"inference\.rerank: 4 needs clip_checkpoint"):
        tao_like.run(
            "text_to_image", "inference", None, ["inference.rerank=4", "train.keep=last"], quiet=True
        )
