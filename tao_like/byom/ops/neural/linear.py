"""Matrix products: linear layers where the file holds the matrix."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from tao_like.byom.building.registry import converter
from tao_like.byom.building.views import NodeView, Value
from tao_like.byom.ops.neural.convolution import fill, is_tied
from tao_like.errors import ConversionError


def general_product(
    left: Tensor, right: Tensor, add: Any, alpha: float, beta: float, turn_left: int, turn_right: int
) -> Tensor:
    """alpha A B + beta C, of matrices that may be turned."""
    product: Tensor = (left.t() if turn_left else left) @ (right.t() if turn_right else right)
    product = product if alpha == 1 else (alpha * product).to(product.dtype)
    if add is None:
        return product
    total: Tensor = product + (add if beta == 1 else (beta * add).to(product.dtype))
    return total


@converter("Gemm")
def gemm(node: NodeView) -> Value:
    """Matrix product with a sum: a linear layer where matrix and bias are constants."""
    alpha, beta = node.attribute("alpha", 1.0), node.attribute("beta", 1.0)
    turn_left, turn_right = node.attribute("transA", 0), node.attribute("transB", 0)
    matrix, bias = node.constant(1), node.constant(2)
    is_layer = matrix is not None and not turn_left and matrix.is_floating_point() and matrix.ndim == 2
    if not is_layer or (node.has(2) and not _is_bias(bias, matrix, turn_right)):
        add = node.input(2) if node.has(2) else None
        return node.call(
            general_product, node.input(0), node.input(1), add, alpha, beta, turn_left, turn_right
        )
    weight = node.weight(1) if turn_right else node.weight(1).t()
    vector = None
    if node.has(2):
        vector = (node.weight(2, "bias") * beta).reshape(-1).expand(weight.shape[0])
    return linear(node, weight * alpha, vector)


def _is_bias(bias: Tensor | None, matrix: Tensor | None, turned: int) -> bool:
    if bias is None or matrix is None:
        return False
    width = matrix.shape[0 if turned else 1]
    return bias.numel() in (1, width) and (bias.ndim == 0 or bias.shape[-1] == bias.numel())


def linear(node: NodeView, weight: Tensor, bias: Tensor | None) -> Value:
    """A linear layer with a weight (outputs, inputs)."""
    module = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
    fill(module, weight.contiguous(), bias)
    return node.module(module, node.input(0), tied=is_tied(weight))


@converter("MatMul")
def matmul(node: NodeView) -> Value:
    """Matrix product: a linear layer where the right one is a constant matrix."""
    matrix = node.constant(1)
    if matrix is not None and matrix.ndim == 2 and matrix.is_floating_point():
        weight = node.weight(1).t()
        # The search for patterns puts a bias there; MatMul itself has none.
        return linear(node, weight, node.weight(2, "bias").reshape(-1) if node.has(2) else None)
    return node.call(torch.matmul, node.input(0), node.input(1))


_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ,.-> ")


class Einsum(nn.Module):
    """Sum of products after an equation. The text stands in the module, never in code."""

    def __init__(self, equation: str) -> None:
        super().__init__()
        self.equation = equation

    def forward(self, *operands: Tensor) -> Tensor:
        """The sum of products."""
        return torch.einsum(self.equation, *operands)


@converter("Einsum")
def einsum(node: NodeView) -> Value:
    """Sum of products after an equation."""
    equation = node.attribute("equation", "")
    if not set(equation) <= _LETTERS:
        raise ConversionError("its equation holds signs that no equation has")
    return node.module(Einsum(equation.replace(" ", "")), *node.inputs())
