"""Types of a network's values, measured by running it: of all, and of those that onnx cannot infer."""

from __future__ import annotations

from typing import Any

import onnx
import torch
from onnx import helper
from torch import Tensor, fx
from typing_extensions import override

from tao_like.byom.conversion import Imported
from tao_like.byom.source.graph import code_of


class _Recorder(fx.Interpreter):
    """Runs a network and keeps type and shape of every value."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module, garbage_collect_values=True)
        self.types: dict[fx.Node, tuple[torch.dtype, tuple[int, ...]]] = {}

    @override
    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        if isinstance(result, Tensor):
            self.types[n] = (result.dtype, tuple(result.shape))
        return result


def value_types(imported: Imported, inputs: list[Tensor]) -> dict[str, tuple[torch.dtype, tuple[int, ...]]]:
    """Type and shape of every tensor of the source, from a run."""
    recorder = _Recorder(imported.module)
    with torch.inference_mode():
        recorder.run(*inputs)
    return {
        name: recorder.types[node] for name, node in imported.value_nodes.items() if node in recorder.types
    }


def with_measured_types(
    model: onnx.ModelProto, imported: Imported, inputs: list[Tensor]
) -> onnx.ModelProto | None:
    """The model, saying how many axes the results of operations have that are not the standard's.

    What follows on such a result could not be told to keep its sizes open: a network that is exported would
    be bound to one batch.

    Args:
        model: that was converted.
        imported: what came of it.
        inputs: on which it can be run.

    Returns:
        None where nothing is missing, or the network cannot be run.
    """
    graph = imported.graph
    missing = {
        name
        for node in graph.nodes
        for name in node.outputs
        if node.domain and name in imported.value_nodes and graph.type_of(name).shape is None
    } - {*graph.outputs}
    if not missing:
        return None
    try:
        found = value_types(imported, inputs)
    except Exception:  # the comparison says what is wrong with it
        return None
    typed = onnx.ModelProto()
    typed.CopyFrom(model)
    kept = [item for item in typed.graph.value_info if item.name not in missing]
    del typed.graph.value_info[:]
    typed.graph.value_info.extend(kept)
    for name in sorted(missing & found.keys()):
        dtype, shape = found[name]
        typed.graph.value_info.append(
            helper.make_tensor_value_info(name, code_of(dtype), [None] * len(shape))
        )
    return typed
