"""unCLIP's two priors: both draw what stands for an image's embedding, for a caption."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tao_like.runtime.generation.base import Arrays, GraphCall
from tao_like.runtime.generation.diffusion import Process

PRIOR_GRAPH = "prior"

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Asked:
    """Captions, and how loud they are.

    Attributes:
        call: runs a graph.
        words: what the text encoder gives for the captions.
        without: the same for empty ones.
        scale: s in e0 + s (e1 - e0) of what the prior says without (e0) and with the caption (e1).
    """

    call: GraphCall
    words: Arrays
    without: Arrays
    scale: float

    def says(self, output: str, given: Arrays) -> npt.NDArray[np.float32]:
        """An output of the prior, guided.

        Args:
            output: its name.
            given: what the prior is given beside the caption, a row a sample.
        """
        scale = self.scale
        halves = [self.words] if scale == 1 else [self.without] if scale == 0 else [self.words, self.without]
        feed = {name: np.concatenate([half[name] for half in halves]) for name in self.words}
        feed |= {name: np.concatenate([value] * len(halves)) for name, value in given.items()}
        found: Floats = self.call(PRIOR_GRAPH, feed)[output]
        if len(halves) == 1:
            return found
        with_text, blank = np.split(found, 2)
        guided: Floats = blank + np.float32(scale) * (with_text - blank)
        return guided


def by_diffusion(asked: Asked, x: Floats, process: Process) -> Floats:
    """Standardized embeddings out of noise (N, D), by DDIM without new noise."""
    for number in reversed(range(len(process.kept))):
        kept, before = float(process.kept[number]), process.before(number)
        timesteps = np.full(len(x), int(process.timesteps[number]), np.float32)
        foreseen = asked.says("foreseen", {"noisy": x, "timesteps": timesteps})
        spread = (x - np.float32(np.sqrt(kept)) * foreseen) / np.float32(np.sqrt(1 - kept))
        x = np.float32(np.sqrt(before)) * foreseen + np.float32(np.sqrt(1 - before)) * spread
    return x


def by_codes(asked: Asked, normal: Floats) -> npt.NDArray[np.int64]:
    """Codes (N, K), each drawn after those before it.

    Args:
        asked: for what.
        normal: (K, N) normal numbers: their fraction of the distribution is where a code is taken in the
            cumulated probabilities.
    """
    count = normal.shape[1]
    codes = np.zeros((count, len(normal)), np.int64)
    for index, row in enumerate(normal):
        logits = asked.says("logits", {"codes": codes})[:, index].astype(np.float64)
        fractions = np.exp(logits - logits.max(axis=1, keepdims=True))
        cumulated = np.cumsum(fractions, axis=1) / fractions.sum(axis=1, keepdims=True)
        chance = np.array([0.5 * (1 + math.erf(one / math.sqrt(2))) for one in row])
        codes[:, index] = (cumulated < chance[:, None]).sum(axis=1).clip(max=fractions.shape[1] - 1)
    return codes
