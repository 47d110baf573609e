"""Small ONNX graphs made by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper


def graph(
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, Sequence[int | str]],
    outputs: Sequence[str],
    constants: Mapping[str, Any],
    opset: int = 18,
) -> onnx.ModelProto:
    """A model of float inputs and outputs; a text in a shape leaves that axis open."""
    return helper.make_model(
        helper.make_graph(
            list(nodes),
            "by_hand",
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
            [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
        ),
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=10,
    )


def node(kind: str, inputs: str, output: str, **attributes: Any) -> onnx.NodeProto:
    """A node named after its output; inputs are separated by spaces."""
    return helper.make_node(kind, inputs.split(), [output], name=f"make_{output}", **attributes)


def run_graph(model: onnx.ModelProto, **feeds: Any) -> np.ndarray:
    """The first output, from onnxruntime; int8 without overflow on any processor, as the runtime has it."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry("session.x64quantprecision", "1")
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), sess_options=options, providers=["CPUExecutionProvider"]
    )
    return np.asarray(session.run(None, feeds)[0])


def weights(*shape: int, seed: int = 0) -> np.ndarray:
    """Normal values, float32."""
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)
