"""The graphs in which each architecture ships."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from tao_like.contract.model import Exportable
from tao_like.contract.sample import Preprocessed
from tao_like.runtime.generation.autoregressive import BEGIN_GRAPH, DECODE_GRAPH, NEXT_GRAPH
from tao_like.runtime.generation.base import TEXT
from tao_like.runtime.generation.diffusion import STEP_GRAPH, TEXT_GRAPH
from tao_like.tasks.text_to_image.model.wholes import (
    BeginForExport,
    DalleModel,
    DecoderForExport,
    DenoiserForExport,
    GlideModel,
    NextForExport,
    TextForExport,
    numbered,
)

BATCH = {0: "batch"}
PAST = {0: "batch", 4: "places"}
MORE_PAST = {0: "batch", 4: "places_after"}


def tensors(*names: str) -> Callable[[Preprocessed], tuple[Tensor, ...]]:
    """Takes arrays by name, as tensors."""
    return lambda given: tuple(torch.from_numpy(np.ascontiguousarray(given[name])) for name in names)


def dalle_graphs(model: DalleModel) -> dict[str, Exportable]:
    """The transformer's first step, its next ones, and the dVAE's decoder."""
    state = {"logits": "scores of the next code", "past": "keys and values of the places so far"}
    return {
        BEGIN_GRAPH: Exportable(
            BeginForExport(model.transformer).eval(),
            inputs={TEXT: BATCH},
            outputs={"logits": BATCH, "past": BATCH},
            meanings=state,
            to_inputs=tensors(TEXT),
        ),
        NEXT_GRAPH: Exportable(
            NextForExport(model.transformer).eval(),
            inputs={TEXT: BATCH, "code": BATCH, "past": PAST},
            outputs={"logits": BATCH, "past_next": MORE_PAST},
            meanings={**state, "past_next": state["past"]},
            to_inputs=tensors(TEXT, "code", "past"),
        ),
        DECODE_GRAPH: Exportable(
            DecoderForExport(model.dvae).eval(),
            inputs={"codes": BATCH},
            outputs={"pixels": BATCH},
            meanings={"pixels": "pixels, 0 to 1, of shape (N, 3, height, width)"},
            to_inputs=tensors("codes"),
        ),
    }


def upsampler_graphs(upsamplers: nn.ModuleList) -> dict[str, Exportable]:
    """One step of each upsampler."""
    taken = ("x", "timesteps", "low")
    return {
        name: Exportable(
            module.eval(),
            inputs=dict.fromkeys(taken, BATCH),
            outputs={"prediction": BATCH},
            meanings={"prediction": "what the network says of the noise"},
            to_inputs=tensors(*taken),
        )
        for name, module in numbered(upsamplers).items()
    }


def glide_graphs(model: GlideModel) -> dict[str, Exportable]:
    """The caption's transformer, and one step of taking noise away."""
    return {
        TEXT_GRAPH: Exportable(
            TextForExport(model.base).eval(),
            inputs={TEXT: BATCH},
            outputs={"tokens": BATCH, "pooled": BATCH},
            meanings={"tokens": "what each token has become", "pooled": "the caption's vector"},
            to_inputs=tensors(TEXT),
        ),
        STEP_GRAPH: Exportable(
            DenoiserForExport(model.base).eval(),
            inputs={"x": BATCH, "timesteps": BATCH, "tokens": BATCH, "pooled": BATCH},
            outputs={"prediction": BATCH},
            meanings={"prediction": "what the network says of the noise"},
            to_inputs=tensors("x", "timesteps", "tokens", "pooled"),
        ),
        **upsampler_graphs(model.upsamplers),
    }
