"""Small foreign networks, written node by node with onnx."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOAT = TensorProto.FLOAT


def tensor(name: str, values: Any, dtype: Any = np.float32) -> onnx.TensorProto:
    """An initializer."""
    return numpy_helper.from_array(np.asarray(values, dtype), name)


def random_tensor(name: str, *shape: int, seed: int = 0) -> onnx.TensorProto:
    """An initializer of small random numbers."""
    return tensor(name, np.random.default_rng(seed).standard_normal(shape) * 0.3)


def model(
    nodes: list[onnx.NodeProto],
    inputs: dict[str, list[Any]],
    outputs: list[str],
    initializers: list[onnx.TensorProto] | None = None,
    opset: int = 17,
) -> onnx.ModelProto:
    """A model of float inputs and outputs."""
    graph = helper.make_graph(
        nodes,
        "foreign",
        [helper.make_tensor_value_info(name, FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, FLOAT, None) for name in outputs],
        initializers or [],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def classifier(
    batch: Any = "batch", side: Any = 32, num_classes: int = 4, opset: int = 17
) -> onnx.ModelProto:
    """A little classifier with a known layout: 3 -> 8 (stride 2) -> 16 (stride 4) -> pooled 16 -> classes."""
    node = helper.make_node
    nodes = [
        node("Conv", ["x", "stem.weight", "stem.bias"], ["c1"], "stem", strides=[2, 2], pads=[1, 1, 1, 1]),
        node("BatchNormalization", ["c1", "bn.weight", "bn.bias", "bn.mean", "bn.var"], ["b1"], "bn"),
        node("Relu", ["b1"], ["r1"]),
        node("Conv", ["r1", "deep.weight"], ["c2"], "deep", strides=[2, 2], pads=[1, 1, 1, 1]),
        node("Relu", ["c2"], ["r2"]),
        node("GlobalAveragePool", ["r2"], ["pool"]),
        node("Shape", ["pool"], ["shape"]),
        node("Slice", ["shape", "zero", "one"], ["n"]),
        node("Concat", ["n", "rest"], ["target"], axis=0),
        node("Reshape", ["pool", "target"], ["flat"]),
        node("MatMul", ["flat", "head.weight"], ["scores"]),
        node("Add", ["scores", "head.bias"], ["logits"]),
        node("Softmax", ["logits"], ["y"], axis=-1),
    ]
    constants = [
        random_tensor("stem.weight", 8, 3, 3, 3),
        random_tensor("stem.bias", 8, seed=1),
        tensor("bn.weight", np.linspace(0.5, 1.5, 8) ** 2),
        random_tensor("bn.bias", 8, seed=2),
        random_tensor("bn.mean", 8, seed=3),
        tensor("bn.var", np.full(8, 0.7)),
        random_tensor("deep.weight", 16, 8, 3, 3, seed=4),
        random_tensor("head.weight", 16, num_classes, seed=5),
        random_tensor("head.bias", num_classes, seed=6),
        tensor("zero", [0], np.int64),
        tensor("one", [1], np.int64),
        tensor("rest", [-1], np.int64),
    ]
    return model(nodes, {"x": [batch, 3, side, side]}, ["y"], constants, opset)


def saved(proto: onnx.ModelProto, path: Path) -> Path:
    """The model as a file."""
    path.write_bytes(proto.SerializeToString())
    return path
