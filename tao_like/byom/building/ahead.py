"""What comes of a value further on: whether layers follow, and what a table is for that is reshaped first."""

from __future__ import annotations

from collections.abc import Iterable

from tao_like.byom.building.roles import LAYER_ROLES, Role
from tao_like.byom.source.graph import Graph, Node, bodies

_LAYERS = ("Conv", "ConvTranspose", "DeformConv", "Gemm", "LSTM", "GRU", "RNN")
_PRODUCTS = ("MatMul", "Einsum")
_CARRYING = (
    *("Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Identity", "Cast", "Slice", "Split"),
    *("Expand", "Tile", "Pad", "Resize", "Upsample"),
)
"""Operations that hand values on as they are, or between them."""
_CHOOSING = ("NonMaxSuppression", "TopK", "ArgMax", "ArgMin", "NonZero", "Shape", "Size")
_FIRST_ALONE = ("RoiAlign", "MaxRoiPool", "Gather", "GatherElements", "GatherND")
"""Operations of which all inputs but the first say where to look."""
_TOGETHER = ("Add", "Sub", "Concat", "Attention", "ScaledDotProduct")
_TIMES = ("Mul", "Div")


class Ahead:
    """A graph, looked at from behind.

    Args:
        graph: a network, or the body of a branch or a loop.
        is_body: what becomes of its outputs is not known; layers may follow.
    """

    def __init__(self, graph: Graph, *, is_body: bool = False) -> None:
        self._users: dict[str, list[tuple[Node, int]]] = {}
        self._fixed = set(graph.constants)
        for node in graph.nodes:
            if not bodies(node) and all(name in self._fixed for name in node.inputs if name):
                self._fixed.update(node.outputs)
            for position, name in enumerate(node.inputs):
                self._users.setdefault(name, []).append((node, position))
            for name in {name for body in bodies(node) for name in body.captured()}:
                self._users.setdefault(name, []).append((node, -1))
        self._leading = set(graph.outputs) if is_body else set()
        for node in reversed(graph.nodes):
            self._leading.update(self._led_on(node))

    def _led_on(self, node: Node) -> Iterable[str]:
        """The inputs of a node that go into a layer, there or further on."""
        if bodies(node):
            return {*node.inputs, *(name for body in bodies(node) for name in body.captured())}
        is_product = node.op in _PRODUCTS and any(name in self._fixed for name in node.inputs)
        goes_on = any(name in self._leading for name in node.outputs)
        if node.op in _CHOOSING or not (node.op in _LAYERS or is_product or goes_on):
            return ()
        return node.inputs[:1] if node.op in _FIRST_ALONE else node.inputs

    def is_followed(self, node: Node) -> bool:
        """Whether a layer with weights comes somewhere behind a node."""
        return any(name in self._leading for name in node.outputs)

    def role(self, names: Iterable[str], axes: int) -> Role | None:
        """What a constant is for that goes on under some names.

        Args:
            names: of values that carry it.
            axes: how many of its axes are longer than one.
        """
        for name in names:
            for user, position in self._users.get(name, ()):
                found = self._role_at(user, position, name, axes)
                if found is not None:
                    return found
        return None

    def _role_at(self, user: Node, position: int, name: str, axes: int) -> Role | None:
        if bodies(user):
            return role_in_bodies(user, name, axes)
        if user.op in LAYER_ROLES:
            return LAYER_ROLES[user.op].get(position)
        if user.op in _CARRYING:
            return self.role(user.outputs, axes) if position == 0 else None
        if user.op in _PRODUCTS:
            return "weight"
        if user.op == "Gather" and position == 0:
            return "embedding weight"
        if user.op not in (*_TOGETHER, *_TIMES):
            return None
        if axes > 1 and not self.is_followed(user):
            return "grid"
        if user.op in _TIMES:
            return "affine weight"
        return "bias" if axes == 1 and user.op in ("Add", "Sub") else "embedding weight"


def role_in_bodies(node: Node, name: str, axes: int) -> Role | None:
    """What a value from outside is for within the branches of a node."""
    for body in bodies(node):
        found = Ahead(body, is_body=True).role([name], axes)
        if found is not None:
            return found
    return None
