"""Biases of int8 layers make up for what rounding takes off their mean output."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx_graphs import graph, node, run_graph, weights

from tao_like.stages.lib.graphs.folding import folded
from tao_like.stages.quantize.bias import channel_means, correct_biases
from tao_like.stages.quantize.calibration import calibrate
from tao_like.stages.quantize.convert import to_int8, watched_tensors
from tao_like.stages.quantize.plan import make_plan

CASES: dict[str, tuple[onnx.NodeProto, tuple[int, ...], tuple[int, ...]]] = {
    "Conv": (node("Conv", "x w b", "y"), (6, 8, 3, 3), (8, 5, 5)),
    "depthwise": (node("Conv", "x w b", "y", group=8), (8, 1, 3, 3), (8, 5, 5)),
    "groups": (node("Conv", "x w b", "y", group=2), (6, 4, 3, 3), (8, 5, 5)),
    "Gemm": (node("Gemm", "x w b", "y", transB=1), (6, 16), (16,)),
    "Gemm, not transposed": (node("Gemm", "x w b", "y"), (16, 6), (16,)),
}


@pytest.mark.parametrize("name", CASES)
def test_the_mean_output_is_that_of_float_again(name: str) -> None:
    layer, kernel, sample = CASES[name]
    outputs = kernel[1] if name.endswith("not transposed") else kernel[0]
    constants: dict[str, Any] = {"w": weights(*kernel), "b": weights(outputs, seed=1)}
    model = folded(graph([layer], {"x": ["n", *sample]}, ["y"], constants))
    generator = np.random.default_rng(2)
    # All positive, and each channel at a level of its own, the same everywhere on it.
    levels = generator.uniform(0.5, 3.0, (1, sample[0], *[1] * (len(sample) - 1)))
    feeds = [
        {"x": (levels * generator.uniform(0.9, 1.1, (1, *sample))).astype(np.float32)} for _ in range(40)
    ]
    plan = make_plan(model, [], {})
    ranges = calibrate(model, watched_tensors(model, plan), lambda: feeds, "minmax", 100)
    means = channel_means(model, plan.layers, lambda: feeds)
    together = np.concatenate([feed["x"] for feed in feeds])
    axes = (0, *range(2, together.ndim))
    assert means["x"] == pytest.approx(together.mean(axis=axes), rel=1e-5)

    def shift(quantized: onnx.ModelProto) -> float:
        difference = run_graph(quantized, x=together) - run_graph(model, x=together)
        return float(np.abs(difference.mean(axis=(0, *range(2, difference.ndim)))).max())

    before = shift(to_int8(model, plan, ranges, reduce_range=True))
    result = correct_biases(to_int8(model, plan, ranges, reduce_range=True), model, means)
    onnx.checker.check_model(result, full_check=True)
    assert shift(result) < 0.5 * before


def test_layers_that_share_weights_are_corrected_each_for_itself() -> None:
    model = folded(
        graph(
            [
                node("Conv", "x w b", "one"),
                node("Relu", "one", "positive"),
                node("Conv", "positive w b", "y"),
            ],
            {"x": ["n", 4, 6, 6]},
            ["y"],
            {"w": weights(4, 4, 1, 1), "b": weights(4, seed=1)},
        )
    )
    feeds = [{"x": weights(1, 4, 6, 6, seed=seed)} for seed in range(8)]
    plan = make_plan(model, [], {})
    ranges = calibrate(model, watched_tensors(model, plan), lambda: feeds, "minmax", 100)
    means = channel_means(model, plan.layers, lambda: feeds)
    many = np.concatenate([feed["x"] for feed in feeds])

    def shift(quantized: onnx.ModelProto) -> float:
        # Not by `run_graph`: onnxruntime cannot change the kernels of shared weights.
        session = onnxruntime.InferenceSession(
            quantized.SerializeToString(), providers=["CPUExecutionProvider"]
        )
        difference = session.run(None, {"x": many})[0] - run_graph(model, x=many)
        return float(np.abs(difference.mean(axis=(0, 2, 3))).max())

    quantized = to_int8(model, plan, ranges, reduce_range=True)
    before = shift(quantized)
    assert shift(correct_biases(quantized, model, means)) < 0.5 * before
