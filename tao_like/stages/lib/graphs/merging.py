"""A model of several graphs as one graph: for quantization and for counting."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import compose, helper

from tao_like.runtime.metadata import METADATA_KEY
from tao_like.runtime.pipeline_file import read_pipeline


def read_graph(path: Path) -> onnx.ModelProto:
    """The graph of an ONNX file; of a folder its graphs joined in their order, with the folder's metadata.

    Raises:
        BundleError: the folder is no model.
        OSError: the file cannot be read.
    """
    if path.is_file():
        return onnx.load(path)
    description = read_pipeline(path)
    joined: onnx.ModelProto | None = None
    for name in description.order:
        graph = onnx.load(description.graphs[name])
        # Two exports call their inner values alike.
        inner = compose.add_prefix(
            graph, f"{name}/", rename_inputs=False, rename_outputs=False, rename_edges=True
        )
        joined = inner if joined is None else _join(joined, inner)
    assert joined is not None, "reading has seen to it that there is a graph"
    outputs = [one for one in joined.graph.output if one.name in description.metadata.outputs]
    del joined.graph.output[:]
    joined.graph.output.extend(outputs)
    del joined.metadata_props[:]
    joined.metadata_props.add(key=METADATA_KEY, value=description.metadata.to_json())
    return joined


def _join(first: onnx.ModelProto, second: onnx.ModelProto) -> onnx.ModelProto:
    """Both graphs as one; what the first gives and the second takes has the same name in both."""
    given = {one.name for one in first.graph.output}
    links = [(one.name, one.name) for one in second.graph.input if one.name in given]
    version = max(first.ir_version, second.ir_version)
    first.ir_version = second.ir_version = version
    outputs = [one.name for model in (first, second) for one in model.graph.output]
    merged = compose.merge_models(first, second, io_map=links, outputs=None)
    # Merging lists an opset once for each graph.
    opsets = {one.domain: one.version for one in merged.opset_import}
    del merged.opset_import[:]
    merged.opset_import.extend(helper.make_opsetid(*one) for one in opsets.items())
    # An output that the second graph takes is an output of the whole all the same.
    present = {one.name for one in merged.graph.output}
    for one in first.graph.output:
        if one.name in outputs and one.name not in present:
            merged.graph.output.append(helper.make_value_info(one.name, one.type))
    return merged
