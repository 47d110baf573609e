"""Looking for groups of nodes: who makes a value, who uses it, and whether the file holds it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from tao_like.byom import host  # noqa: F401
from tao_like.byom.graph import Graph, Node, bodies
from tao_like.byom.registry import find_host_function

_SIZE_ARITHMETIC = (
    "Shape",
    "Slice",
    "Gather",
    "Cast",
    "Sqrt",
    "Mul",
    "Div",
    "Squeeze",
    "Unsqueeze",
    "Identity",
)
_DEEPEST = 12
DOMAIN = "tao_like"
"""Of operations that only the search for patterns makes."""


@dataclass
class Network:
    """A graph by who makes and who uses each value."""

    graph: Graph
    maker: dict[str, Node] = field(default_factory=dict)
    users: dict[str, list[Node]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for node in self.graph.nodes:
            self.maker |= {name: node for name in node.outputs if name}
            for name in {*node.inputs, *(name for body in bodies(node) for name in body.captured())}:
                self.users.setdefault(name, []).append(node)

    def constant(self, name: str) -> Tensor | None:
        """The tensor that a name stands for, where the file holds it."""
        if name in self.graph.constants:
            return self.graph.constants[name]
        node = self.maker.get(name)
        if node is None or node.domain:
            return None
        if node.op == "Identity":
            return self.constant(node.inputs[0])
        if node.op in ("Reshape", "Unsqueeze"):
            source, shape = self.constant(node.inputs[0]), self.graph.type_of(name).shape or ()
            sizes = [size for size in shape if isinstance(size, int)]
            fits = source is not None and len(sizes) == len(shape) and math.prod(sizes) == source.numel()
            return source.reshape(sizes) if source is not None and fits else None
        value = node.attributes.get("value") if node.op == "Constant" else None
        return value if isinstance(value, Tensor) else None

    def scalar(self, name: str) -> float | None:
        """The one number that a name stands for."""
        value = self.constant(name)
        return float(value.item()) if value is not None and value.numel() == 1 else None

    def number(self, name: str) -> float | None:
        """The one number that a name stands for, also where it is computed from sizes that are known."""
        found = self._numbers(name, _DEEPEST)
        found = found[0] if isinstance(found, list) and len(found) == 1 else found
        return float(found) if isinstance(found, int | float) else None

    def _numbers(self, name: str, depth: int) -> Any:
        """A number or a list of them; None for what is not known."""
        constant = self.constant(name)
        if constant is not None:
            return constant.tolist() if constant.ndim <= 1 else None
        node = self.maker.get(name)
        if node is None or node.domain or not depth or node.op not in _SIZE_ARITHMETIC:
            return None
        if node.op == "Shape":
            shape = self.graph.type_of(node.inputs[0]).shape
            part = slice(node.attributes.get("start", 0), node.attributes.get("end"))
            return (
                None if shape is None else [size if isinstance(size, int) else None for size in shape][part]
            )
        function = find_host_function("", node.op)
        given = [self._numbers(one, depth - 1) for one in node.inputs]
        if function is None or any(one is None for one in given):
            return None
        try:
            settings = {"to": node.attributes["to"]} if node.op == "Cast" else {}
            return function(*given, **settings)
        except (ArithmeticError, IndexError, TypeError, ValueError):
            # A size on the way is not known after all.
            return None

    def alone(self, name: str) -> bool:
        """Whether a value has one user, and is no output."""
        return len(self.users.get(name, [])) == 1 and name not in self.graph.outputs

    def by(self, name: str, *ops: str) -> Node | None:
        """The node that makes a value, where it is one of these and nobody else uses the value."""
        node = self.maker.get(name)
        if node is None or node.domain or node.op not in ops or not self.alone(name):
            return None
        return node

    def split(self, node: Node) -> tuple[str, Tensor] | None:
        """The computed input of a node of two inputs, and the constant one."""
        if len(node.inputs) != 2:
            return None
        for value, other in (node.inputs, node.inputs[::-1]):
            found = self.constant(other)
            if found is not None and self.constant(value) is None:
                return value, found
        return None


Found = Iterator[tuple[list[Node], Node]]
"""Groups of nodes, each with the node that takes their place."""


def whole_node(last: Node, op: str, inputs: list[str], domain: str = "", **attributes: object) -> Node:
    """The node that stands for a group, named after the group's last."""
    return Node(op, inputs, list(last.outputs), dict(attributes), domain, last.name)
