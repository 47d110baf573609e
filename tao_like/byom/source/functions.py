"""Functions that a file brings along, written out wherever they are called: the converter knows none."""

from __future__ import annotations

from collections.abc import Iterable

import onnx
from onnx import inliner

from tao_like.byom.source.unreadable import UnreadableModelError

_DEEPEST = 32
"""Functions that may call one another in a row."""
_Key = tuple[str, str]


def functions_written_out(model: onnx.ModelProto, most_nodes: int) -> onnx.ModelProto:
    """The model without functions of its own.

    Args:
        model: as it was parsed; data in other files is not read yet.
        most_nodes: that it may have then.

    Raises:
        UnreadableModelError: functions call one another in a circle, too deeply, or so often that the model
            would be too large; or a function cannot be written out.
    """
    count = _Counting(model.functions).nodes(model.graph.node)
    if count > most_nodes:
        raise UnreadableModelError(
            f"with its functions written out it has {count} nodes; at most {most_nodes} can be read"
        )
    try:
        return inliner.inline_local_functions(model)
    except Exception as error:  # onnx's C++ code has no error of its own
        text = str(error).splitlines()[0]
        raise UnreadableModelError(f"its functions cannot be written out: {text}") from error


class _Counting:
    """Counts the nodes that functions stand for, before any of them is written out."""

    def __init__(self, functions: Iterable[onnx.FunctionProto]) -> None:
        self._functions = {(_domain(one.domain), one.name): one for one in functions}
        self._known: dict[_Key, int] = {}
        self._open: list[_Key] = []

    def nodes(self, nodes: Iterable[onnx.NodeProto]) -> int:
        """The number of nodes with all calls written out."""
        total = 0
        for node in nodes:
            key = (_domain(node.domain), node.op_type)
            total += self._of(key) if key in self._functions else 1
            for attribute in node.attribute:
                inner = (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else []))
                total += sum(self.nodes(graph.node) for graph in inner)
        return total

    def _of(self, key: _Key) -> int:
        if key in self._open:
            raise UnreadableModelError(f"its function '{key[1]}' calls itself")
        if len(self._open) >= _DEEPEST:
            raise UnreadableModelError(f"its functions call one another more than {_DEEPEST} deep")
        if key not in self._known:
            self._open.append(key)
            self._known[key] = self.nodes(self._functions[key].node)
            self._open.pop()
        return self._known[key]


def _domain(name: str) -> str:
    return "" if name == "ai.onnx" else name
