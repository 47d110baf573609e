"""Inputs beside an image: states with the batch elsewhere, single numbers, open sizes behind channels."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
import torch
from foreign import model, random_tensor, saved
from onnx import TensorProto, helper

from tao_like.byom.importing import import_file
from tao_like.errors import ConversionError


def recurrent(state: object = 6) -> onnx.ModelProto:
    """An RNN over (length, n, 5) whose first state (1, n, 6) is an input, and a number that scales it."""
    nodes = [
        helper.make_node("Transpose", ["x"], ["steps"], perm=[1, 0, 2]),
        helper.make_node("RNN", ["steps", "w", "r", "", "", "state"], ["all", "last"], hidden_size=6),
        helper.make_node("Mul", ["last", "scale"], ["y"]),
    ]
    constants = [random_tensor("w", 1, 6, 5), random_tensor("r", 1, 6, 6, seed=1)]
    inputs = {"x": ["n", "length", 5], "state": [1, "n", state], "scale": []}
    return model(nodes, inputs, ["y"], constants)


def test_states_and_single_numbers_are_told_from_the_batch(tmp_path: Path) -> None:
    result = import_file(saved(recurrent(), tmp_path / "rnn.onnx"), given_shapes={"x": (1, 7, 5)})
    assert result.shapes == {"x": (7, 5), "state": (1, 1, 6), "scale": ()}
    assert {item.batch for item in result.comparisons} == {1, 3}


def test_an_open_size_of_a_state_is_given(tmp_path: Path) -> None:
    file = saved(recurrent("hidden"), tmp_path / "rnn.onnx")
    with pytest.raises(ConversionError, match="state"):
        import_file(file)
    assert import_file(file, given_shapes={"state": (1, 1, 6)}).shapes["state"] == (1, 1, 6)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"hidden": (1,)}, "inputs are x, state, scale"),
        ({"state": (2, 6)}, "does not fit"),
        ({"x": (1, 7, 4)}, "says"),
    ],
)
def test_a_shape_that_the_file_contradicts_is_refused(
    given: dict[str, tuple[int, ...]], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ConversionError, match=message):
        import_file(saved(recurrent(), tmp_path / "rnn.onnx"), given_shapes=given)


def test_open_sizes_before_the_channels_are_height_and_width(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["t", "w"], ["y"]),
    ]
    proto = model(nodes, {"x": ["n", "h", "w", 3]}, ["y"], [random_tensor("w", 8, 3, 3, 3)])
    proto.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT
    file = saved(proto, tmp_path / "last.onnx")
    assert import_file(file, size=(20, 28)).shapes == {"x": (20, 28, 3)}
    assert import_file(file).shapes == {"x": (224, 224, 3)}


def test_the_batch_of_a_network_that_takes_steps_first(tmp_path: Path) -> None:
    """The first size is a length; what all inputs have in common is the batch."""
    nodes = [
        helper.make_node("LSTM", ["x", "w", "r", "", "", "h", "c"], ["all", "last", "cell"], hidden_size=5)
    ]
    constants = [random_tensor("w", 1, 20, 4), random_tensor("r", 1, 20, 5, seed=1)]
    inputs = {"x": ["steps", "n", 4], "h": [1, "n", 5], "c": [1, "n", 5]}
    proto = model(nodes, inputs, ["all", "last", "cell"], constants)
    result = import_file(saved(proto, tmp_path / "lstm.onnx"), given_shapes={"x": (7, 1, 4)})
    assert result.shapes == {"x": (7, 1, 4), "h": (1, 1, 5), "c": (1, 1, 5)}
    assert [item.batch for item in result.comparisons] == [1, 1, 1, 3, 3, 3]


def test_indices_that_count_from_the_end_of_a_table(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Cast", ["x"], ["whole"], to=TensorProto.INT32),
        helper.make_node("Sub", ["whole", "four"], ["ids"]),
        helper.make_node("Gather", ["table", "ids"], ["y"]),
    ]
    four = helper.make_tensor("four", TensorProto.INT32, [], [4])
    proto = model(nodes, {"x": ["n", 5]}, ["y"], [random_tensor("table", 9, 6), four])
    module = import_file(saved(proto, tmp_path / "ids.onnx")).imported.module
    table = next(module.parameters())
    assert torch.equal(module(torch.tensor([[0.0, 3.0, 4.0, 12.0]])), table[torch.tensor([[5, 8, 0, 8]])])
