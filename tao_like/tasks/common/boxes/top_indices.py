"""The indices of the highest scores, the same in torch and in onnxruntime where scores are equal."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class _TopIndices(torch.autograd.Function):
    """ONNX's TopK, which puts the earlier of equal values first; torch's own leaves their order open."""

    @staticmethod
    def forward(ctx: Any, scores: Tensor, count: int) -> Tensor:
        """Indices (N, count) of the highest of scores (N, A)."""
        indices = scores.sort(dim=1, descending=True, stable=True).indices[:, :count].contiguous()
        ctx.mark_non_differentiable(indices)
        return indices

    @staticmethod
    def symbolic(graph: Any, scores: Any, count: int) -> Any:
        """The operator for the exporter."""
        _, indices = graph.op(
            "TopK", scores, graph.op("Constant", value_t=torch.tensor([count])), axis_i=1, outputs=2
        )
        indices.setType(scores.type().with_dtype(torch.int64).with_sizes([None, count]))
        return indices


def top_indices(scores: Tensor, count: int) -> Tensor:
    """Indices (N, count) of the highest of scores (N, A), best first; of equal ones the earlier.

    Where no channel responds, all locations have the bias for a score. torch and onnxruntime must then agree.
    """
    indices: Tensor = _TopIndices.apply(scores, count)
    return indices
