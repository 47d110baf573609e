"""Which tables of a foreign file train: by what comes of them, not by how they look."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from foreign import model, random_tensor, tensor
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

from tao_like.byom import convert
from tao_like.byom.accounting import account
from tao_like.byom.building.roles import is_bins, is_grid
from tao_like.byom.conversion import Imported

NODE = helper.make_node
RANDOM = np.random.default_rng(0)


def roles(imported: Imported, name: str) -> set[str]:
    """What an initializer is for."""
    return {use.role for use in imported.uses if use.name == name}


def trained(imported: Imported) -> int:
    """Number of values that train."""
    return sum(parameter.numel() for parameter in imported.module.parameters())


def cells(side: int) -> Tensor:
    """Columns and rows of the cells of a square map, one behind the other."""
    rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    return torch.stack([columns, rows], -1).reshape(-1, 2).float()


@pytest.mark.parametrize(
    "grid",
    [
        cells(4),
        cells(20).T,
        torch.cat([cells(40), cells(20), cells(10)]).T,
        torch.cat([torch.full((6400,), 8.0), torch.full((1600,), 16.0), torch.full((400,), 32.0)])[None],
        torch.linspace(-1, 1, 7),
        torch.arange(6.0).reshape(1, 6, 1).expand(1, 6, 3),
    ],
)
def test_what_counts_positions_is_a_grid(grid: Tensor) -> None:
    assert is_grid(grid)


@pytest.mark.parametrize(
    "weights",
    [
        torch.from_numpy(RANDOM.integers(-127, 128, (16, 24)).astype(np.float32)),
        torch.from_numpy(np.sign(RANDOM.standard_normal((8, 32))).astype(np.float32)),
        torch.from_numpy(RANDOM.choice([-1.0, 0.0, 0.0, 1.0], (64, 9)).astype(np.float32)),
        torch.tensor([3.0, -1.0, 2.0, 5.0, 0.0]),
        torch.ones(8),
    ],
)
def test_whole_numbers_that_do_not_count_are_no_grid(weights: Tensor) -> None:
    assert not is_grid(weights)


def test_a_table_of_whole_numbers_trains_and_is_in_the_share() -> None:
    table = RANDOM.integers(-127, 128, (1, 9, 6))
    nodes = [NODE("Add", ["x", "table"], ["a"]), NODE("MatMul", ["a", "w"], ["y"])]
    proto = model(nodes, {"x": ["n", 9, 6]}, ["y"], [tensor("table", table), random_tensor("w", 6, 2)])
    imported = convert(proto)
    assert roles(imported, "table") == {"embedding weight"}
    assert account(imported)["trainable_share"] == 1.0
    assert trained(imported) == 54 + 12


def test_prior_boxes_do_not_train_and_count_as_such() -> None:
    """The decoding of SSD (Liu et al. 2016): centers in sizes of the priors, sizes as their exponent."""
    nodes = [
        NODE("MatMul", ["x", "w"], ["boxes"]),
        NODE("Split", ["boxes"], ["offsets", "sizes"], axis=2, num_outputs=2),
        NODE("Slice", ["priors", "zero", "two", "last"], ["centers"]),
        NODE("Slice", ["priors", "two", "four", "last"], ["extents"]),
        NODE("Mul", ["offsets", "extents"], ["scaled"]),
        NODE("Add", ["scaled", "centers"], ["middles"]),
        NODE("Exp", ["sizes"], ["factors"]),
        NODE("Mul", ["factors", "extents"], ["grown"]),
        NODE("Concat", ["middles", "grown"], ["y"], axis=2),
    ]
    constants = [
        random_tensor("w", 5, 4),
        tensor("priors", RANDOM.random((1, 12, 4))),
        *(tensor(name, [value], np.int64) for name, value in (("zero", 0), ("two", 2), ("four", 4))),
        tensor("last", [2], np.int64),
    ]
    imported = convert(model(nodes, {"x": ["n", 12, 5]}, ["y"], constants, opset=18))
    assert roles(imported, "priors") == {"grid"}
    assert trained(imported) == 20
    assert account(imported)["trainable_share"] == 20 / (20 + 48)


def test_the_mean_of_bins_does_not_train() -> None:
    bins = tensor("bins", np.arange(16.0).reshape(1, 16, 1, 1))
    nodes = [
        NODE("Conv", ["x", "w"], ["h"]),
        NODE("Softmax", ["h"], ["p"], axis=1),
        NODE("Conv", ["p", "bins"], ["y"]),
    ]
    imported = convert(model(nodes, {"x": ["n", 3, 4, 9]}, ["y"], [random_tensor("w", 16, 3, 1, 1), bins]))
    assert roles(imported, "bins") == {"grid"}
    assert trained(imported) == 48
    assert not is_bins(torch.arange(16.0).reshape(4, 4, 1, 1))


def test_a_position_table_behind_a_reshape_trains() -> None:
    """The table is cut to as many positions as the input has, so that its shape follows from the input."""
    nodes = [
        NODE("Shape", ["x"], ["shape"]),
        NODE("Slice", ["shape", "one", "two"], ["length"]),
        NODE("Concat", ["one", "length", "six"], ["wanted"], axis=0),
        NODE("Slice", ["table", "zero", "length", "zero"], ["cut"]),
        NODE("Reshape", ["cut", "wanted"], ["positions"]),
        NODE("Add", ["x", "positions"], ["a"]),
        NODE("MatMul", ["a", "w"], ["y"]),
    ]
    numbers = {"zero": 0, "one": 1, "two": 2, "six": 6}
    constants = [
        random_tensor("table", 9, 6),
        random_tensor("w", 6, 2, seed=1),
        *(tensor(name, [value], np.int64) for name, value in numbers.items()),
    ]
    imported = convert(model(nodes, {"x": ["n", "length", 6]}, ["y"], constants))
    assert roles(imported, "table") == {"embedding weight"}
    assert trained(imported) == 54 + 12
    imported.module(torch.randn(2, 5, 6)).sum().backward()
    assert all(parameter.grad is not None for parameter in imported.module.parameters())


def test_weights_that_a_branch_uses_train() -> None:
    def branch(name: str) -> object:
        node = NODE("Conv", ["x", name], [f"{name}.out"])
        out = helper.make_tensor_value_info(f"{name}.out", TensorProto.FLOAT, None)
        return helper.make_graph([node], name, [], [out])

    nodes = [
        NODE("ReduceSum", ["x"], ["total"], keepdims=0),
        NODE("Greater", ["total", "nothing"], ["positive"]),
        NODE("If", ["positive"], ["y"], then_branch=branch("left"), else_branch=branch("right")),
    ]
    constants = [
        random_tensor("left", 4, 3, 3, 3),
        random_tensor("right", 4, 3, 3, 3, seed=1),
        numpy_helper.from_array(np.float32(0), "nothing"),
    ]
    imported = convert(model(nodes, {"x": [1, 3, 8, 8]}, ["y"], constants))
    assert roles(imported, "left") == roles(imported, "right") == {"weight"}
    assert trained(imported) == 2 * 4 * 3 * 9
    imported.module(torch.ones(1, 3, 8, 8)).sum().backward()
    grads = [parameter.grad for parameter in imported.module.parameters()]
    assert sum(grad is not None and bool(grad.abs().sum() > 0) for grad in grads) == 1
