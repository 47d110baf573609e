"""Activations and sums that write over their input where nothing else needs it, as hand-written networks do.

Memory that is not taken anew costs no page faults.
"""

from __future__ import annotations

import operator
from collections.abc import Callable

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from tao_like.byom.building.network import called_module


def silu_over(values: Tensor) -> Tensor:
    """SiLU; without gradients it writes over its input. With them, torch would have to copy that first."""
    return functional.silu(values, inplace=not torch.is_grad_enabled())


def hardswish_over(values: Tensor) -> Tensor:
    """Hard swish; without gradients it writes over its input."""
    return functional.hardswish(values, inplace=not torch.is_grad_enabled())


def add_over(values: Tensor, other: Tensor) -> Tensor:
    """The sum; without gradients it is written over the first.

    What a linear layer gives for tokens is a view of a matrix. With gradients, writing over a view costs a
    copy, and takes the layer out of the graph that pruning follows.
    """
    return values + other if torch.is_grad_enabled() else values.add_(other)


_FROM_RESULT = (functional.relu, functional.relu6)
"""Activations whose gradient follows from what they give."""
_FROM_INPUT: dict[Callable[..., Tensor], Callable[..., Tensor]] = {
    functional.silu: silu_over,
    functional.hardswish: hardswish_over,
}
"""Activations whose gradient needs what they were given, and their forms for evaluation."""
_FRESH = (
    *(nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d),
    *(nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.Linear),
)
"""Layers that give a new tensor, and do not need it to compute their gradients."""


def write_in_place(module: fx.GraphModule, same_shape: Callable[[fx.Node, fx.Node], bool]) -> None:
    """Makes activations and residual sums write over what a layer gave them alone.

    Args:
        module: is changed.
        same_shape: whether two values are known to have the same shape.
    """
    changed = [_write_over(module, node, same_shape) for node in module.graph.nodes]
    if any(changed):
        module.recompile()


def _write_over(
    module: fx.GraphModule, node: fx.Node, same_shape: Callable[[fx.Node, fx.Node], bool]
) -> bool:
    """Changes a node where it may write over its input; says whether it did."""
    if node.op != "call_function" or not node.args:
        return False
    first = node.args[0]
    if node.target in _FROM_RESULT and _is_free(module, first):
        node.kwargs = {**node.kwargs, "inplace": True}
        return True
    if node.target in _FROM_INPUT and _is_free(module, first):
        node.target = _FROM_INPUT[node.target]
        return True
    if node.target is not torch.add or node.kwargs or len(node.args) != 2:
        return False
    second = node.args[1]
    if not isinstance(first, fx.Node) or not isinstance(second, fx.Node) or first is second:
        return False
    for mine, other in ((first, second), (second, first)):
        if _is_free(module, mine) and same_shape(mine, other) and same_shape(mine, node):
            node.target = add_over if _is_view(module, mine) else operator.iadd
            node.args = (mine, other)
            return True
    return False


def _is_free(module: fx.GraphModule, value: object) -> bool:
    """Whether a value may be written over: a layer or a sum made it, for one user."""
    if not isinstance(value, fx.Node) or len(value.users) != 1:
        return False
    is_sum = value.target in (torch.add, operator.iadd, add_over)
    return is_sum or isinstance(called_module(module, value), _FRESH)


def _is_view(module: fx.GraphModule, value: fx.Node) -> bool:
    return value.target is add_over or isinstance(called_module(module, value), nn.Linear)


def keep(value: fx.Node) -> None:
    """Lets nothing write over a value: it is wanted itself."""
    plain = {over: function for function, over in _FROM_INPUT.items()} | {operator.iadd: torch.add}
    plain[add_over] = torch.add
    for user in list(value.users):
        user.kwargs = {name: item for name, item in user.kwargs.items() if name != "inplace"}
        user.target = plain.get(user.target, user.target)
