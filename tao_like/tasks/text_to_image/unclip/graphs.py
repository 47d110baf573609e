"""The graphs in which unCLIP ships."""

from __future__ import annotations

from tao_like.contract.model import Exportable
from tao_like.runtime.generation.base import TEXT
from tao_like.runtime.generation.diffusion import STEP_GRAPH, TEXT_GRAPH
from tao_like.runtime.generation.unclip import EMBEDDING_GRAPH, IMAGE_GRAPH, PRIOR_GRAPH
from tao_like.tasks.text_to_image.graphs import BATCH, tensors
from tao_like.tasks.text_to_image.unclip.model import (
    DecoderForExport,
    EmbeddingForExport,
    ImageForExport,
    PriorForExport,
    TextForExport,
    UnclipModel,
)

_OF_TEXT = {
    "text_embedding": "the caption's embedding, of length 1; 0: there is none",
    "tokens": "what each token has become",
    "seen": "1 where there is a token",
}


def unclip_graphs(model: UnclipModel) -> dict[str, Exportable]:
    """Both towers, a step of the prior, its embeddings as CLIP has them, and a step of the decoder."""
    step = ("x", "timesteps", "image_embedding", "text_embedding", "tokens")
    prior = ("noisy", "timesteps", *_OF_TEXT)
    picture = {"image_embedding": "a picture's embedding, of length 1"}
    return {
        TEXT_GRAPH: Exportable(
            TextForExport(model).eval(),
            inputs={TEXT: BATCH},
            outputs=dict.fromkeys(_OF_TEXT, BATCH),
            meanings=_OF_TEXT,
            to_inputs=tensors(TEXT),
        ),
        PRIOR_GRAPH: Exportable(
            PriorForExport(model).eval(),
            inputs=dict.fromkeys(prior, BATCH),
            outputs={"foreseen": BATCH},
            meanings={"foreseen": "the embedding without noise, standardized"},
            to_inputs=tensors(*prior),
        ),
        EMBEDDING_GRAPH: Exportable(
            EmbeddingForExport(model).eval(),
            inputs={"standardized": BATCH},
            outputs={"image_embedding": BATCH},
            meanings=picture,
            to_inputs=tensors("standardized"),
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
            meanings=picture,
            to_inputs=tensors("pixels"),
        ),
    }
