"""The best of many scores, the same in torch and in onnxruntime where scores are equal."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class _BestPlaces(torch.autograd.Function):
    """ONNX's TopK, which puts the earlier of equal values first; torch's own leaves their order open."""

    @staticmethod
    def forward(ctx: Any, scores: Tensor, count: int) -> Tensor:
        """Places (N, count) of the highest of scores (N, A)."""
        places = scores.sort(dim=1, descending=True, stable=True).indices[:, :count].contiguous()
        ctx.mark_non_differentiable(places)
        return places

    @staticmethod
    def symbolic(graph: Any, scores: Any, count: int) -> Any:
        """The operator for the exporter."""
        _, places = graph.op(
            "TopK", scores, graph.op("Constant", value_t=torch.tensor([count])), axis_i=1, outputs=2
        )
        places.setType(scores.type().with_dtype(torch.int64).with_sizes([None, count]))
        return places


def best_places(scores: Tensor, count: int) -> Tensor:
    """Places (N, count) of the highest of scores (N, A), best first; of equal ones the earlier.

    Where no channel responds, all places have the bias for a score. torch and onnxruntime must take the same.
    """
    places: Tensor = _BestPlaces.apply(scores, count)
    return places
