"""The imported network against onnxruntime: the same inputs, the same outputs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import onnxruntime
import torch
from torch import fx

from tao_like.byom.proof.exact import Functions, coarsely, exactly
from tao_like.byom.proof.inputs import WholeShape
from tao_like.byom.proof.judging import Array, Comparison, judged
from tao_like.byom.source.graph import Graph, all_nodes
from tao_like.byom.source.unreadable import UnreadableModelError
from tao_like.errors import ConversionError
from tao_like.runtime.session import graph_session, session_options

_OTHER_BATCH = 3
_LONGEST_REASON = 500
_SEED = 0
_CARRYING = ("Cast", "Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Slice", "Expand")
"""Operations that hand indices on as they are."""


def session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    """A session of onnxruntime on the processor.

    Raises:
        UnreadableModelError: onnxruntime cannot run the file.
    """
    options = session_options()
    options.intra_op_num_threads = torch.get_num_threads()
    try:
        return graph_session(model.SerializeToString(), options)
    except Exception as error:  # onnxruntime's errors have no common base that it exports
        raise UnreadableModelError(f"onnxruntime cannot run this file: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """What onnxruntime says in one line: the file's node often stands in a later one."""
    return " ".join(str(error).split())[:_LONGEST_REASON]


def batch_sizes(graph: Graph, *, freed: bool) -> tuple[int, ...]:
    """The source's own batch, and another where the network can take one."""
    first = (graph.type_of(graph.inputs[0]).shape or (None,))[0]
    if isinstance(first, int) and first > 0 and not freed:
        return (first,)
    return (1, _OTHER_BATCH)


def dummy_inputs(graph: Graph, shapes: dict[str, tuple[int, ...]], batch: int) -> dict[str, Array]:
    """Random inputs: floats from 0 to 1, flat areas with edges and fine grain as images have; whole
    numbers."""
    generator = np.random.default_rng(_SEED)
    inputs: dict[str, Array] = {}
    for name, shape in shapes.items():
        dtype = graph.type_of(name).dtype or torch.float32
        full = shape.at(batch) if isinstance(shape, WholeShape) else (batch, *shape)
        if dtype.is_floating_point:
            values = generator.random(full) if isinstance(shape, WholeShape) else _image(generator, full)
        else:
            low, high = _whole_range(graph, name, dtype)
            values = np.asarray(generator.integers(low, high, full, endpoint=True), np.float64)
        inputs[name] = torch.from_numpy(np.asarray(values)).to(dtype).numpy()
    return inputs


def _image(generator: np.random.Generator, shape: tuple[int, ...]) -> Array:
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
    names, rows = {name}, list[int]()
    for node in all_nodes(graph):
        if node.op in _CARRYING and names.intersection(node.inputs[:1]):
            names.update(node.outputs)
        if node.op == "Gather" and names.intersection(node.inputs[1:2]) and node.inputs[0] in graph.constants:
            rows.append(graph.constants[node.inputs[0]].shape[node.attributes.get("axis", 0)])
    return 0, min(rows, default=2) - 1


def compare(
    module: fx.GraphModule,
    reference: onnxruntime.InferenceSession,
    inputs: dict[str, Array],
    what: str,
    *,
    batch: int,
    one_by_one: bool,
    tolerance: float,
    wide: fx.GraphModule | None,
    coarse_functions: Functions,
) -> list[Comparison]:
    """Runs both on the same inputs.

    Args:
        module: the imported network.
        reference: the source.
        inputs: by name, the batch in front.
        what: what the inputs are.
        batch: number of samples.
        one_by_one: the source takes one sample at a time; its outputs are put together.
        tolerance: the fraction of a channel's largest magnitude that is allowed in any case.
        wide: the network in double precision; None where it cannot be had.
        coarse_functions: functions of the network, and what rounds as onnxruntime does.

    Raises:
        ConversionError: one of them cannot run, or shapes differ.
    """
    expected = _run_reference(reference, inputs, batch if one_by_one else None)
    tensors = [torch.from_numpy(value) for value in inputs.values()]
    try:
        with torch.inference_mode():
            given = module(*tensors)
    except Exception as error:  # a wrong conversion may fail anywhere in torch
        raise ConversionError(
            f"the converted network cannot run at batch {batch}: {type(error).__name__}: "
            f"{str(error).splitlines()[0]}"
        ) from error
    outputs = given if isinstance(given, tuple) else (given,)
    names = [item.name for item in reference.get_outputs()]
    unknown = (None,) * len(outputs)
    exact = exactly(wide, tensors) or unknown
    coarse = coarsely(module, tensors, coarse_functions) or unknown
    return [
        judged(
            name,
            joined_samples(parts, tuple(other.shape)),
            other.numpy(),
            None if wide is None else wide.numpy(),
            coarse=None if rough is None else rough.numpy(),
            batch=batch,
            what=what,
            tolerance=tolerance,
        )
        for name, parts, other, wide, rough in zip(names, expected, outputs, exact, coarse, strict=True)
    ]


def _run_reference(
    reference: onnxruntime.InferenceSession, inputs: dict[str, Array], samples: int | None
) -> list[list[Array]]:
    """The source's outputs, each in one part; where samples are counted, in as many."""
    parts = [inputs]
    if samples is not None:
        parts = [{name: value[i : i + 1] for name, value in inputs.items()} for i in range(samples)]
    try:
        runs: list[Sequence[Array]] = [reference.run(None, part) for part in parts]
    except Exception as error:  # onnxruntime's errors have no common base that it exports
        raise UnreadableModelError(f"onnxruntime cannot run this file: {_reason(error)}") from error
    return [list(items) for items in zip(*runs, strict=True)]


def joined_samples(parts: list[Array], shape: tuple[int, ...]) -> Array:
    """Outputs of single samples as one, along the axis that has the batch in the network's own output."""
    if len(parts) == 1:
        return parts[0]
    axes = [axis for axis, size in enumerate(shape) if axis < parts[0].ndim and size != parts[0].shape[axis]]
    return np.concatenate(parts, axis=axes[0] if axes else 0)
