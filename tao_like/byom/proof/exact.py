"""The imported network in double precision and with coarser rounding: what rounding alone does to it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, fx
from typing_extensions import override

_NARROW = (torch.float16, torch.bfloat16, torch.float32)


class _Double(fx.Interpreter):
    """Runs a network on doubles, also where its code names a narrower type."""

    @override
    def run_node(self, n: fx.Node) -> Any:
        return _widened(super().run_node(n))

    @override
    def fetch_args_kwargs_from_env(self, n: fx.Node) -> tuple[tuple[Any, ...], dict[str, Any]]:
        arguments, settings = super().fetch_args_kwargs_from_env(n)
        wide: tuple[tuple[Any, ...], dict[str, Any]] = torch.utils._pytree.tree_map(
            lambda item: torch.float64 if isinstance(item, torch.dtype) and item in _NARROW else item,
            (arguments, settings),
        )
        return wide


def _widened(value: Any) -> Any:
    return torch.utils._pytree.tree_map(
        lambda item: item.double() if isinstance(item, Tensor) and item.is_floating_point() else item, value
    )


Functions = Mapping[Callable[..., Any], Callable[..., Any]]


class _Coarse(fx.Interpreter):
    """Runs a network with other functions in the place of some."""

    def __init__(self, module: fx.GraphModule, functions: Functions) -> None:
        super().__init__(module)
        self._functions = functions

    @override
    def call_function(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return super().call_function(self._functions.get(target, target), args, kwargs)


def coarsely(module: fx.GraphModule, inputs: list[Tensor], functions: Functions) -> tuple[Tensor, ...] | None:
    """The outputs with functions that round more coarsely in the place of some.

    Returns:
        None where the network has none of these.
    """
    if not any(node.op == "call_function" and node.target in functions for node in module.graph.nodes):
        return None
    with torch.inference_mode():
        result = _Coarse(module, functions).run(*inputs)
    return result if isinstance(result, tuple) else (result,)


def doubled(module: fx.GraphModule) -> fx.GraphModule | None:
    """A copy of a network in double precision; None where it cannot be had."""
    try:
        return copy.deepcopy(module).double()
    except Exception:  # modules of other people may fail in every way
        return None


def exactly(wide: fx.GraphModule | None, inputs: list[Tensor]) -> tuple[Tensor, ...] | None:
    """The outputs in double precision; None where the network cannot run in it.

    Args:
        wide: as :func:`doubled` gives it.
        inputs: of the network.
    """
    if wide is None:
        return None
    try:
        with torch.inference_mode():
            result = _Double(wide).run(*(_widened(value) for value in inputs))
    except Exception:  # bodies of loops, and modules of other people, may insist on their types
        return None
    return result if isinstance(result, tuple) else (result,)
