"""Which operators of a detector stay in float: the last layers and what decodes their values."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tao_like.tasks.common.float_tail import float_tail
from tao_like.tasks.detection.export import BEHIND, LAST_LAYER


def detector() -> onnx.GraphProto:
    """A backbone of two layers, a box layer and a score layer on it, and a decoding of both."""
    weights = {name: np.zeros((2, 2, 1, 1), np.float32) for name in ("w1", "w2", "w3", "w4")}
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["a"], "stem"),
        helper.make_node("Relu", ["a"], ["b"], "relu"),
        helper.make_node("Conv", ["b", "w2"], ["c"], "tower"),
        helper.make_node("Conv", ["c", "w3"], ["d"], "box layer"),
        helper.make_node("Conv", ["c", "w4"], ["e"], "score layer"),
        helper.make_node("Exp", ["d"], ["f"], "sides"),
        # Sizes come from a map of the backbone; what made the map stays in int8.
        helper.make_node("Shape", ["b"], ["g"], "shape"),
        helper.make_node("Expand", ["f", "g"], ["boxes"], "grid"),
        helper.make_node("Sigmoid", ["e"], ["scores"], "sigmoid"),
    ]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("boxes", "scores")]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, None)]
    constants = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    return helper.make_graph(nodes, "detector", inputs, outputs, constants)


def test_the_last_layers_and_all_behind_them_stay_in_float() -> None:
    found = float_tail(
        detector(),
        ["stem", "tower", "box layer", "score layer"],
        last_layer=LAST_LAYER,
        behind=BEHIND,
    )
    assert set(found) == {"box layer", "score layer", "sides", "grid", "sigmoid"}
    assert all(found.values())
