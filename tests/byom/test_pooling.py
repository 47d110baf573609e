"""Windows at the edge of a map, against onnxruntime."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from foreign import model, tensor
from onnx import helper

from tao_like.byom.conversion import convert


def assert_like_onnxruntime(proto: onnx.ModelProto, values: np.ndarray) -> np.ndarray:
    """The converted network gives what onnxruntime gives, which comes back."""
    expected: np.ndarray = onnxruntime.InferenceSession(proto.SerializeToString()).run(None, {"x": values})[0]
    with torch.inference_mode():
        given = convert(proto).module(torch.from_numpy(values)).numpy()
    np.testing.assert_allclose(given, expected, rtol=0, atol=1e-6)
    return expected


@pytest.mark.parametrize("scale", [1.0, 0.5, 0.1])
def test_boxes_across_the_edge_outside_and_without_a_size(scale: float) -> None:
    """Sides end at halves of a position too, below zero as well: these are rounded away from zero."""
    draw = np.random.default_rng(0)
    corners = draw.integers(-9, 30, (40, 4)) / 2 / scale
    corners[:10, 2:] = corners[:10, :2]
    boxes = np.concatenate([draw.integers(0, 2, (40, 1)), corners], 1)
    node = helper.make_node("MaxRoiPool", ["x", "boxes"], ["y"], pooled_shape=[3, 7], spatial_scale=scale)
    proto = model([node], {"x": [2, 3, 9, 11]}, ["y"], [tensor("boxes", boxes)])
    values = draw.standard_normal((2, 3, 9, 11)).astype(np.float32)
    expected = assert_like_onnxruntime(proto, values)
    assert bool((expected == 0).any())
    assert bool((expected != 0).any())


@pytest.mark.parametrize("counted", [0, 1])
@pytest.mark.parametrize(
    ("shape", "settings"),
    [
        # With a window more than fits, the last would begin behind the map: it is left out.
        ((5,), {"kernel_shape": [2], "strides": [3], "pads": [1, 1], "ceil_mode": 1}),
        ((6, 7), {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [0, 1, 2, 2], "ceil_mode": 1}),
        ((9, 8), {"kernel_shape": [3, 2], "strides": [2, 3], "dilations": [2, 3], "ceil_mode": 1}),
        ((7, 6), {"kernel_shape": [4, 3], "strides": [3, 2], "auto_pad": "SAME_LOWER"}),
        ((5, 6, 7), {"kernel_shape": [2, 3, 2], "strides": [2, 2, 3], "pads": [1, 0, 1, 0, 2, 1]}),
        ((5, 6, 4), {"kernel_shape": [3, 2, 2], "strides": [2, 3, 1], "auto_pad": "SAME_UPPER"}),
    ],
)
def test_means_of_windows_at_the_edge(shape: tuple[int, ...], settings: dict[str, Any], counted: int) -> None:
    node = helper.make_node("AveragePool", ["x"], ["y"], count_include_pad=counted, **settings)
    proto = model([node], {"x": [2, 3, *shape]}, ["y"], opset=19)
    assert_like_onnxruntime(
        proto, np.random.default_rng(1).standard_normal((2, 3, *shape)).astype(np.float32)
    )
