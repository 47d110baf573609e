"""Activations."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from tao_like.byom.building.registry import converter
from tao_like.byom.building.views import NodeView, Value


def softplus(values: Tensor) -> Tensor:
    """ln(1 + exp(x)), exactly also where torch's own becomes linear."""
    return torch.logaddexp(values, torch.zeros_like(values))


def thresholded_relu(values: Tensor, alpha: float) -> Tensor:
    """The value where it is above ``alpha``, else zero."""
    return torch.where(values > alpha, values, torch.zeros_like(values))


_PLAIN: dict[str, Any] = {
    "Relu": functional.relu,
    "Sigmoid": torch.sigmoid,
    "Tanh": torch.tanh,
    "Softsign": functional.softsign,
    "Softplus": softplus,
    "Mish": functional.mish,
    "HardSwish": functional.hardswish,
}
_WITH_ALPHA: dict[str, tuple[Any, float]] = {
    "Elu": (functional.elu, 1.0),
    "Celu": (functional.celu, 1.0),
    "LeakyRelu": (functional.leaky_relu, 0.01),
    "ThresholdedRelu": (thresholded_relu, 1.0),
}
"""Activations with one number, and what it is where the source leaves it out."""


@converter(*_PLAIN)
def plain_activation(node: NodeView) -> Value:
    """Activations without settings."""
    return node.call(_PLAIN[node.node.op], node.input(0))


@converter(*_WITH_ALPHA)
def activation_with_alpha(node: NodeView) -> Value:
    """Activations with one number."""
    function, usual = _WITH_ALPHA[node.node.op]
    return node.call(function, node.input(0), node.attribute("alpha", usual))


def scaled_elu(values: Tensor, alpha: float, gamma: float) -> Tensor:
    """SELU with the source's own constants."""
    return gamma * (functional.relu(values) + alpha * torch.clamp(torch.expm1(values), max=0))


@converter("Selu")
def selu(node: NodeView) -> Value:
    """Scaled exponential linear unit."""
    alpha = node.attribute("alpha", 1.6732632423543772)
    return node.call(scaled_elu, node.input(0), alpha, node.attribute("gamma", 1.0507009873554805))


def hard_sigmoid(values: Tensor, alpha: float, beta: float) -> Tensor:
    """max(0, min(1, alpha x + beta))."""
    return torch.clamp(values * alpha + beta, 0, 1)


@converter("HardSigmoid")
def convert_hard_sigmoid(node: NodeView) -> Value:
    """Hard sigmoid; torch's own where the constants are those of MobileNetV3."""
    alpha, beta = node.attribute("alpha", 0.2), node.attribute("beta", 0.5)
    if math.isclose(alpha, 1 / 6, rel_tol=1e-6) and beta == 0.5:
        return node.call(functional.hardsigmoid, node.input(0))
    return node.call(hard_sigmoid, node.input(0), alpha, beta)


def shrink(values: Tensor, bias: float, threshold: float) -> Tensor:
    """Moves values towards zero by ``bias``, and to zero within the threshold."""
    small = torch.zeros_like(values)
    low = torch.where(values < -threshold, (values + bias).to(values.dtype), small)
    return torch.where(values > threshold, (values - bias).to(values.dtype), low)


@converter("Shrink")
def convert_shrink(node: NodeView) -> Value:
    """Shrinkage."""
    return node.call(shrink, node.input(0), node.attribute("bias", 0.0), node.attribute("lambd", 0.5))


def gelu_of_tanh(values: Tensor) -> Tensor:
    """Gaussian error linear unit, approximated with tanh."""
    return functional.gelu(values, approximate="tanh")


@converter("Gelu")
def convert_gelu(node: NodeView) -> Value:
    """GELU, exact or by tanh."""
    by_tanh = node.attribute("approximate", "none") == "tanh"
    return node.call(gelu_of_tanh if by_tanh else functional.gelu, node.input(0))


def swish(values: Tensor, alpha: float) -> Tensor:
    """x sigmoid(alpha x)."""
    return values * torch.sigmoid(alpha * values)


@converter("Swish")
def convert_swish(node: NodeView) -> Value:
    """Swish, which is SiLU where alpha is one."""
    alpha = node.attribute("alpha", 1.0)
    return node.call(functional.silu, node.input(0)) if alpha == 1 else node.call(swish, node.input(0), alpha)


def prelu(values: Tensor, slope: Tensor) -> Tensor:
    """The value, times the slope where it is negative; the slope is broadcast as ONNX does."""
    if slope.ndim == 1 and values.ndim > 2 and slope.shape[0] == values.shape[1] != values.shape[-1]:
        # Before opset 7 a slope of one axis was per channel; some exporters still write it so.
        slope = slope.reshape(-1, *[1] * (values.ndim - 2))
    return torch.where(values < 0, values * slope, values)


@converter("PRelu")
def convert_prelu(node: NodeView) -> Value:
    """Rectifier with a trained slope."""
    slope = node.constant(1)
    if slope is not None and slope.is_floating_point() and _is_per_channel(slope):
        module = torch.nn.PReLU(slope.numel())
        module.weight = torch.nn.Parameter(node.weight(1).flatten().clone())
        return node.module(module, node.input(0))
    return node.call(prelu, node.input(0), node.input(1))


def _is_per_channel(slope: Tensor) -> bool:
    """Whether a slope is one number, or (C, 1, 1, ...)."""
    return slope.numel() == 1 or (slope.ndim > 1 and all(size == 1 for size in slope.shape[1:]))


def softmax_2d(values: Tensor, axis: int, log: bool) -> Tensor:
    """Softmax over all axes from ``axis`` on, as it was before opset 13."""
    flat = values.reshape(math.prod(values.shape[: axis % values.ndim]), -1)
    result = functional.log_softmax(flat, 1) if log else functional.softmax(flat, 1)
    return result.reshape(values.shape)


@converter("Softmax", "LogSoftmax")
def old_softmax(node: NodeView) -> Value:
    """Softmax before opset 13."""
    axis, rank = node.attribute("axis", 1), node.rank(0)
    if rank is not None and axis in (-1, rank - 1):
        return _softmax(node, -1)
    return node.call(softmax_2d, node.input(0), axis, node.node.op == "LogSoftmax")


@converter("Softmax", "LogSoftmax", since=13)
def convert_softmax(node: NodeView) -> Value:
    """Softmax along one axis."""
    return _softmax(node, node.attribute("axis", -1))


def _softmax(node: NodeView, axis: int) -> Value:
    function: Any = torch.log_softmax if node.node.op == "LogSoftmax" else torch.softmax
    return node.call(function, node.input(0), axis)


def hardmax(values: Tensor, axis: int) -> Tensor:
    """One at the first largest value along an axis, zero elsewhere."""
    indices = values.argmax(dim=axis, keepdim=True)
    return torch.zeros_like(values).scatter(axis, indices, torch.ones_like(values))


@converter("Hardmax", since=13)
def convert_hardmax(node: NodeView) -> Value:
    """Hardmax."""
    return node.call(hardmax, node.input(0), node.attribute("axis", -1))


def clip(values: Tensor, low: Any, high: Any) -> Tensor:
    """The values, at least ``low``, and then at most ``high``."""
    if values.dtype in (torch.uint16, torch.uint32, torch.uint64):
        return clip(values.long(), low, high).to(values.dtype)
    if low is not None:
        values = values.clamp(min=low)
    return values if high is None else values.clamp(max=high)


@converter("Clip")
def old_clip(node: NodeView) -> Value:
    """Clip with its limits as attributes."""
    return _clip(node, node.attribute("min"), node.attribute("max"))


@converter("Clip", since=11)
def convert_clip(node: NodeView) -> Value:
    """Clip with its limits as inputs."""
    low, high = (node.scalar(index) if node.has(index) else None for index in (1, 2))
    return _clip(node, low, high)


def _clip(node: NodeView, low: Any, high: Any) -> Value:
    if low == 0 and high == 6:
        return node.call(functional.relu6, node.input(0))
    return node.call(clip, node.input(0), low, high)
