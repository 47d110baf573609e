"""The proof passes what is right in its own rounding, and nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from click.testing import CliRunner
from foreign import classifier, model, random_tensor, saved, tensor
from onnx import TensorProto, helper, numpy_helper

from tao_like.bundle import read_bundle
from tao_like.byom.conversion import convert
from tao_like.byom.importing import import_file
from tao_like.byom.proof.comparison import dummy_inputs
from tao_like.byom.proof.exact import doubled, exactly
from tao_like.byom.proof.judging import channel_axis, judged
from tao_like.cli.byom import byom
from tao_like.errors import ConversionError


def verdict(expected: np.ndarray, actual: np.ndarray, exact: np.ndarray | None = None) -> float:
    """The difference as a fraction of what is allowed."""
    return judged("y", expected, actual, exact, batch=1, what="noise", tolerance=1e-4).of_allowed


def test_a_wrong_score_is_not_hidden_by_large_boxes() -> None:
    expected = np.random.default_rng(0).random((1, 85, 400))
    expected[:, :4] *= 320
    wrong = expected.copy()
    wrong[0, 40, 7] += 0.03
    assert np.abs(wrong - expected).max() / expected.max() < 1e-4
    assert verdict(expected, wrong) > 100
    turned = judged(
        "y", expected.swapaxes(1, 2), wrong.swapaxes(1, 2), None, batch=1, what="noise", tolerance=1e-4
    )
    assert (turned.axis, turned.channel) == (2, 40)
    assert verdict(expected, expected * (1 + 5e-5)) < 1


def test_an_output_that_is_tiny_everywhere_may_differ_by_what_rounding_does() -> None:
    exact = np.full((1, 1, 8, 8), 1e-6)
    actual, expected = exact * (1 + 3e-4), exact * (1 - 3e-4)
    assert verdict(expected, actual, exact) < 1
    assert verdict(expected, actual) > 1
    assert verdict(expected * 1.1, actual, exact) > 1


def test_what_is_no_number_is_not_the_same() -> None:
    values = np.ones((2, 3))
    assert verdict(values, np.where(np.eye(2, 3), np.nan, values)) == float("inf")
    with pytest.raises(ConversionError, match="no number"):
        verdict(values * np.nan, values * np.nan)


@pytest.mark.parametrize(
    ("shape", "axis"), [((2, 10), None), ((2, 8, 5, 5), 1), ((1, 1, 5, 5), None), ((1, 400, 85), 2)]
)
def test_the_axis_of_channels(shape: tuple[int, ...], axis: int | None) -> None:
    assert channel_axis(shape) == axis


def halved(proto: onnx.ModelProto) -> onnx.ModelProto:
    """A model in half precision, weights, inputs and outputs."""
    half = onnx.ModelProto()
    half.CopyFrom(proto)
    for item in half.graph.initializer:
        if item.data_type == TensorProto.FLOAT:
            item.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(item).astype(np.float16), item.name))
    for value in (*half.graph.input, *half.graph.output):
        value.type.tensor_type.elem_type = TensorProto.FLOAT16
    return half


def test_a_file_in_half_precision_is_not_called_wrong(tmp_path: Path) -> None:
    result = import_file(saved(halved(classifier()), tmp_path / "half.onnx"))
    assert result.largest_difference < 1e-2
    assert all(item.rounding is not None for item in result.comparisons)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_no_numbers_are_refused(value: float, tmp_path: Path) -> None:
    proto = classifier()
    weight = next(item for item in proto.graph.initializer if item.name == "deep.weight")
    values = numpy_helper.to_array(weight).copy()
    values[0, 0, 0, 0] = value
    weight.CopyFrom(numpy_helper.from_array(values, "deep.weight"))
    with pytest.raises(ConversionError, match=r"broken\.onnx.*deep\.weight.*1 value") as caught:
        import_file(saved(proto, tmp_path / "broken.onnx"))
    assert caught.value.exit_code == 2


def test_images_of_the_proof_have_structure_and_bytes_their_whole_range() -> None:
    nodes = [
        helper.make_node("Cast", ["x"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Relu", ["f"], ["y"]),
    ]
    proto = model(nodes, {"x": ["n", 3, 64, 64]}, ["y"])
    proto.graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8
    imported = convert(proto)
    values = dummy_inputs(imported.graph, {"x": (3, 64, 64)}, 3)["x"]
    assert values.min() == 0
    assert values.max() == 255
    plain = convert(model([helper.make_node("Relu", ["x"], ["y"])], {"x": ["n", 3, 64, 64]}, ["y"]))
    images = dummy_inputs(plain.graph, {"x": (3, 64, 64)}, 3)["x"]
    steps = [float(np.abs(np.diff(image, axis=-1)).mean()) for image in images]
    # Two of three have flat areas: neighbours are alike.
    assert steps[1] < 0.6 * steps[0]
    assert steps[2] < 0.6 * steps[0]


def test_indices_reach_every_row_of_their_table() -> None:
    nodes = [helper.make_node("Gather", ["table", "x"], ["e"]), helper.make_node("Relu", ["e"], ["y"])]
    proto = model(nodes, {"x": ["n", 50]}, ["y"], [random_tensor("table", 9, 4)])
    proto.graph.input[0].type.tensor_type.elem_type = TensorProto.INT64
    values = dummy_inputs(convert(proto).graph, {"x": (50,)}, 3)["x"]
    assert set(values.flatten().tolist()) == set(range(9))


def test_a_network_in_double_precision_also_where_its_code_names_a_type() -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("Cast", ["h"], ["c"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["c", "scale"], ["y"]),
    ]
    module = convert(
        model(nodes, {"x": ["n", 5]}, ["y"], [random_tensor("w", 5, 6), tensor("scale", np.arange(6) / 7)])
    ).module
    values = torch.rand(3, 5)
    result = exactly(doubled(module), [values])
    assert result is not None
    weight = next(value for value in module.parameters() if value.shape == (6, 5)).double()
    expected = (values.double() @ weight.t()) * (torch.arange(6) / 7).double()
    assert result[0].dtype == torch.float64
    torch.testing.assert_close(result[0], expected, rtol=1e-12, atol=1e-12)


def test_the_tolerance_of_the_command_line_is_recorded(tmp_path: Path) -> None:
    path = saved(classifier(), tmp_path / "model.onnx")
    given = ["convert", "-m", str(path), "-o", str(tmp_path / "m.tltb"), "--tolerance", "0.002"]
    result = CliRunner().invoke(byom, given)
    assert result.exit_code == 0, result.output
    record = read_bundle(tmp_path / "m.tltb").history[0]
    assert record["tolerance"] == 0.002
    assert record["compared_at"] == {"x": [3, 32, 32]}


@pytest.mark.parametrize("shift", [-6.0, -9.0, -14.0, -20.0])
def test_sigmoids_near_zero_are_not_called_wrong(shift: float, tmp_path: Path) -> None:
    """onnxruntime's sigmoid is off by an eight-millionth, also where it is smaller than that."""
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["h"]),
        helper.make_node("Sigmoid", ["h"], ["y"]),
    ]
    constants = [random_tensor("w", 1, 3, 3, 3), tensor("b", [shift])]
    path = saved(model(nodes, {"x": ["n", 3, 64, 64]}, ["y"], constants), tmp_path / "maps.onnx")
    result = import_file(path)
    assert max(item.absolute for item in result.comparisons) < 5e-7
    assert any("--pictures" in note for note in result.report["notes"]) == (result.largest_difference > 1e-4)


def test_a_wrong_score_of_a_sigmoid_is_still_found() -> None:
    expected = np.full((1, 1, 8, 8), 1e-3)
    for error, passes in ((1.2e-7, True), (1e-6, False)):
        actual = expected.copy()
        actual[0, 0, 2, 3] += error
        found = judged(
            *("y", expected, actual, actual),
            coarse=actual + 1.5e-8,
            batch=1,
            what="noise",
            tolerance=1e-4,
        )
        assert (found.of_allowed <= 1) == passes
