"""The parts of quantization on graphs made by hand: folding, plan, ranges, conversion, search, processor."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx_graphs import graph, node, run_graph, weights

from tao_like.contract.task import Exportable
from tao_like.errors import BundleError, ConversionError, SpecError
from tao_like.networks.backbones.build import create_backbone
from tao_like.stages.lib.graphs.folding import folded, load_float_graph
from tao_like.stages.lib.graphs.writing import to_onnx
from tao_like.stages.lib.processor import this_processor
from tao_like.stages.quantize.calibration import BINS, Spread, calibrate, entropy_range, percentile_range
from tao_like.stages.quantize.convert import to_int8, watched_tensors
from tao_like.stages.quantize.plan import make_plan, named_layers, quantizable_layers
from tao_like.stages.quantize.search import find_float_layers

# --- folding ---


def test_padding_that_is_computed_from_the_size_becomes_a_constant() -> None:
    network = create_backbone(
        "tf_efficientnet_lite0", num_classes=5, img_size=64, drop_rate=0.0, drop_path_rate=0.0
    ).eval()
    example = torch.rand(2, 3, 64, 64)
    shape = Exportable(network, {"x": {0: "n"}}, {"y": {0: "n"}}, {}, lambda given: (given,))
    model, _ = to_onnx(shape, (example,), dynamic=True, opset=18)
    result = folded(model)
    assert {"Shape", "Pad", "Ceil"} <= {item.op_type for item in model.graph.node}
    assert not {"Shape", "Pad", "Ceil"} & {item.op_type for item in result.graph.node}
    for count in (1, 3):
        pixels = np.random.default_rng(count).normal(size=(count, 3, 64, 64)).astype(np.float32)
        assert run_graph(result, x=pixels) == pytest.approx(run_graph(model, x=pixels), abs=1e-4)


def test_norm_layers_are_folded_and_every_node_has_its_own_name() -> None:
    model = graph(
        [
            node("Conv", "x w", "a", kernel_shape=[1, 1]),
            node("BatchNormalization", "a scale shift mean var", "b"),
            node("Relu", "b", "y"),
        ],
        {"x": ["n", 2, 4, 4]},
        ["y"],
        {
            "w": weights(3, 2, 1, 1),
            "scale": weights(3, seed=1),
            "shift": weights(3, seed=2),
            "mean": weights(3, seed=3),
            "var": np.abs(weights(3, seed=4)) + 0.5,
        },
    )
    for item in model.graph.node:
        item.name = ""
    result = folded(model)
    assert [item.op_type for item in result.graph.node] == ["Conv", "Relu"]
    assert len({item.name for item in result.graph.node}) == 2
    pixels = weights(2, 2, 4, 4, seed=5)
    assert run_graph(result, x=pixels) == pytest.approx(run_graph(model, x=pixels), abs=1e-5)


def test_a_file_that_is_no_onnx_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"\x08\x01no")
    with pytest.raises(BundleError, match=r"quantize\.checkpoint.*broken\.onnx"):
        load_float_graph(path, "quantize.checkpoint")


# --- the plan ---


def attention() -> onnx.ModelProto:
    """Tokens (N, 4, 8): a projection, attention with itself, another projection, softmax."""
    return graph(
        [
            node("MatMul", "x into", "q"),
            node("Transpose", "q", "k", perm=[0, 2, 1]),
            node("MatMul", "q k", "scores"),
            node("Softmax", "scores", "shares", axis=-1),
            node("MatMul", "shares q", "mixed"),
            node("MatMul", "mixed out", "z"),
            node("Softmax", "z", "y", axis=-1),
        ],
        {"x": ["n", 4, 8]},
        ["y"],
        {"into": weights(8, 8), "out": weights(8, 3)},
    )


def test_products_of_computed_tensors_and_softmax_stay_in_float() -> None:
    plan = make_plan(attention(), [], {})
    assert plan.layers == ["make_q", "make_z"]
    assert plan.carriers == []
    assert "attention" in plan.floats["make_scores"]
    assert set(plan.floats) == {"make_k", "make_scores", "make_shares", "make_mixed", "make_y"}


def block() -> onnx.ModelProto:
    """A residual block: two convolutions, ReLU, and a sum with the input of the block."""
    return graph(
        [
            node("Mul", "x two", "start"),
            node("Conv", "start w1 b1", "a", pads=[1, 1, 1, 1]),
            node("Relu", "a", "ra"),
            node("Conv", "ra w2 b2", "b", pads=[1, 1, 1, 1]),
            node("Add", "b ra", "sum"),
            node("Relu", "sum", "last"),
            node("GlobalAveragePool", "last", "pooled"),
            node("Flatten", "pooled", "flat"),
            node("Gemm", "flat head bias", "logits", transB=1),
            node("Softmax", "logits", "y", axis=1),
        ],
        {"x": ["n", 4, 8, 8]},
        ["y"],
        {
            "two": np.array(2, np.float32),
            "w1": weights(4, 4, 3, 3, seed=1) * 0.3,
            "b1": weights(4, seed=2),
            "w2": weights(4, 4, 3, 3, seed=3) * 0.3,
            "b2": weights(4, seed=4),
            "head": weights(3, 4, seed=5),
            "bias": weights(3, seed=6),
        },
    )


def test_what_lies_between_int8_layers_is_int8_and_falls_back_with_them() -> None:
    model = folded(block())
    plan = make_plan(model, [], {})
    kinds = {item.name: item.op_type for item in model.graph.node}
    assert [kinds[name] for name in plan.layers] == ["Conv", "Conv", "Gemm"]
    assert sorted(kinds[name] for name in plan.carriers) == [
        "Add",
        "Flatten",
        "GlobalAveragePool",
        "Relu",
        "Relu",
    ]
    assert sorted(kinds[name] for name in plan.floats) == ["Mul", "Softmax"]
    second = plan.layers[1]
    without = make_plan(model, [second], {second: "because"})
    assert without.floats[second] == "because"
    # The sum has a float operand now, and so has all behind it.
    assert [kinds[name] for name in without.carriers] == ["Relu"]


def test_silu_between_convolutions_is_int8_and_scaling_by_a_constant_is_not() -> None:
    model = graph(
        [
            node("Conv", "x w", "a"),
            node("Sigmoid", "a", "gate"),
            node("Mul", "a gate", "silu"),
            node("Mul", "silu scale", "y"),
        ],
        {"x": ["n", 4, 8, 8]},
        ["y"],
        {"w": weights(4, 4, 1, 1), "scale": np.array(0.1, np.float32)},
    )
    plan = make_plan(model, [], {})
    assert plan.carriers == ["make_gate", "make_silu"]
    assert set(plan.floats) == {"make_y"}
    model = folded(model)
    plan = make_plan(model, [], {})
    feeds = [{"x": weights(1, 4, 8, 8, seed=seed)} for seed in range(4)]
    ranges = calibrate(model, watched_tensors(model, plan), lambda: feeds, "minmax", 100)
    for reduce_range in (True, False):
        result = to_int8(model, plan, ranges, reduce_range=reduce_range)
        assert run_graph(result, **feeds[0]) == pytest.approx(run_graph(model, **feeds[0]), abs=0.02)


def test_names_choose_layers_by_part_or_pattern() -> None:
    model = attention()
    assert quantizable_layers(model) == ["make_q", "make_z"]
    assert named_layers(model, ["_z"]) == {"make_z": "_z"}
    assert set(named_layers(model, ["make_?"])) == {"make_q", "make_z"}
    with pytest.raises(SpecError, match=r"quantize\.skip_names: nose.*make_q"):
        named_layers(model, ["nose"])


# --- ranges ---


def spread_of(values: np.ndarray) -> Spread:
    low, high = float(values.min()), float(values.max())
    return Spread(low, high, np.histogram(values, BINS, range=(low, high))[0])


def test_ranges_over_several_feeds_are_those_of_all_values() -> None:
    model = folded(block())
    feeds = [{"x": weights(1, 4, 8, 8, seed=seed)} for seed in range(5)]
    ranges = calibrate(model, {"start", "x"}, lambda: feeds, "minmax", 100)
    every = np.concatenate([feed["x"] for feed in feeds])
    assert ranges["x"] == pytest.approx((every.min(), every.max()))
    assert ranges["start"] == pytest.approx((2 * every.min(), 2 * every.max()))
    inner = calibrate(model, {"x"}, lambda: feeds, "percentile", 90.0)["x"]
    width = float(every.max() - every.min()) / BINS
    assert inner == pytest.approx(tuple(np.percentile(every, [5, 95])), abs=2 * width)


@pytest.mark.parametrize("fraction", [100.0, 99.0, 60.0])
def test_percentiles_are_numpys(fraction: float) -> None:
    values = np.random.default_rng(0).gamma(2.0, size=100_000)
    low, high = percentile_range(spread_of(values), fraction)
    cut = (100 - fraction) / 2
    width = (values.max() - values.min()) / BINS
    assert (low, high) == pytest.approx(tuple(np.percentile(values, [cut, 100 - cut])), abs=2 * width)


def test_entropy_clips_a_lone_outlier_and_keeps_an_even_spread() -> None:
    generator = np.random.default_rng(0)
    normal = generator.normal(size=200_000)
    low, high = entropy_range(spread_of(np.append(normal, 60.0)))
    assert high < 12
    assert low == pytest.approx(max(normal.min(), -high))
    even = generator.uniform(0, 1, 200_000)
    assert entropy_range(spread_of(even))[1] > 0.95


def test_one_value_alone_is_its_own_range() -> None:
    for choose in (entropy_range, lambda spread: percentile_range(spread, 99)):
        assert choose(Spread(3.0, 3.0)) == (3.0, 3.0)


def test_values_without_a_range_are_an_error_that_names_the_tensor() -> None:
    model = folded(graph([node("Log", "x", "y"), node("Relu", "y", "z")], {"x": [1, 2]}, ["z"], {}))
    for bad in (-1.0, 0.0):  # not a number, and infinite
        feeds = [{"x": np.array([[bad, 1.0]], np.float32)}, {"x": np.ones((1, 2), np.float32)}]
        with pytest.raises(ConversionError, match="y are not finite"):
            calibrate(model, {"y"}, lambda feeds=feeds: feeds, "minmax", 100)


# --- conversion ---


def test_an_int8_layer_computes_what_the_rule_of_quantization_says() -> None:
    """x = scale (q - zero), weights by channel with zero 0, rounding to even: in numpy, by the standard."""
    kernel = weights(3, 4, 1, 1, seed=1)
    model = folded(
        graph([node("Conv", "x w", "y", kernel_shape=[1, 1])], {"x": [1, 4, 2, 2]}, ["y"], {"w": kernel})
    )
    ranges = {"x": (-2.0, 3.0), "y": (-8.0, 8.0)}
    pixels = np.random.default_rng(2).uniform(-2, 3, (1, 4, 2, 2)).astype(np.float32)
    actual = run_graph(to_int8(model, make_plan(model, [], {}), ranges, reduce_range=False), x=pixels)

    def rounded(values: np.ndarray, low: float, high: float) -> np.ndarray:
        scale = (high - low) / 255
        zero = np.rint(-low / scale)
        return (np.clip(np.rint(values / scale) + zero, 0, 255) - zero) * scale

    scales = np.abs(kernel).reshape(3, -1).max(axis=1) / 127
    grid = np.rint(kernel[:, :, 0, 0] / scales[:, None]) * scales[:, None]
    expected = rounded(np.einsum("oc,nchw->nohw", grid, rounded(pixels, -2, 3)), -8, 8)
    # A value halfway between two steps may fall to either.
    assert np.abs(actual - expected).max() <= 16 / 255 + 1e-5
    assert np.abs(actual - expected).mean() < 0.1 * 16 / 255


@pytest.mark.parametrize("reduce_range", [True, False])
def test_a_block_in_int8_predicts_nearly_as_in_float_at_any_batch(reduce_range: bool) -> None:
    model = folded(block())
    plan = make_plan(model, [], {})
    feeds = [{"x": weights(1, 4, 8, 8, seed=seed)} for seed in range(20)]
    ranges = calibrate(model, watched_tensors(model, plan), lambda: feeds, "minmax", 100)
    result = to_int8(model, plan, ranges, reduce_range=reduce_range)
    onnx.checker.check_model(result, full_check=True)
    many = np.concatenate([feed["x"] for feed in feeds])
    wanted, given = run_graph(model, x=many), run_graph(result, x=many)
    assert 0 < np.abs(wanted - given).max() < 0.05
    assert given[:1] == pytest.approx(run_graph(result, x=many[:1]), abs=1e-6)


# --- the search ---


def search(costs: dict[str, float], max_drop: float) -> tuple[list[str], list[int]]:
    """Searches where the loss is the sum of the costs of the layers in int8."""
    trials: list[int] = []

    def drop_with(kept: Sequence[str]) -> float:
        trials.append(len(kept))
        return sum(cost for name, cost in costs.items() if name not in kept)

    found = find_float_layers(list(costs), drop_with, lambda: costs, max_drop)
    assert found.drop == pytest.approx(drop_with(found.kept))
    return found.kept, trials[:-1]


@pytest.mark.parametrize("guilty", [0, 1, 2, 3, 5, 6, 11])
def test_the_search_keeps_the_fewest_layers_in_float(guilty: int) -> None:
    costs = {f"layer{number}": 0.0001 for number in range(40)}
    bad = {f"layer{3 * number}": 0.1 + number for number in range(guilty)}
    kept, trials = search({**costs, **bad}, max_drop=0.01)
    assert set(kept) == set(bad)
    assert len(trials) <= 10


def test_costs_are_not_measured_where_int8_is_good_enough() -> None:
    found = find_float_layers(["a"], lambda kept: 0.0, lambda: pytest.fail("measured"), 0.01)
    assert found.kept == []


@pytest.mark.parametrize("count", [1, 2, 9])
def test_everything_in_float_is_no_solution(count: int) -> None:
    costs = dict.fromkeys(map(str, range(count)), 1.0)
    with pytest.raises(ConversionError, match=r"quantize\.max_drop=0\.01"):
        search(costs, max_drop=0.01)


# --- the processor ---


@pytest.mark.parametrize(
    ("flags", "machine", "int8", "overflows"),
    [
        ("fpu avx2", "x86_64", "", True),
        ("fpu avx2 avx512f avx512bw", "x86_64", "", True),
        ("fpu avx2 avx512f avx512_vnni", "x86_64", "AVX-512 VNNI", False),
        ("fpu avx2 avx_vnni", "AMD64", "AVX-VNNI", False),
        ("fp asimd asimddp", "aarch64", "", False),
    ],
)
def test_the_processor_says_whether_int8_overflows(
    flags: str, machine: str, int8: str, overflows: bool, tmp_path: Path
) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text(f"processor\t: 0\nmodel name\t: A CPU\nflags\t\t: {flags}\n\nprocessor\t: 1\n")
    found = this_processor(info, machine)
    assert (found.name, found.int8, found.overflows) == ("A CPU", int8, overflows)
    assert "A CPU" in found.text()


def test_an_unknown_x86_processor_is_taken_to_overflow(tmp_path: Path) -> None:
    assert this_processor(tmp_path / "none", "AMD64").overflows
    assert not this_processor(tmp_path / "none", "arm64").overflows


def test_a_network_without_weights_has_nothing_to_quantize() -> None:
    assert quantizable_layers(graph([node("Relu", "x", "y")], {"x": [1, 2]}, ["y"], {})) == []
