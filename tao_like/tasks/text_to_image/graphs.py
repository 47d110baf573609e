"""The graphs in which each architecture ships."""

from __future__ import annotations

from collections.abc import Callable, Sequence

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
PREDICTION = {"prediction": "what the network says of the noise"}
"""What comes of a step of taking noise away."""


def tensors(*names: str) -> Callable[[Preprocessed], tuple[Tensor, ...]]:
    """Takes arrays by name, as tensors."""
    return lambda given: tuple(torch.from_numpy(np.ascontiguousarray(given[name])) for name in names)


def graph(module: nn.Module, taken: Sequence[str], meanings: dict[str, str]) -> Exportable:
    """A graph whose tensors have no dynamic axis but the batch.

    Args:
        module: takes the inputs in order and gives the outputs in order.
        taken: names of its inputs.
        meanings: each output's name, and what it is.
    """
    inputs, outputs = dict.fromkeys(taken, BATCH), dict.fromkeys(meanings, BATCH)
    return Exportable(module.eval(), inputs, outputs, meanings, tensors(*taken))


def dalle_graphs(model: DalleModel) -> dict[str, Exportable]:
    """The transformer's first step, its next ones, and the dVAE's decoder."""
    state = {"logits": "scores of the next code", "past": "keys and values of the places so far"}
    pixels = {"pixels": "pixels, 0 to 1, of shape (N, 3, height, width)"}
    return {
        BEGIN_GRAPH: graph(BeginForExport(model.transformer), [TEXT], state),
        NEXT_GRAPH: Exportable(
            NextForExport(model.transformer).eval(),
            inputs={TEXT: BATCH, "code": BATCH, "past": PAST},
            outputs={"logits": BATCH, "past_next": MORE_PAST},
            meanings={**state, "past_next": state["past"]},
            to_inputs=tensors(TEXT, "code", "past"),
        ),
        DECODE_GRAPH: graph(DecoderForExport(model.dvae), ["codes"], pixels),
    }


def upsampler_graphs(upsamplers: nn.ModuleList) -> dict[str, Exportable]:
    """One step of each upsampler."""
    taken = ("x", "timesteps", "low")
    return {name: graph(module, taken, PREDICTION) for name, module in numbered(upsamplers).items()}


def glide_graphs(model: GlideModel) -> dict[str, Exportable]:
    """The caption's transformer, and one step of taking noise away."""
    of_text = {"tokens": "what each token has become", "pooled": "the caption's vector"}
    return {
        TEXT_GRAPH: graph(TextForExport(model.base), [TEXT], of_text),
        STEP_GRAPH: graph(DenoiserForExport(model.base), ["x", "timesteps", *of_text], PREDICTION),
        **upsampler_graphs(model.upsamplers),
    }
