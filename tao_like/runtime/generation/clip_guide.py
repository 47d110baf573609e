"""Guidance by a noised CLIP: its gradient draws an image to its caption (Nichol et al. 2021, part 2.4)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tao_like.runtime.generation.base import TEXT, GraphCall

GUIDE_GRAPH, GUIDE_TEXT_GRAPH = "noised_clip", "noised_clip_text"
GUIDE_GRAPHS = (GUIDE_TEXT_GRAPH, GUIDE_GRAPH)

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class ClipGuide:
    """A noised CLIP at work on a batch.

    Attributes:
        call: runs a graph.
        embedding: of the captions, (N, D).
        scale: factor of the gradient.
    """

    call: GraphCall
    embedding: Floats
    scale: float

    @classmethod
    def of(cls, call: GraphCall, text: npt.NDArray[np.int64], scale: float) -> ClipGuide:
        """For captions (N, T)."""
        return cls(call, call(GUIDE_TEXT_GRAPH, {TEXT: text})["clip_embedding"], scale)

    def gradient(self, x: Floats, timestep: int) -> Floats:
        """Scale times the gradient of the scaled cosine of x (N, 3, H, W) and its caption, of the same shape.

        Args:
            x: noisy images.
            timestep: of all of them.
        """
        given = {"x": x, "timesteps": np.full(len(x), timestep, np.float32), "clip_embedding": self.embedding}
        found: Floats = np.float32(self.scale) * self.call(GUIDE_GRAPH, given)["gradient"]
        return found
