"""The imported network in double precision and with coarser rounding: what rounding alone does to it."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, fx
from torch.nn import functional
from typing_extensions import override

from tao_like.byom.building.in_place import silu_over
from tao_like.byom.ops.activations import swish

_NARROW = (torch.float16, torch.bfloat16, torch.float32)


class _Double(fx.Interpreter):
    """Runs a network on doubles, also where its code names a narrower type."""

    @override
    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        return _widened(result)

    @override
    def fetch_args_kwargs_from_env(self, n: fx.Node) -> tuple[tuple[Any, ...], dict[str, Any]]:
        arguments, settings = super().fetch_args_kwargs_from_env(n)
        wide: tuple[tuple[Any, ...], dict[str, Any]] = torch.utils._pytree.tree_map(
            lambda item: torch.float64 if item in _NARROW and isinstance(item, torch.dtype) else item,
            (arguments, settings),
        )
        return wide


def _widened(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.double() if value.is_floating_point() else value
    if isinstance(value, tuple | list):
        return type(value)(_widened(item) for item in value)
    return value


def _coarse_sigmoid(values: Tensor) -> Tensor:
    return torch.tanh(values / 2) / 2 + 0.5


def _coarse_silu(values: Tensor, inplace: bool = False) -> Tensor:
    del inplace
    return values * _coarse_sigmoid(values)


def _coarse_swish(values: Tensor, alpha: float) -> Tensor:
    return values * _coarse_sigmoid(alpha * values)


_COARSE = {
    torch.sigmoid: _coarse_sigmoid,
    functional.silu: _coarse_silu,
    silu_over: _coarse_silu,
    swish: _coarse_swish,
}


class _Coarse(fx.Interpreter):
    """Runs a network with sigmoids that are rounded as numbers near one are, however small they are."""

    @override
    def call_function(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return super().call_function(_COARSE.get(target, target), args, kwargs)


def coarsely(module: fx.GraphModule, inputs: list[Tensor]) -> tuple[Tensor, ...] | None:
    """The outputs as the sigmoid of onnxruntime rounds, which is off by 1.3e-7 near zero too.

    Returns:
        None where the network has no sigmoid.
    """
    if not any(node.op == "call_function" and node.target in _COARSE for node in module.graph.nodes):
        return None
    with torch.inference_mode():
        result = _Coarse(module).run(*inputs)
    return result if isinstance(result, tuple) else (result,)


def exactly(module: fx.GraphModule, inputs: list[Tensor]) -> tuple[Tensor, ...] | None:
    """The outputs in double precision; None where the network cannot run in it."""
    try:
        wide = copy.deepcopy(module).double()
        with torch.inference_mode():
            result = _Double(wide).run(*(_widened(value) for value in inputs))
    except Exception:  # bodies of loops, and modules of other people, may insist on their types
        return None
    return result if isinstance(result, tuple) else (result,)
