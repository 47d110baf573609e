"""The graphs in which unCLIP ships."""

from __future__ import annotations

import torch

from tao_like.contract.model import Exportable
from tao_like.runtime.generation.base import TEXT
from tao_like.runtime.generation.diffusion import STEP_GRAPH, TEXT_GRAPH
from tao_like.runtime.generation.priors import PRIOR_GRAPH
from tao_like.runtime.generation.unclip import EMBEDDING_GRAPH, IMAGE_GRAPH, SPACE_GRAPH
from tao_like.tasks.text_to_image.graphs import PREDICTION, graph, upsampler_graphs
from tao_like.tasks.text_to_image.model.code_prior import CodePrior
from tao_like.tasks.text_to_image.unclip.model import (
    CodesForExport,
    DecoderForExport,
    EmbeddingForExport,
    ImageForExport,
    PriorForExport,
    SpaceForExport,
    TextForExport,
    UnclipModel,
)

_OF_TEXT = {
    "text_embedding": "the caption's embedding, of length 1; 0: there is none",
    "tokens": "what each token has become",
    "seen": "1 where there is a token",
}

_OF_SPACE = {
    "reconstruction": "the embedding by so many of its principal components, of length 1",
    "known": "1 where the model knows these components, else 0",
    "scale": "what cosines are multiplied by to be logits",
}


def unclip_graphs(model: UnclipModel) -> dict[str, Exportable]:
    """Both towers, a step of the prior, its embeddings as CLIP has them, a step of the decoder, the space."""
    image = {"image_embedding": "an image's embedding, of length 1"}
    step = ("x", "timesteps", "image_embedding", "text_embedding", "tokens")
    return {
        TEXT_GRAPH: graph(TextForExport(model), [TEXT], _of_text(model)),
        PRIOR_GRAPH: _prior(model),
        EMBEDDING_GRAPH: graph(EmbeddingForExport(model), ["drawn"], image),
        STEP_GRAPH: graph(DecoderForExport(model), step, PREDICTION),
        IMAGE_GRAPH: graph(ImageForExport(model), ["pixels"], image),
        SPACE_GRAPH: graph(SpaceForExport(model), ["image_embedding", "components"], _OF_SPACE),
        **upsampler_graphs(model.upsamplers),
    }


def _of_text(model: UnclipModel) -> dict[str, str]:
    """What comes of a caption."""
    words = {"word_sum": "the sum of the prior's vectors of the caption's words"}
    return {**_OF_TEXT, **(words if model.word_sums(torch.zeros(1, 1, dtype=torch.int64)) else {})}


def _prior(model: UnclipModel) -> Exportable:
    if isinstance(model.prior, CodePrior):
        logits = {"logits": "scores of the values of each code, from the codes before it"}
        return graph(CodesForExport(model), ["codes", *_of_text(model)], logits)
    foreseen = {"foreseen": "the embedding without noise, standardized"}
    return graph(PriorForExport(model), ["noisy", "timesteps", *_of_text(model)], foreseen)
