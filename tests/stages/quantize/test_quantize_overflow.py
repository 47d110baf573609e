"""int8 on processors without VNNI: weights of 8 bits overflow, of 7 bits cannot; by an emulator in numpy."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper
from onnx_graphs import graph, node, run_graph

from tao_like.config.blocks.quantize import QuantizeSpec
from tao_like.runtime.processor import processors_of
from tao_like.stages.lib.graphs.folding import folded
from tao_like.stages.lib.processor import Processor
from tao_like.stages.quantize.convert import to_int8
from tao_like.stages.quantize.plan import make_plan
from tao_like.stages.quantize.target import choose_target, measurement_note

LOWEST, HIGHEST = np.iinfo(np.int16).min, np.iinfo(np.int16).max


def maddubs_products(values: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """What vpmaddubsw and vpmaddwd make of a linear layer: pairs are added in 16 bits, and saturate.

    Args:
        values: (N, K) uint8, K even. kernel: (K, M) int8.

    Returns:
        (N, M) int32.
    """
    products = values.astype(np.int32)[:, :, None] * kernel.astype(np.int32)[None]
    pairs = products[:, 0::2] + products[:, 1::2]
    return np.clip(pairs, LOWEST, HIGHEST).sum(axis=1)


def exact_products(values: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """The same with sums in 32 bits, as VNNI's vpdpbusd has them."""
    return values.astype(np.int32) @ kernel.astype(np.int32)


def linear(reduce_range: bool) -> tuple[onnx.ModelProto, np.ndarray, np.ndarray]:
    """A linear layer in int8, its int8 kernel (16, 4), and the scales of its columns.

    Values from 0 to 1; the first columns have weights of one sign, so that neighbours add up.
    """
    generator = np.random.default_rng(0)
    kernel = generator.uniform(0.5, 1.0, (16, 4)).astype(np.float32)
    kernel[:, 1] *= -1
    kernel[:, 2:] *= generator.choice([-1, 1], (16, 2)).astype(np.float32)
    model = folded(graph([node("MatMul", "x w", "y")], {"x": ["n", 16]}, ["y"], {"w": kernel}))
    ranges = {"x": (0.0, 1.0), "y": (-16.0, 16.0)}
    result = to_int8(model, make_plan(model, [], {}), ranges, reduce_range=reduce_range)
    constants = {one.name: numpy_helper.to_array(one) for one in result.graph.initializer}
    (name,) = [name for name, one in constants.items() if one.dtype == np.int8 and one.shape == (16, 4)]
    (reader,) = [one for one in result.graph.node if one.input and one.input[0] == name]
    return result, constants[name], constants[reader.input[1]]


def bright_values() -> np.ndarray:
    """Values in the upper half of their range, as bright pixels have them."""
    return np.random.default_rng(1).uniform(0.6, 1.0, (32, 16)).astype(np.float32)


def plain_outputs(model: onnx.ModelProto, values: np.ndarray) -> np.ndarray:
    """By onnxruntime as anybody opens it: without VNNI it adds pairs in 16 bits."""
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": values})[0])


def test_seven_bits_cannot_overflow_and_eight_can() -> None:
    values = np.arange(256)
    for largest, fits in ((64, True), (127, False)):
        products = np.multiply.outer(values, np.arange(-largest, largest + 1))
        # The sum of two products is extreme where both are.
        assert (2 * products.min() >= LOWEST and 2 * products.max() <= HIGHEST) == fits


def test_without_vnni_weights_of_eight_bits_are_wrong_and_those_of_seven_are_exact() -> None:
    values = bright_values()
    quantized = np.rint(values * 255).astype(np.uint8)
    _, wide, scales = linear(reduce_range=False)
    difference = (maddubs_products(quantized, wide) - exact_products(quantized, wide)) * scales / 255
    largest = np.abs(exact_products(quantized, wide) * scales / 255).max()
    # Columns of one sign lose up to a quarter of their value; by the exact rule, not a thousandth.
    assert 0.1 < np.abs(difference[:, :2]).max() / largest < 0.5
    _, narrow, _ = linear(reduce_range=True)
    assert np.abs(narrow.astype(int)).max() <= 64
    assert (maddubs_products(quantized, narrow) == exact_products(quantized, narrow)).all()


def test_plain_onnxruntime_gives_the_exact_sums_of_seven_bits_on_every_processor() -> None:
    model, kernel, scales = linear(reduce_range=True)
    values = bright_values()
    expected = maddubs_products(np.rint(values * 255).astype(np.uint8), kernel) * scales / 255
    assert plain_outputs(model, values) == pytest.approx(expected, abs=1e-3)


def test_as_the_runtime_opens_them_eight_bits_are_exact_on_every_processor() -> None:
    model, kernel, scales = linear(reduce_range=False)
    values = bright_values()
    expected = exact_products(np.rint(values * 255).astype(np.uint8), kernel) * scales / 255
    assert run_graph(model, x=values) == pytest.approx(expected, abs=1e-3)


# --- the target ---

WITH = Processor("New", 2, "AVX-512 VNNI", overflows=False)
WITHOUT = Processor("Old", 2, "", overflows=True)


@pytest.mark.parametrize(
    ("spec", "processor", "bits", "processors"),
    [
        (QuantizeSpec(), WITH, 7, "any"),
        (QuantizeSpec(), WITHOUT, 7, "any"),
        (QuantizeSpec(target="this"), WITH, 8, "x86 with VNNI, ARM"),
        (QuantizeSpec(target="this"), WITHOUT, 7, "any"),
        (QuantizeSpec(target="vnni"), WITHOUT, 8, "x86 with VNNI, ARM"),
        (QuantizeSpec(target="arm"), WITH, 8, "x86 with VNNI, ARM"),
        # What specs of before say keeps its meaning.
        (QuantizeSpec(reduce_range="auto"), WITH, 8, "x86 with VNNI, ARM"),
        (QuantizeSpec(reduce_range="auto"), WITHOUT, 7, "any"),
        (QuantizeSpec(reduce_range=True), WITH, 7, "any"),
        (QuantizeSpec(reduce_range=False), WITHOUT, 8, "x86 with VNNI, ARM"),
    ],
)
def test_the_target_decides_the_bits(
    spec: QuantizeSpec, processor: Processor, bits: int, processors: str
) -> None:
    target = choose_target(spec, processor)
    assert target.to_dict()["weight_bits"] == bits
    assert target.processors == processors == processors_of({"quantization": target.to_dict()})
    assert target.text().startswith(f"Weights have {bits} bits")
    assert list(QuantizeSpec(target=target.name).check()) == []


@pytest.mark.parametrize(
    ("target", "reduce_range"),
    [("this", True), ("this", False), ("vnni", True), ("vnni", "auto"), ("arm", True)],
)
def test_keys_that_contradict_each_other_are_refused(target: str, reduce_range: bool | str) -> None:
    (problem,) = QuantizeSpec(target=target, reduce_range=reduce_range).check()
    assert problem.key == "reduce_range"
    assert f"target: {target}" in problem.message


def test_latency_that_is_not_the_targets_is_said() -> None:
    vnni, anywhere, arm = (choose_target(QuantizeSpec(target=name), WITH) for name in ("vnni", "any", "arm"))
    assert "not the target's" in str(measurement_note(vnni, WITHOUT, "x86_64"))
    assert measurement_note(vnni, WITH, "x86_64") is None
    assert measurement_note(anywhere, WITHOUT, "x86_64") is None
    assert "x86" in str(measurement_note(arm, WITH, "x86_64"))
    assert measurement_note(arm, Processor("Phone", 8, "", overflows=False), "aarch64") is None
