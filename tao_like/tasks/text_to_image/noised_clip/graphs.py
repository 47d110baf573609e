"""The graphs in which a noised CLIP ships."""

from __future__ import annotations

from tao_like.contract.model import Exportable
from tao_like.runtime.generation.base import TEXT
from tao_like.runtime.generation.clip_guide import GUIDE_GRAPH, GUIDE_TEXT_GRAPH
from tao_like.tasks.text_to_image.graphs import graph
from tao_like.tasks.text_to_image.noised_clip.model import GuideForExport, GuideTextForExport, NoisedTowers


def guide_graphs(towers: NoisedTowers) -> dict[str, Exportable]:
    """The captions' embeddings, and the gradient for noisy images."""
    embedding = {"clip_embedding": "the caption's embedding, of length 1; 0: there is none"}
    gradient = {"gradient": "of the scaled cosine of image and caption, by the image's pixels"}
    return {
        GUIDE_TEXT_GRAPH: graph(GuideTextForExport(towers), [TEXT], embedding),
        GUIDE_GRAPH: graph(GuideForExport(towers), ["x", "timesteps", *embedding], gradient),
    }
