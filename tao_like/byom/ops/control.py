"""Branches and loops: inlined where the condition is known, else modules that hold the body's network."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from tao_like.byom.building.builder import Builder
from tao_like.byom.building.registry import converter
from tao_like.byom.building.views import NodeView, Value
from tao_like.byom.source.graph import Graph
from tao_like.errors import ConversionError

MOST_STEPS = 100_000
"""Steps of a loop before it counts as endless."""


class Body(nn.Module):
    """The network of a branch or a loop; values from outside are its last inputs."""

    def __init__(self, view: NodeView, graph: Graph) -> None:
        super().__init__()
        self.outside = graph.captured()
        for name in self.outside:
            graph.types.setdefault(name, view.builder.graph.type_of(name))
        built = Builder(graph, self.outside).build()
        self.network = built.module
        view.builder.uses += built.uses

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """The body's outputs."""
        results = self.network(*inputs)
        return results if isinstance(results, tuple) else (results,)


class Branches(nn.Module):
    """One of two networks, by a condition."""

    def __init__(self, yes: Body, no: Body) -> None:
        super().__init__()
        self.yes, self.no = yes, no

    def forward(self, condition: Tensor, *outside: Tensor) -> Any:
        """The outputs of the branch that is taken."""
        middle = len(self.yes.outside)
        results = self.yes(*outside[:middle]) if bool(condition) else self.no(*outside[middle:])
        return results if len(results) > 1 else results[0]


class Taken(nn.Module):
    """The one branch that is ever taken."""

    def __init__(self, body: Body) -> None:
        super().__init__()
        self.body = body

    def forward(self, *outside: Tensor) -> Any:
        """The branch's outputs."""
        results = self.body(*outside)
        return results if len(results) > 1 else results[0]


def _outside(view: NodeView, names: list[str]) -> list[Value]:
    values = []
    for name in names:
        if name not in view.builder.values:
            raise ConversionError(f"its body uses the value '{name}', which nothing makes")
        values.append(view.builder.values[name])
    return values


@converter("If")
def branch(node: NodeView) -> Any:
    """A branch; where the file itself says which one is taken, that one alone is built."""
    yes, no = node.attribute("then_branch"), node.attribute("else_branch")
    known = node.constant(0)
    count = len(node.node.outputs)
    if known is not None:
        taken = Taken(Body(node, yes if bool(known) else no))
        return node.module(taken, *_outside(node, taken.body.outside), count=count)
    module = Branches(Body(node, yes), Body(node, no))
    outside = [*_outside(node, module.yes.outside), *_outside(node, module.no.outside)]
    return node.module(module, node.input(0), *outside, count=count)


class Loop(nn.Module):
    """A body that is repeated.

    Args:
        body: takes the step, the condition and the carried values; gives the condition, the carried values
            and what each step leaves.
        carried: how many values go from step to step.
    """

    def __init__(self, body: Body, carried: int, left: int) -> None:
        super().__init__()
        self.body, self.carried, self.left = body, carried, left

    def forward(self, most: Any, condition: Tensor | None, *values: Tensor) -> Any:
        """The carried values at the end, and what the steps left, one behind the other."""
        most = most[0] if isinstance(most, list) else most
        state, outside = list(values[: self.carried]), values[self.carried :]
        left: list[list[Tensor]] = [[] for _ in range(self.left)]
        going = True if condition is None else bool(condition)
        step = 0
        while going and (most is None or step < most):
            if step >= MOST_STEPS:
                raise RuntimeError(f"a loop of the imported network has not ended after {MOST_STEPS} steps")
            results = self.body(torch.tensor(step), torch.tensor(True), *state, *outside)
            going, state = bool(results[0]), list(results[1 : 1 + self.carried])
            for kept, item in zip(left, results[1 + self.carried :], strict=True):
                kept.append(item)
            step += 1
        outputs = (*state, *(torch.stack(items) for items in left))
        return outputs if len(outputs) > 1 else outputs[0]


@converter("Loop")
def loop(node: NodeView) -> Any:
    """A loop."""
    graph: Graph = node.attribute("body")
    body = Body(node, graph)
    carried = len(graph.inputs) - 2
    left = len(graph.outputs) - 1 - carried
    most = node.sizes(0) if node.has(0) else None
    condition = node.input(1) if node.has(1) else None
    values = [node.input(index) for index in range(2, 2 + carried)]
    module = Loop(body, carried, left)
    return node.module(module, most, condition, *values, *_outside(node, body.outside), count=carried + left)


class Scan(nn.Module):
    """A body that walks along tensors.

    Args:
        body: takes the carried values and one slice of each tensor; gives the carried values and slices.
        carried: how many values go from step to step.
        axes: along which the tensors are walked; directions: 1 for backwards; likewise for the results.
    """

    def __init__(self, body: Body, carried: int, settings: dict[str, list[int]]) -> None:
        super().__init__()
        self.body, self.carried, self.settings = body, carried, settings

    def forward(self, *values: Tensor) -> Any:
        """The carried values at the end, and the slices put together."""
        walked = len(self.settings["axes"])
        state = list(values[: self.carried])
        tensors, outside = values[self.carried : self.carried + walked], values[self.carried + walked :]
        slices = [
            list(tensor.flip(axis).unbind(axis) if back else tensor.unbind(axis))
            for tensor, axis, back in zip(
                tensors, self.settings["axes"], self.settings["directions"], strict=True
            )
        ]
        left: list[list[Tensor]] = [[] for _ in self.settings["output_axes"]]
        for items in zip(*slices, strict=True):
            results = self.body(*state, *items, *outside)
            state = list(results[: self.carried])
            for kept, item in zip(left, results[self.carried :], strict=True):
                kept.append(item)
        stacked = [
            torch.stack(items[::-1] if back else items, axis)
            for items, axis, back in zip(
                left, self.settings["output_axes"], self.settings["output_directions"], strict=True
            )
        ]
        outputs = (*state, *stacked)
        return outputs if len(outputs) > 1 else outputs[0]


@converter("Scan", since=9)
def scan(node: NodeView) -> Any:
    """A walk along tensors."""
    graph: Graph = node.attribute("body")
    walked = node.attribute("num_scan_inputs")
    carried = len(graph.inputs) - walked
    left = len(graph.outputs) - carried
    body = Body(node, graph)
    settings = {
        "axes": node.attribute("scan_input_axes", [0] * walked),
        "directions": node.attribute("scan_input_directions", [0] * walked),
        "output_axes": node.attribute("scan_output_axes", [0] * left),
        "output_directions": node.attribute("scan_output_directions", [0] * left),
    }
    module = Scan(body, carried, settings)
    values = [node.input(index) for index in range(carried + walked)]
    return node.module(module, *values, *_outside(node, body.outside), count=carried + left)
