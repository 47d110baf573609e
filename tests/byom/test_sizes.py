"""Arithmetic on sizes: the numbers of ONNX's reference implementation, whether sizes are open or known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator
from torch import fx

from tao_like.byom.building import host
from tao_like.byom.building.sizes import Arithmetic, is_known, items_of, on_sizes, tensor_of

SHAPE = (3, 5, 4)
"""Sizes that the open questions ask for."""
WHOLE, LIST = np.array(7), np.array([6, -7, 0, 2])
TABLE: dict[str, tuple[str, list[Any], dict[str, Any]]] = {
    "Add": ("Add", [LIST, WHOLE], {}),
    "Sub": ("Sub", [LIST, np.array([1, 2, 3, 4])], {}),
    "Mul": ("Mul", [LIST, LIST], {}),
    "Div towards zero": ("Div", [LIST, np.array([4, 2, 3, -1])], {}),
    "Div of floats": ("Div", [np.array([1.0, 3.0]), np.array([4.0, -2.0])], {}),
    "Mod": ("Mod", [np.array([7, 8, 9]), np.array([4, 4, 4])], {}),
    "Neg": ("Neg", [LIST], {}),
    "Floor": ("Floor", [np.array([1.5, -1.5])], {}),
    "Ceil": ("Ceil", [np.array([1.5, -1.5])], {}),
    "Sqrt": ("Sqrt", [np.array([16.0, 2.25])], {}),
    "Equal": ("Equal", [LIST, np.array([6, 7, 0, 1])], {}),
    "Less": ("Less", [LIST, np.array([6, 7, 1, 1])], {}),
    "LessOrEqual": ("LessOrEqual", [LIST, np.array([6, 7, -1, 1])], {}),
    "Greater": ("Greater", [LIST, np.array([6, 7, -1, 1])], {}),
    "GreaterOrEqual": ("GreaterOrEqual", [LIST, np.array([6, 7, 1, 1])], {}),
    "Where": ("Where", [np.array([True, False]), np.array([1, 2]), np.array([3, 4])], {}),
    "Not": ("Not", [np.array([True, False])], {}),
    "And": ("And", [np.array([True, False]), np.array([True, True])], {}),
    "Or": ("Or", [np.array([True, False]), np.array([False, False])], {}),
    "Pow": ("Pow", [np.array([3, -2]), np.array(3)], {}),
    "Min": ("Min", [LIST, np.array([1, 1, 1, 1]), np.array([0, 9, 9, 9])], {}),
    "Max": ("Max", [LIST, np.array([1, 1, 1, 1])], {}),
    "Sum of floats": ("Sum", [np.array([1.5, 2.0]), np.array([0.5, 1.0])], {}),
    "Identity": ("Identity", [LIST], {}),
    "Cast to float": ("Cast", [LIST], {"to": TensorProto.FLOAT}),
    "Cast to whole": ("Cast", [np.array([1.9, -1.9])], {"to": TensorProto.INT64}),
    "Cast to truth": ("Cast", [LIST], {"to": TensorProto.BOOL}),
    "Concat": ("Concat", [LIST, np.array([8])], {"axis": 0}),
    "Gather": ("Gather", [LIST, np.array([-1, 0])], {"axis": 0}),
    "Gather of one": ("Gather", [LIST, np.array(1)], {}),
    "Slice": ("Slice", [LIST, np.array([1]), np.array([99]), np.array([0]), np.array([2])], {}),
    "Slice without axes": ("Slice", [LIST, np.array([-3]), np.array([-1])], {}),
    "Slice backward": ("Slice", [LIST, np.array([-1]), np.array([-9]), np.array([0]), np.array([-1])], {}),
    "Unsqueeze": ("Unsqueeze", [LIST, np.array([0])], {}),
    "Squeeze": ("Squeeze", [np.array([[1], [2]]), np.array([1])], {}),
    "Squeeze of all": ("Squeeze", [np.array([[4]])], {}),
    "Reshape": ("Reshape", [LIST, np.array([2, -1])], {}),
    "Reshape with zero": ("Reshape", [LIST.reshape(2, 2), np.array([0, 2, 1])], {}),
    "Transpose": ("Transpose", [LIST.reshape(2, 2)], {"perm": [1, 0]}),
    "Expand": ("Expand", [WHOLE, np.array([3])], {}),
    "Tile": ("Tile", [np.array([1, 2]), np.array([3])], {}),
    "Split": ("Split", [LIST, np.array([1, 3])], {}),
    "ReduceProd": ("ReduceProd", [np.array([2, 3, 4])], {"keepdims": 0}),
    "ReduceSum": ("ReduceSum", [LIST, np.array([0])], {}),
    "ReduceSum of no axes": ("ReduceSum", [LIST], {"noop_with_empty_axes": 1}),
    "ReduceMin": ("ReduceMin", [LIST], {}),
    "ReduceMax": ("ReduceMax", [LIST], {"keepdims": 1}),
}
UNDONE: dict[str, tuple[str, list[Any], dict[str, Any]]] = {
    "no operation on sizes": ("Conv", [LIST], {}),
    "a large power": ("Pow", [LIST, np.array(9)], {}),
    "a broken power": ("Pow", [LIST, np.array(0.5)], {}),
    "an unknown type": ("Cast", [LIST], {"to": TensorProto.STRING}),
    "a split by count": ("Split", [LIST], {"num_outputs": 2}),
    "more than a shape": ("Expand", [WHOLE, np.array([65])], {}),
    "many copies": ("Tile", [LIST, np.array([20])], {}),
    "a table": ("ReduceMax", [LIST.reshape(2, 2)], {}),
    "an axis that is none": ("Concat", [LIST, LIST], {"axis": 3}),
    "division by zero": ("Div", [LIST, np.array(0)], {}),
    "a missing input": ("Add", [LIST, None], {}),
    "one input": ("Gather", [LIST], {}),
}


def items(values: Any) -> Any:
    return None if values is None else items_of(values.reshape(-1).tolist(), values.shape)


def reference(op: str, inputs: list[Any], attributes: dict[str, Any]) -> list[np.ndarray]:
    names = [f"x{index}" for index in range(len(inputs))]
    outputs = ["y0", "y1"] if op == "Split" else ["y0"]
    node = helper.make_node(op, names, outputs, **attributes)
    given = [values.astype(np.float32) if values.dtype == np.float64 else values for values in inputs]
    types = [helper.np_dtype_to_tensor_dtype(values.dtype) for values in given]
    graph = helper.make_graph(
        [node],
        "one",
        [
            helper.make_tensor_value_info(name, type_, values.shape)
            for name, type_, values in zip(names, types, given, strict=True)
        ],
        [helper.make_tensor_value_info(name, TensorProto.UNDEFINED, None) for name in outputs],
    )
    opset = 17 if op.startswith("Reduce") and op != "ReduceSum" else 18
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    return ReferenceEvaluator(model).run(None, dict(zip(names, given, strict=True)))


@pytest.mark.parametrize("name", TABLE)
def test_known_numbers_give_what_the_standard_gives(name: str) -> None:
    op, inputs, attributes = TABLE[name]
    found = on_sizes(Arithmetic(fx.Graph()), op, [items(values) for values in inputs], attributes)
    expected = reference(op, inputs, attributes)
    assert found is not None
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        assert is_known(ours)
        assert tensor_of(ours, None).shape == theirs.shape
        np.testing.assert_allclose(np.array(ours.tolist()), theirs, rtol=1e-6)


@pytest.mark.parametrize("name", UNDONE)
def test_what_is_no_arithmetic_on_sizes_is_left_to_tensors(name: str) -> None:
    op, inputs, attributes = UNDONE[name]
    assert on_sizes(Arithmetic(fx.Graph()), op, [items(values) for values in inputs], attributes) is None


# --- open sizes ---

OPEN: dict[str, tuple[str, list[Any], dict[str, Any]]] = {
    **{name: TABLE[name] for name in ("Sub", "Mul", "Neg", "Min", "Max", "Where", "Equal", "ReduceProd")},
    **{name: TABLE[name] for name in ("Concat", "Gather", "Slice backward", "Split", "Reshape", "Tile")},
    **{name: TABLE[name] for name in ("Cast to float", "Cast to whole", "Cast to truth", "Pow")},
    "Div": ("Div", [np.array([7, 9]), np.array([2, 4])], {}),
    "Sqrt": ("Sqrt", [np.array([16, 25])], {}),
    "Less": ("Less", [np.array([3, 9]), np.array([4, 4])], {}),
    "Greater": ("Greater", [np.array([3, 9]), np.array([4, 4])], {}),
    "LessOrEqual": ("LessOrEqual", [np.array([3, 9]), np.array([3, 4])], {}),
    "GreaterOrEqual": ("GreaterOrEqual", [np.array([3, 9]), np.array([3, 4])], {}),
    "Mod": ("Mod", [np.array([7, 9]), np.array([2, 4])], {}),
}


@pytest.mark.parametrize("name", OPEN)
def test_open_sizes_are_computed_when_the_network_runs(name: str) -> None:
    """The first item of the first input becomes a size of the network's input."""
    op, inputs, attributes = OPEN[name]
    first = inputs[0].reshape(-1)
    graph = fx.Graph()
    tensor = graph.placeholder("x")
    arithmetic = Arithmetic(graph)
    size = arithmetic.size(tensor, 1)
    values = [items(each) for each in inputs]
    if name == "Where":
        values[0].reshape(-1)[0] = arithmetic(host.equal, size, 5)
        first = np.array([5])
    elif name == "Cast to whole":
        values[0].reshape(-1)[0] = arithmetic(host.multiply, size, 0.3)
        first, inputs = np.array([6]), [np.array([6 * 0.3, -1.9])]
    else:
        # A size is not negative, so that this number is a size and what is lacking.
        values[0].reshape(-1)[0] = arithmetic(host.add, size, int(first[0]) - 5)
        first = np.array([5])
    found = on_sizes(arithmetic, op, values, attributes)
    assert found is not None
    assert not all(map(is_known, found))
    graph.output([list(each.flat) for each in found])
    graph.lint()
    computed = fx.GraphModule({}, graph)(torch.zeros(1, int(first[0])))
    for ours, theirs in zip(computed, reference(op, inputs, attributes), strict=True):
        assert ours == pytest.approx(theirs.reshape(-1).tolist())


def test_an_index_that_is_open_is_left_to_tensors() -> None:
    graph = fx.Graph()
    arithmetic = Arithmetic(graph)
    size = items_of([arithmetic.size(graph.placeholder("x"), 0)], (1,))
    for op, inputs in (("Gather", [items(LIST), size]), ("Slice", [items(LIST), size, size])):
        assert on_sizes(arithmetic, op, inputs, {}) is None


def test_what_follows_without_the_size_is_settled_at_once() -> None:
    graph = fx.Graph()
    arithmetic = Arithmetic(graph)
    tensor = graph.placeholder("x")
    size = arithmetic.size(tensor, 0)
    assert arithmetic.size(tensor, 0) is size  # one node for one question
    for function, other, result in (
        (host.add, 0, size),
        (host.subtract, 0, size),
        (host.multiply, 1, size),
        (host.divide_whole, 1, size),
        (host.larger, 0, size),
        (host.equal, -1, False),
        (host.less, -1, False),
        (host.less_or_equal, -2, False),
        (host.greater, -1, True),
        (host.greater_or_equal, -1, True),
        (host.equal, size, True),
        (host.subtract, size, 0),
        (host.smaller, size, size),
        (host.larger, size, size),
    ):
        assert arithmetic(function, size, other) is result
    assert arithmetic(host.multiply, 1, size) is size
    assert arithmetic(host.to_whole, size) is size
    assert arithmetic(host.choose, arithmetic(host.equal, size, 3), 4, 4) == 4
    assert arithmetic(host.choose, True, size, 4) is size
    assert arithmetic(host.choose, False, size, 4) == 4
    below = arithmetic(host.subtract, size, 3)  # may be negative
    assert isinstance(arithmetic(host.larger, below, 0), fx.Node)
    assert isinstance(arithmetic(host.equal, below, -1), fx.Node)


# --- the functions, on numbers, and on tensors as tracing has them ---


@pytest.mark.parametrize(
    ("function", "numbers", "expected"),
    [
        (host.add, (2, 3), 5),
        (host.subtract, (2, 3), -1),
        (host.multiply, (2, 3), 6),
        (host.divide, (3.0, 2.0), 1.5),
        (host.divide_whole, (7, 2), 3),
        (host.modulo, (7, 4), 3),
        (host.negate, (7,), -7),
        (host.floor, (1.5,), 1.0),
        (host.ceil, (1.5,), 2.0),
        (host.root, (16,), 4.0),
        (host.equal, (2, 2), True),
        (host.less, (2, 3), True),
        (host.greater, (2, 3), False),
        (host.less_or_equal, (3, 3), True),
        (host.greater_or_equal, (2, 3), False),
        (host.choose, (True, 2, 3), 2),
        (host.choose, (False, 2, 3), 3),
        (host.smaller, (2, 3), 2),
        (host.larger, (2, 3), 3),
        (host.negation, (True,), False),
        (host.both, (True, False), False),
        (host.either, (True, False), True),
        (host.to_float, (2,), 2.0),
        (host.to_whole, (2.9,), 2),
        (host.to_truth, (2,), True),
    ],
)
def test_a_size_is_a_number_or_a_tensor(function: Any, numbers: tuple[Any, ...], expected: Any) -> None:
    assert function(*numbers) == expected
    traced = function(*(torch.tensor(number) for number in numbers))
    assert isinstance(traced, torch.Tensor)
    assert traced.item() == expected
    assert type(traced.item()) is type(expected)


def test_sizes_become_tensors_and_numbers_again() -> None:
    values = torch.zeros(SHAPE)
    assert host.count_of(values) == 60
    assert host.shape_of(values, 1).tolist() == [5, 4]
    assert host.shape_of(values, 0, -1).tolist() == [3, 5]
    assert host.to_tensor([[1, 2]]).dtype == torch.int64
    assert host.to_tensor(torch.ones(2), torch.int64).dtype == torch.int64
    assert host.to_tensor(torch.ones(2)).dtype == torch.float32
    mixed = host.to_tensor([[torch.tensor(3), 4], [5, torch.tensor(6)]])
    assert host.to_numbers(mixed) == [[3, 4], [5, 6]]


def test_a_symbolic_size_stays_open() -> None:
    class Halved(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            rows = host.smaller(host.to_whole(host.size_of(x, 0)), host.larger(host.size_of(x, 1), 2))
            return x[: host.divide_whole(rows, 2)]

    rows, columns = torch.export.Dim("rows", min=4), torch.export.Dim("columns", min=4)
    exported = torch.export.export(
        Halved(), (torch.zeros(8, 6),), dynamic_shapes={"x": {0: rows, 1: columns}}
    )
    for shape in ((8, 6), (12, 30), (30, 10)):
        assert exported.module()(torch.zeros(shape)).shape[0] == min(shape) // 2
