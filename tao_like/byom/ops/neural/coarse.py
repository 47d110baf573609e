"""Sigmoids as onnxruntime rounds them: its own is off by 1.3e-7 near zero too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from tao_like.byom.building.in_place import silu_over
from tao_like.byom.ops.neural.activations import swish


def _coarse_sigmoid(values: Tensor) -> Tensor:
    return torch.tanh(values / 2) / 2 + 0.5


def _coarse_silu(values: Tensor, inplace: bool = False) -> Tensor:
    del inplace
    return values * _coarse_sigmoid(values)


def _coarse_swish(values: Tensor, alpha: float) -> Tensor:
    return values * _coarse_sigmoid(alpha * values)


COARSE: dict[Callable[..., Any], Callable[..., Any]] = {
    torch.sigmoid: _coarse_sigmoid,
    functional.silu: _coarse_silu,
    silu_over: _coarse_silu,
    swish: _coarse_swish,
}
"""Functions with a sigmoid, with one that is rounded as numbers near one are, however small it is."""
