"""Which operators compute in int8, and why the others do not."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import onnx

from tao_like.errors import SpecError
from tao_like.stages.lib.graphs.folding import constant_names

LAYER_TYPES = ("Conv", "ConvTranspose", "Gemm", "MatMul")
"""Operators with weights: nearly all of the arithmetic."""
FLOAT_OUTPUT_TYPES = ("Gemm", "MatMul")
"""Their int8 kernels can give float, which saves a rounding and is faster in transformers."""
CARRIER_TYPES = (
    "Relu",
    "Clip",
    "Add",
    "Sigmoid",
    "Mul",
    "MaxPool",
    "AveragePool",
    "GlobalAveragePool",
    "Concat",
    "Flatten",
    "Reshape",
    "Squeeze",
    "Unsqueeze",
    "Transpose",
    "Pad",
    "Resize",
)
"""Operators that pass int8 on without losing much; worth it only between int8 neighbours.

Sigmoid and Mul are SiLU and the gates of squeeze-and-excite: with both in float, EfficientNet-B0 was slower
in int8 than in fp32.
"""
SHAPED_BY_CONSTANTS = ("Clip", "Flatten", "Reshape", "Squeeze", "Unsqueeze", "Pad", "Resize", "Transpose")
"""Their first input alone is data."""


@dataclass(frozen=True)
class Plan:
    """What is quantized.

    Attributes:
        layers: names of the operators with weights that compute in int8, in the order of the graph.
        carriers: names of the others that pass int8 on.
        floats: name of each operator left in float to the reason.
        dynamic: names of those layers whose values get their range anew in every call.
    """

    layers: list[str]
    carriers: list[str]
    floats: dict[str, str]
    dynamic: frozenset[str] = frozenset()


def quantizable_layers(model: onnx.ModelProto) -> list[str]:
    """Names of the operators with fixed weights, in the order of the graph."""
    constants = constant_names(model)
    return [
        node.name for node in model.graph.node if node.op_type in LAYER_TYPES and node.input[1] in constants
    ]


def named_layers(
    model: onnx.ModelProto, patterns: Sequence[str], key: str = "quantize.skip_names"
) -> dict[str, str]:
    """Names of the layers that a key of the spec asks for, each with the pattern that did.

    A pattern is a part of the name, or has wildcards (``*/head/*``) for the whole of it.

    Raises:
        SpecError: a pattern fits no layer.
    """
    layers = quantizable_layers(model)
    found: dict[str, str] = {}
    for pattern in patterns:
        fitting = [name for name in layers if pattern in name or fnmatchcase(name, pattern)]
        if not fitting:
            raise SpecError(
                f"{key}: {pattern} fits no layer; these have names such as "
                f"{', '.join(layers[:3])} (report.json of a run lists all)"
            )
        found.update(dict.fromkeys(fitting, pattern))
    return found


def dynamic_layers(model: onnx.ModelProto, patterns: Sequence[str]) -> frozenset[str]:
    """Names of the matrix products that ``quantize.dynamic_names`` asks for. Raises SpecError."""
    named = named_layers(model, patterns, "quantize.dynamic_names")
    return frozenset(
        node.name for node in model.graph.node if node.name in named and node.op_type == "MatMul"
    )


def make_plan(
    model: onnx.ModelProto,
    kept: Collection[str],
    reasons: dict[str, str],
    dynamic: Collection[str] = (),
) -> Plan:
    """Decides for every operator, in the order of the graph.

    The start of the graph (pixels to normalized float) and its end (softmax or sigmoid) stay in float:
    neither has weights, and neither lies between int8 neighbours.

    Args:
        kept: operators to leave in float.
        reasons: why, by name.
        dynamic: layers whose values get their range in every call.
    """
    constants = constant_names(model)
    in_int8: set[str] = set()
    layers: list[str] = []
    carriers: list[str] = []
    floats: dict[str, str] = {}
    for node in model.graph.node:
        if node.name in kept:
            floats[node.name] = reasons[node.name]
        elif node.op_type in LAYER_TYPES:
            if node.input[1] not in constants:
                floats[node.name] = "both sides are computed (attention)"
            else:
                layers.append(node.name)
                if node.op_type not in FLOAT_OUTPUT_TYPES and node.name not in dynamic:
                    in_int8.update(node.output)
        elif node.op_type in CARRIER_TYPES:
            data = node.input[:1] if node.op_type in SHAPED_BY_CONSTANTS else node.input
            if all(name in in_int8 for name in data):
                carriers.append(node.name)
                in_int8.update(node.output)
            else:
                floats[node.name] = "not between int8 neighbours"
        elif node.op_type != "Constant":
            floats[node.name] = f"{node.op_type} has no good int8 form"
    return Plan(layers, carriers, floats, frozenset(dynamic).intersection(layers))
