"""What pruning reports: costs and latency before and after, and the channels of every layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import nn

from tao_like.contract.capabilities import Generates
from tao_like.contract.inputs import dummy_sample, preprocess
from tao_like.contract.model import Exportable
from tao_like.contract.sample import Preprocessed
from tao_like.contract.task import AnyTask
from tao_like.errors import ConversionError
from tao_like.plots.charts import draw_bars
from tao_like.runtime.generation.base import Generator
from tao_like.runtime.session import graph_session
from tao_like.stages.lib.engines import default_format, graph_inputs
from tao_like.stages.lib.graphs.writing import to_onnx
from tao_like.stages.lib.latency import Latency, measure_in_turns
from tao_like.tracking import Run

_OPSET = 18
_ROUNDS, _SECONDS = 30, 20.0


@dataclass(frozen=True)
class Width:
    """The width of a layer before and after: output channels, or heads of an attention layer."""

    name: str
    kind: str
    before: int
    after: int


def layer_widths(network: nn.Module) -> dict[str, tuple[str, int]]:
    """Name of each convolution, linear and attention layer to its kind and its output channels or heads."""
    widths: dict[str, tuple[str, int]] = {}
    for name, module in network.named_modules():
        if isinstance(module, nn.modules.conv._ConvNd):
            widths[name] = ("channels", module.out_channels)
        elif isinstance(module, nn.Linear):
            widths[name] = ("features", module.out_features)
        elif isinstance(vars(module).get("num_heads"), int):
            widths[name] = ("heads", int(vars(module)["num_heads"]))
    return widths


def compare_widths(
    before: Mapping[str, tuple[str, int]], after: Mapping[str, tuple[str, int]]
) -> list[Width]:
    """Every layer with its width before and after, in the network's order."""
    return [Width(name, kind, width, after[name][1]) for name, (kind, width) in before.items()]


def draw_widths(widths: list[Width]) -> Image.Image:
    """A bar a layer: what it kept, in front of what it had."""
    shown = [width for width in widths if width.before != width.after] or widths
    counts = [
        f"{width.after} of {width.before}{' heads' if width.kind == 'heads' else ''}" for width in shown
    ]
    return draw_bars(
        [width.name for width in shown],
        [width.after / max(width.before, 1) for width in shown],
        "Kept (dark) of what each changed layer had",
        most=1,
        labels=counts,
    )


def onnx_session(exportable: Exportable, inputs: tuple[torch.Tensor, ...]) -> Callable[[], object]:
    """The exportable network in onnxruntime, as a call without arguments; batch of ``inputs``.

    Raises:
        ConversionError: it cannot be written as ONNX.
    """
    proto, _ = to_onnx(exportable, inputs, dynamic=False, opset=_OPSET)
    session = graph_session(proto.SerializeToString())
    feed = {name: tensor.numpy() for name, tensor in zip(exportable.inputs, inputs, strict=True)}
    return lambda: session.run(None, feed)


def measure_latency(task: AnyTask, before: nn.Module, after: nn.Module, run: Run) -> dict[str, Any]:
    """Latency of one sample through all graphs of two networks, in turns: in onnxruntime, else in torch."""
    preprocessed = preprocess(task.inputs, [dummy_sample(task.inputs)])
    graphs = {
        name: task.exports(network, default_format(task))
        for name, network in (("before", before), ("after", after))
    }
    generates = task.capability(Generates)
    generator = generates.generator() if generates else None
    try:
        calls = {
            name: _in_turn(of_network, preprocessed, generator, onnx_session)
            for name, of_network in graphs.items()
        }
        engine = "onnxruntime, CPU"
    except ConversionError as error:
        run.warning(f"latency is measured in torch: {error}")
        calls = {
            name: _in_turn(of_network, preprocessed, generator, _torch_call)
            for name, of_network in graphs.items()
        }
        engine = "torch, CPU"
    times: dict[str, Latency] = measure_in_turns(calls, rounds=_ROUNDS, seconds=_SECONDS)
    medians = {name: round(latency.median_ms, 3) for name, latency in times.items()}
    fraction = medians["after"] / max(medians["before"], 1e-9)
    return {"engine": engine, "batch": 1, "median_ms": medians, "share": round(fraction, 4)}


def _in_turn(
    graphs: dict[str, Exportable],
    preprocessed: Preprocessed,
    generator: Generator | None,
    make: Callable[[Exportable, tuple[torch.Tensor, ...]], Callable[[], object]],
) -> Callable[[], object]:
    """A call that runs all graphs of a network, each once, on what it was given for a preprocessed sample."""
    inputs = graph_inputs(graphs, preprocessed, generator)
    calls = [make(graph, inputs[name]) for name, graph in graphs.items()]
    return lambda: [call() for call in calls]


def _torch_call(exportable: Exportable, inputs: tuple[torch.Tensor, ...]) -> Callable[[], object]:
    def call() -> object:
        with torch.inference_mode():
            return exportable.module(*inputs)

    return call
