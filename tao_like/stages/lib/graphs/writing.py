"""A torch module as an ONNX graph, by whichever of torch's two exporters can write it."""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import onnx
import torch
from onnx import version_converter
from torch import Tensor

from tao_like.contract.model import Exportable
from tao_like.errors import ConversionError
from tao_like.runtime.session import graph_session
from tao_like.stages.lib.graphs.branches import without_decided_branches

HIGHEST_TRACED_OPSET = 20
"""The tracing exporter ends here; for a later opset its graph is raised."""
LOWEST_CAPTURED_OPSET = 18
"""The newer exporter begins here: what it writes cannot be lowered reliably."""


def to_onnx(
    exportable: Exportable, inputs: tuple[Tensor, ...], *, dynamic: bool, opset: int
) -> tuple[onnx.ModelProto, str]:
    """Writes the module's graph.

    Tracing comes first: of 126 timm architectures it writes 124, and several times faster. What it lacks
    the newer exporter mostly has (benchmarks/backbones_onnx.csv).

    Args:
        exportable: in evaluation mode.
        inputs: example inputs; with ``dynamic``, a batch of two or more.
        dynamic: leave the axes open that ``exportable`` names.
        opset: of the ONNX standard operators; the newer exporter takes 18 at least.

    Returns:
        The graph, and the exporter that wrote it: ``trace`` or ``dynamo``.

    Raises:
        ConversionError: neither exporter can write this network.
    """
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), _no_graphs_printed():
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        reasons = []
        attempts = [("trace", _traced, opset), ("dynamo", _captured, max(opset, LOWEST_CAPTURED_OPSET))]
        for name, write, version in attempts:
            try:
                graph = without_decided_branches(write(exportable, inputs, dynamic, version))
                if dynamic:
                    _check_other_batch(exportable, inputs, graph)
                return _without_traces(graph), name
            except Exception as error:  # On what they cannot write, the exporters fail in every way there is.
                message = str(error).strip() or type(error).__name__
                reasons.append(f"{name}: {message.splitlines()[0]}")
    raise ConversionError(
        f"torch cannot write this network as ONNX with opset {opset} ({'; '.join(reasons)}); another "
        "export.opset_version may help, or another architecture"
    )


@contextlib.contextmanager
def _no_graphs_printed() -> Iterator[None]:
    """Keeps torch from printing its whole graph where tracing fails; the other exporter may write it yet.

    torch 2 asks whether this was wanted before by looking at a function instead of calling it, and so finds
    that it always was. For the time of an export there is a no in the function's place.
    """
    name = "_jit_is_onnx_log_enabled"
    asked = getattr(torch._C, name, None)
    if asked is None:
        yield
        return
    setattr(torch._C, name, False)
    try:
        yield
    finally:
        setattr(torch._C, name, asked)


def _check_other_batch(exportable: Exportable, inputs: tuple[Tensor, ...], graph: onnx.ModelProto) -> None:
    """Runs a graph with one sample more than the example: tracing may have written its batch down.

    Raises:
        Exception: onnxruntime's own, where the graph cannot take it.
    """
    session = graph_session(graph.SerializeToString())
    used = {item.name for item in session.get_inputs()}
    feeds = {}
    for (name, axes), given in zip(exportable.inputs.items(), inputs, strict=True):
        more = torch.cat([given, given[:1]]) if 0 in axes else given
        feeds[name] = more.numpy()
    session.run(None, {name: value for name, value in feeds.items() if name in used})


def _traced(exportable: Exportable, inputs: tuple[Tensor, ...], dynamic: bool, opset: int) -> onnx.ModelProto:
    buffer = io.BytesIO()
    torch.onnx.export(
        exportable.module,
        inputs,
        buffer,  # type: ignore[arg-type]
        input_names=list(exportable.inputs),
        output_names=list(exportable.outputs),
        dynamic_axes={**exportable.inputs, **exportable.outputs} if dynamic else {},
        opset_version=min(opset, HIGHEST_TRACED_OPSET),
        dynamo=False,
    )
    graph = onnx.load_from_string(buffer.getvalue())
    return graph if opset <= HIGHEST_TRACED_OPSET else version_converter.convert_version(graph, opset)


def _captured(
    exportable: Exportable, inputs: tuple[Tensor, ...], dynamic: bool, opset: int
) -> onnx.ModelProto:
    shapes = tuple(
        {axis: torch.export.Dim(name) for axis, name in axes.items()} for axes in exportable.inputs.values()
    )
    program = torch.onnx.export(
        exportable.module,
        inputs,
        input_names=list(exportable.inputs),
        output_names=list(exportable.outputs),
        dynamic_shapes=shapes if dynamic else None,
        opset_version=opset,
        dynamo=True,
        verbose=False,
    )
    assert program is not None
    with tempfile.TemporaryDirectory() as folder:
        # The program's own proto leaves constants in a form of torch's; a saved file has them all.
        path = Path(folder) / "model.onnx"
        program.save(path)
        return onnx.load(path)


def _without_traces(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Takes out stack traces: they hold paths of this machine, which must not travel with the file."""
    for node in proto.graph.node:
        node.ClearField("doc_string")
        node.ClearField("metadata_props")
    for value in (*proto.graph.input, *proto.graph.output, *proto.graph.value_info):
        value.ClearField("metadata_props")
    proto.graph.ClearField("metadata_props")
    proto.ClearField("metadata_props")
    for function in proto.functions:
        function.ClearField("metadata_props")
        for node in function.node:
            node.ClearField("doc_string")
            node.ClearField("metadata_props")
    return proto
