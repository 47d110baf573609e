"""Activations."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from tao_like.byom.building.registry import converter, function_for
from tao_like.byom.building.views import NodeView, Value


@function_for("Softplus")
def softplus(values: Tensor) -> Tensor:
    """ln(1 + exp(x)), exactly also where torch's own becomes linear."""
    return torch.logaddexp(values, torch.zeros_like(values))


@function_for("ThresholdedRelu", alpha=1.0)
def thresholded_relu(values: Tensor, alpha: float) -> Tensor:
    """The value where it is above ``alpha``, else zero."""
    return torch.where(values > alpha, values, torch.zeros_like(values))


function_for("Relu")(functional.relu)
function_for("Sigmoid")(torch.sigmoid)
function_for("Tanh")(torch.tanh)
function_for("Softsign")(functional.softsign)
function_for("Mish")(functional.mish)
function_for("HardSwish")(functional.hardswish)
function_for("Elu", alpha=1.0)(functional.elu)
function_for("Celu", alpha=1.0)(functional.celu)
function_for("LeakyRelu", alpha=0.01)(functional.leaky_relu)


@function_for("Selu", alpha=1.6732632423543772, gamma=1.0507009873554805)
def scaled_elu(values: Tensor, alpha: float, gamma: float) -> Tensor:
    """SELU with the source's own constants."""
    return gamma * (functional.relu(values) + alpha * torch.clamp(torch.expm1(values), max=0))


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


@function_for("Shrink", bias=0.0, lambd=0.5)
def shrink(values: Tensor, bias: float, threshold: float) -> Tensor:
    """Moves values towards zero by ``bias``, and to zero within the threshold."""
    small = torch.zeros_like(values)
    low = torch.where(values < -threshold, (values + bias).to(values.dtype), small)
    return torch.where(values > threshold, (values - bias).to(values.dtype), low)


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


@function_for("Hardmax", since=13, axis=-1)
def hardmax(values: Tensor, axis: int) -> Tensor:
    """One at the first largest value along an axis, zero elsewhere."""
    indices = values.argmax(dim=axis, keepdim=True)
    return torch.zeros_like(values).scatter(axis, indices, torch.ones_like(values))


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
