"""Which operators of an exported network stay in float when the others compute in int8."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx


def float_tail(
    graph: onnx.GraphProto, layers: Collection[str], *, last_layer: str, behind: str
) -> dict[str, str]:
    """The last layers before the outputs and all behind them, each with the reason.

    The walk goes from the outputs towards the input and ends at layers, and at sizes, which are not values.

    Args:
        graph: every node named.
        layers: names of the operators with weights.
        last_layer: why last layers stay in float.
        behind: what the operators behind them do.
    """
    maker = {name: node for node in graph.node for name in node.output}
    found: dict[str, str] = {}
    waiting = [output.name for output in graph.output]
    while waiting:
        node = maker.get(waiting.pop())
        if node is None or node.name in found or node.op_type in ("Constant", "Shape"):
            continue
        if node.name in layers:
            found[node.name] = last_layer
            continue
        found[node.name] = behind
        waiting.extend(node.input)
    return found
