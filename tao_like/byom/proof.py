"""The imported network against onnxruntime: the same inputs, the same answers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import onnxruntime
import torch
from torch import fx

from tao_like.byom.exact import exactly
from tao_like.byom.graph import Graph, all_nodes
from tao_like.byom.judging import Array, Comparison, judged
from tao_like.byom.reading import UnreadableModelError
from tao_like.errors import ConversionError

OPEN_SIZES = {2: 224, 3: 224}
"""What an open axis of an image becomes in the comparison, by the number of the axis."""
_OTHER_BATCH = 3
_LONGEST_REASON = 500
_SEED = 0


def session(model: onnx.ModelProto, *, optimized: bool = True) -> onnxruntime.InferenceSession:
    """A session of onnxruntime on the processor.

    Raises:
        UnreadableModelError: onnxruntime cannot run the file.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = torch.get_num_threads()
    if not optimized:
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


def dummy_inputs(graph: Graph, shapes: dict[str, tuple[int, ...]], batch: int) -> dict[str, Array]:
    """Random inputs: floats from 0 to 1, flat areas with edges and fine grain as pictures have; whole
    numbers."""
    generator = np.random.default_rng(_SEED)
    inputs: dict[str, Array] = {}
    for name, shape in shapes.items():
        dtype = graph.type_of(name).dtype or torch.float32
        if dtype.is_floating_point:
            values = _picture(generator, (batch, *shape))
        else:
            low, high = _whole_range(graph, name, dtype)
            values = generator.integers(low, high, (batch, *shape), endpoint=True).astype(np.float64)
        inputs[name] = torch.from_numpy(values).to(dtype).numpy()
    return inputs


def _picture(generator: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Grain over patches of a size that differs from sample to sample: a first sample is grain alone."""
    grain = generator.random(shape)
    for sample in range(1, shape[0]):
        side = 2 ** (1 + sample)
        coarse = [max(1, -(-size // side)) if size >= side else size for size in shape[1:]]
        patches = generator.random(coarse)
        for axis, size in enumerate(shape[1:]):
            patches = patches.repeat(-(-size // coarse[axis]), axis).take(range(size), axis)
        grain[sample] = 0.8 * patches + 0.2 * grain[sample]
    return grain


def _whole_range(graph: Graph, name: str, dtype: torch.dtype) -> tuple[int, int]:
    """The lowest and highest whole number that an input takes: all of a byte, or all rows of a table."""
    if dtype == torch.bool:
        return 0, 1
    if dtype in (torch.uint8, torch.int8):
        limits = torch.iinfo(dtype)
        return limits.min, limits.max
    rows = [
        len(graph.constants[node.inputs[0]])
        for node in all_nodes(graph)
        if node.op == "Gather" and node.inputs[1:2] == [name] and node.inputs[0] in graph.constants
    ]
    return 0, min(rows, default=2) - 1


def compare(
    module: fx.GraphModule,
    reference: onnxruntime.InferenceSession,
    inputs: dict[str, Array],
    what: str,
    *,
    one_by_one: bool,
    tolerance: float,
) -> list[Comparison]:
    """Runs both on the same inputs.

    Args:
        module: the imported network.
        reference: the source.
        inputs: by name, the batch in front.
        what: what the inputs are.
        one_by_one: the source takes one sample at a time; its answers are put together.
        tolerance: the fraction of a channel's largest magnitude that is allowed in any case.

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
    exact = exactly(module, [torch.from_numpy(value) for value in inputs.values()]) or (None,) * len(outputs)
    return [
        judged(
            name,
            joined_samples(parts, tuple(other.shape)),
            other.numpy(),
            None if wide is None else wide.numpy(),
            batch=batch,
            what=what,
            tolerance=tolerance,
        )
        for name, parts, other, wide in zip(names, expected, outputs, exact, strict=True)
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
