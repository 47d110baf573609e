"""The graphs in which unCLIP ships."""

from __future__ import annotations

import torch
from torch import nn

from tao_like.contract.model import Exportable
from tao_like.runtime.generation.base import TEXT
from tao_like.runtime.generation.diffusion import STEP_GRAPH, TEXT_GRAPH
from tao_like.runtime.generation.priors import PRIOR_GRAPH
from tao_like.runtime.generation.unclip import EMBEDDING_GRAPH, IMAGE_GRAPH, SPACE_GRAPH
from tao_like.tasks.text_to_image.graphs import BATCH, tensors, upsampler_graphs
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
    step = ("x", "timesteps", "image_embedding", "text_embedding", "tokens")
    of_text = _of_text(model)
    image = {"image_embedding": "an image's embedding, of length 1"}
    return {
        TEXT_GRAPH: Exportable(
            TextForExport(model).eval(),
            inputs={TEXT: BATCH},
            outputs=dict.fromkeys(of_text, BATCH),
            meanings=of_text,
            to_inputs=tensors(TEXT),
        ),
        PRIOR_GRAPH: _prior(model),
        EMBEDDING_GRAPH: Exportable(
            EmbeddingForExport(model).eval(),
            inputs={"drawn": BATCH},
            outputs={"image_embedding": BATCH},
            meanings=image,
            to_inputs=tensors("drawn"),
        ),
        STEP_GRAPH: Exportable(
            DecoderForExport(model).eval(),
            inputs=dict.fromkeys(step, BATCH),
            outputs={"prediction": BATCH},
            meanings={"prediction": "what the network says of the noise"},
            to_inputs=tensors(*step),
        ),
        IMAGE_GRAPH: Exportable(
            ImageForExport(model).eval(),
            inputs={"pixels": BATCH},
            outputs={"image_embedding": BATCH},
            meanings=image,
            to_inputs=tensors("pixels"),
        ),
        SPACE_GRAPH: Exportable(
            SpaceForExport(model).eval(),
            inputs={"image_embedding": BATCH, "components": BATCH},
            outputs=dict.fromkeys(_OF_SPACE, BATCH),
            meanings=_OF_SPACE,
            to_inputs=tensors("image_embedding", "components"),
        ),
        **upsampler_graphs(model.upsamplers),
    }


def _of_text(model: UnclipModel) -> dict[str, str]:
    """What comes of a caption."""
    words = {"word_sum": "the sum of the prior's vectors of the caption's words"}
    return {**_OF_TEXT, **(words if model.word_sums(torch.zeros(1, 1, dtype=torch.int64)) else {})}


def _prior(model: UnclipModel) -> Exportable:
    if isinstance(model.prior, CodePrior):
        taken: tuple[str, ...] = ("codes", *_of_text(model))
        module: nn.Module = CodesForExport(model)
        meanings = {"logits": "scores of the values of each code, from the codes before it"}
    else:
        taken = ("noisy", "timesteps", *_of_text(model))
        module = PriorForExport(model)
        meanings = {"foreseen": "the embedding without noise, standardized"}
    return Exportable(
        module.eval(),
        inputs=dict.fromkeys(taken, BATCH),
        outputs=dict.fromkeys(meanings, BATCH),
        meanings=meanings,
        to_inputs=tensors(*taken),
    )
