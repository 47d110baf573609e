"""The imported network against onnxruntime: the same inputs, the same answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import nn

from tao_like.byom.graph import Graph
from tao_like.byom.reading import UnreadableModelError
from tao_like.errors import ConversionError

Array = NDArray[np.generic]
OPEN_SIZES = {2: 224, 3: 224}
"""What an open axis of an image becomes in the comparison, by the number of the axis."""
LEAST_SCALE = 1e-3
"""Outputs that are smaller than this everywhere are compared as if they were this large."""
_OTHER_BATCH = 3
_LONGEST_REASON = 500
_SEED = 0


@dataclass(frozen=True)
class Comparison:
    """How far two runs were apart.

    Attributes:
        batch: number of samples.
        what: the input: ``noise`` or ``picture``.
        output: name of the output.
        difference: largest difference, as a share of the output's largest magnitude.
        absolute: largest difference.
    """

    batch: int
    what: str
    output: str
    difference: float
    absolute: float


def session(model: onnx.ModelProto, *, optimised: bool = True) -> onnxruntime.InferenceSession:
    """A session of onnxruntime on the processor.

    Raises:
        UnreadableModelError: onnxruntime cannot run the file.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = torch.get_num_threads()
    if not optimised:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        return onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"], enable_fallback=0
        )
    except Exception as error:  # onnxruntime's errors have no common base that it exports
        raise UnreadableModelError(f"onnxruntime cannot run this file: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """What onnxruntime says in one line: the file's node often stands in a later one."""
    return " ".join(str(error).split())[:_LONGEST_REASON]


def without_rounding(model: onnx.ModelProto) -> onnx.ModelProto:
    """A quantised model with the values between its operations as floats: what the converter makes of it.

    Each pair of QuantizeLinear and DequantizeLinear is bridged; weights stay as they were rounded.
    """
    sources = {node.output[0]: node.input[0] for node in model.graph.node if node.op_type == "QuantizeLinear"}
    bridges = {
        node.output[0]: sources[node.input[0]]
        for node in model.graph.node
        if node.op_type == "DequantizeLinear" and node.input[0] in sources
    }
    if not bridges:
        return model
    bridged = onnx.ModelProto()
    bridged.CopyFrom(model)
    for node in bridged.graph.node:
        for index, name in enumerate(node.input):
            while name in bridges:
                name = bridges[name]
            node.input[index] = name
    outputs = {item.name for item in bridged.graph.output}
    for node in bridged.graph.node:
        if node.op_type == "DequantizeLinear" and node.output[0] in outputs & bridges.keys():
            node.op_type = "Identity"
            source = bridges[node.output[0]]
            del node.input[:], node.attribute[:]
            node.input.append(source)
    return bridged


def input_shapes(graph: Graph, size: tuple[int, int] | None) -> dict[str, tuple[int, ...]]:
    """A shape without the batch for each input of a graph; open axes get a usual size.

    Args:
        graph: the source.
        size: height and width for the open axes of images.

    Raises:
        ConversionError: the source says nothing of the axes of an input.
    """
    shapes = {}
    for name in graph.inputs:
        declared = graph.type_of(name).shape
        if declared is None or not declared:
            raise ConversionError(f"the file does not say what shape its input '{name}' has")
        sizes = []
        for axis, item in enumerate(declared[1:], start=1):
            chosen = size[axis - 2] if size and len(declared) == 4 and axis >= 2 else OPEN_SIZES.get(axis, 1)
            if isinstance(item, int) and item > 0:
                sizes.append(item)
            else:
                sizes.append(chosen)
        shapes[name] = tuple(sizes)
    return shapes


def batch_sizes(graph: Graph, *, freed: bool) -> tuple[int, ...]:
    """The source's own batch, and another where the network can take one."""
    first = (graph.type_of(graph.inputs[0]).shape or (None,))[0]
    if isinstance(first, int) and first > 0 and not freed:
        return (first,)
    return (1, _OTHER_BATCH)


def noise(graph: Graph, shapes: dict[str, tuple[int, ...]], batch: int) -> dict[str, Array]:
    """Random inputs: floats from 0 to 1 with coarse structure, as pictures have, and whole numbers."""
    generator = np.random.default_rng(_SEED)
    inputs: dict[str, Array] = {}
    for name, shape in shapes.items():
        dtype = graph.type_of(name).dtype or torch.float32
        whole = not dtype.is_floating_point
        values = generator.integers(0, 2, (batch, *shape)) if whole else generator.random((batch, *shape))
        inputs[name] = torch.from_numpy(values).to(dtype).numpy()
    return inputs


def compare(
    module: nn.Module,
    reference: onnxruntime.InferenceSession,
    inputs: dict[str, Array],
    what: str,
    *,
    one_by_one: bool,
) -> list[Comparison]:
    """Runs both on the same inputs.

    Args:
        module: the imported network.
        reference: the source.
        inputs: by name, the batch in front.
        what: what the inputs are.
        one_by_one: the source takes one sample at a time; its answers are put together.

    Raises:
        ConversionError: one of them cannot run, or shapes differ.
    """
    batch = len(next(iter(inputs.values())))
    expected = _run_reference(reference, inputs, one_by_one=one_by_one)
    try:
        with torch.inference_mode():
            given = module(*(torch.from_numpy(value) for value in inputs.values()))
    except Exception as error:  # a wrong conversion may fail anywhere in torch
        raise ConversionError(
            f"the converted network cannot run at batch {batch}: {type(error).__name__}: "
            f"{str(error).splitlines()[0]}"
        ) from error
    outputs = given if isinstance(given, tuple) else (given,)
    names = [item.name for item in reference.get_outputs()]
    return [
        _difference(name, joined_samples(parts, tuple(other.shape)), other.numpy(), batch, what)
        for name, parts, other in zip(names, expected, outputs, strict=True)
    ]


def _run_reference(
    reference: onnxruntime.InferenceSession, inputs: dict[str, Array], *, one_by_one: bool
) -> list[list[Array]]:
    batch = len(next(iter(inputs.values())))
    parts = (
        [{name: value[i : i + 1] for name, value in inputs.items()} for i in range(batch)]
        if one_by_one
        else [inputs]
    )
    try:
        runs: list[Sequence[Array]] = [reference.run(None, part) for part in parts]
    except Exception as error:  # onnxruntime's errors have no common base that it exports
        raise UnreadableModelError(f"onnxruntime cannot run this file: {_reason(error)}") from error
    return [list(items) for items in zip(*runs, strict=True)]


def joined_samples(parts: list[Array], shape: tuple[int, ...]) -> Array:
    """Answers of single samples as one, along the axis that has the batch in the network's own answer."""
    if len(parts) == 1:
        return parts[0]
    axes = [axis for axis, size in enumerate(shape) if axis < parts[0].ndim and size != parts[0].shape[axis]]
    return np.concatenate(parts, axis=axes[0] if axes else 0)


def _difference(name: str, expected: Array, actual: Array, batch: int, what: str) -> Comparison:
    if expected.shape != actual.shape:
        raise ConversionError(
            f"the output '{name}' has the shape {actual.shape} after conversion, and {expected.shape} in "
            "onnxruntime"
        )
    if expected.size == 0:
        return Comparison(batch, what, name, 0.0, 0.0)
    left, right = expected.astype(np.float64), actual.astype(np.float64)
    same = (left == right) | (np.isnan(left) & np.isnan(right))
    apart = np.where(same, 0.0, np.abs(left - right))
    absolute = float(np.nan_to_num(apart, nan=np.inf).max())
    finite = np.abs(left[np.isfinite(left)])
    scale = max(float(finite.max(initial=0.0)), LEAST_SCALE)
    return Comparison(batch, what, name, absolute / scale, absolute)
