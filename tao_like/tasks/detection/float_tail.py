"""Which operators of an exported detector stay in float when the others compute in int8."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

LAST_LAYER = "a last layer: its values make boxes and scores, and 256 steps are too few for that"
BEHIND = "decodes boxes or selects them"


def float_tail(graph: onnx.GraphProto, layers: Collection[str]) -> dict[str, str]:
    """The last layers before the outputs and all behind them, each with the reason.

    A side of a box is the exponential of a layer's value, and the values of different meanings are put side
    by side before they are decoded, so in int8 they would share one range. The walk goes from the outputs
    towards the input and ends at layers, and at sizes, which are not values.

    Args:
        graph: every node named.
        layers: names of the operators with weights.
    """
    maker = {name: node for node in graph.node for name in node.output}
    found: dict[str, str] = {}
    waiting = [output.name for output in graph.output]
    while waiting:
        node = maker.get(waiting.pop())
        if node is None or node.name in found or node.op_type in ("Constant", "Shape"):
            continue
        if node.name in layers:
            found[node.name] = LAST_LAYER
            continue
        found[node.name] = BEHIND
        waiting.extend(node.input)
    return found
