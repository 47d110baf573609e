"""Looking for groups of nodes: who makes a value, who uses it, and whether the file holds it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

from torch import Tensor

from tao_like.byom.source.graph import Graph, Node, bodies

_SIZE_ARITHMETIC = (
    *("Shape", "Slice", "Gather", "Cast", "Sqrt", "Mul", "Div", "Squeeze", "Unsqueeze", "Identity"),
)
_DEEPEST = 12
DOMAIN = "tao_like"
"""Of operations that only the search for patterns makes."""


@dataclass
class Network:
    """A graph by who makes and who uses each value, and where each node (by its id) stands."""

    graph: Graph
    maker: dict[str, Node] = field(default_factory=dict)
    users: dict[str, list[Node]] = field(default_factory=dict)
    order: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for index, node in enumerate(self.graph.nodes):
            self.order[id(node)] = index
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

    def is_number(self, name: str) -> bool:
        """Whether a name stands for one number that is computed from sizes alone."""
        return self.graph.type_of(name).shape in ((), (1,)) and self._from_sizes(name, _DEEPEST)

    def _from_sizes(self, name: str, depth: int) -> bool:
        if self.constant(name) is not None:
            return True
        node = self.maker.get(name)
        if node is None or node.domain or not depth:
            return False
        if node.op == "Shape":
            return True
        return node.op in _SIZE_ARITHMETIC and all(self._from_sizes(one, depth - 1) for one in node.inputs)

    def alone(self, name: str) -> bool:
        """Whether a value has one user, and is no output."""
        return len(self.users.get(name, [])) == 1 and name not in self.graph.outputs

    def by(self, name: str, *ops: str) -> Node | None:
        """The node that makes a value, where it is one of these and nobody else uses the value."""
        node = self.maker.get(name)
        if node is None or node.domain or node.op not in ops or not self.alone(name):
            return None
        return node

    def follower(self, name: str, op: str) -> Node | None:
        """The node that alone uses a value, where it is of this operation and the value is no output."""
        users = self.users.get(name, [])
        return users[0] if self.alone(name) and users[0].op == op else None

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
