"""Normalization layers. Scale and shift train, statistics do not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

from tao_like.byom.building.registry import converter, function_for
from tao_like.byom.building.views import NodeView, Value
from tao_like.byom.ops.neural.convolution import fill

_BATCH_NORMS: dict[int, Any] = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}


class BatchNormOfAnyRank(nn.BatchNorm2d):
    """Batch normalization (N, C, ...) of a value of which the number of axes is not known beforehand."""

    @override
    def _check_input_dim(self, input: Tensor) -> None:
        del input


def training_batch_norm(
    values: Tensor,
    scale: Tensor,
    shift: Tensor,
    mean: Tensor,
    variance: Tensor,
    epsilon: float,
    momentum: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """By the batch's statistics, with the new running ones (ONNX's momentum is the fraction kept)."""
    axes = [axis for axis in range(values.ndim) if axis != 1]
    own_mean, own_variance = values.mean(axes), values.var(axes, unbiased=False)
    return (
        functional.batch_norm(values, own_mean, own_variance, scale, shift, eps=epsilon),
        mean * momentum + own_mean * (1 - momentum),
        variance * momentum + own_variance * (1 - momentum),
    )


@converter("BatchNormalization")
def convert_batch_norm(node: NodeView) -> Any:
    """Batch normalization."""
    epsilon, momentum = node.attribute("epsilon", 1e-5), node.attribute("momentum", 0.9)
    inputs = [node.input(index) for index in range(5)]
    if any(value.constant is None for value in inputs[1:]):
        if node.attribute("training_mode", 0):
            return node.calls(3, training_batch_norm, *inputs, epsilon, momentum)
        values, scale_value, shift_value, *statistics = inputs
        return node.call(functional.batch_norm, values, *statistics, scale_value, shift_value, eps=epsilon)
    rank = node.rank(0)
    kind = BatchNormOfAnyRank if rank is None else _BATCH_NORMS.get(rank, BatchNormOfAnyRank)
    scale = node.weight(1, "affine weight")
    module = kind(scale.numel(), eps=epsilon, momentum=1 - momentum, device="meta")
    fill(module, scale, node.weight(2, "bias"))
    module.running_mean = node.weight(3, "statistic").clone()
    module.running_var = node.weight(4, "statistic").clone()
    module.num_batches_tracked = torch.tensor(0)
    # Files written while training have the statistics as further outputs; nothing uses them.
    return node.module(module, inputs[0])


def layer_norm(
    values: Tensor, scale: Tensor, shift: Tensor | None, axis: int, epsilon: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Layer normalization over the axes from ``axis`` on, with the mean and one over the deviation."""
    axes = list(range(axis % values.ndim, values.ndim))
    mean = values.mean(axes, keepdim=True)
    centered = values - mean
    inverse = torch.rsqrt((centered * centered).mean(axes, keepdim=True) + epsilon)
    result = centered * inverse * scale
    return result if shift is None else result + shift, mean, inverse


@converter("LayerNormalization")
def convert_layer_norm(node: NodeView) -> Any:
    """Layer normalization."""
    axis, epsilon = node.attribute("axis", -1), node.attribute("epsilon", 1e-5)
    scale, rank = node.constant(1), node.rank(0)
    single = len([name for name in node.node.outputs if name]) == 1
    fits = scale is not None and (
        axis == -scale.ndim or (rank is not None and axis % rank == rank - scale.ndim)
    )
    if single and fits and scale is not None and (not node.has(2) or node.constant(2) is not None):
        module = nn.LayerNorm(tuple(scale.shape), eps=epsilon, bias=node.has(2), device="meta")
        shift = node.weight(2, "bias") if node.has(2) else None
        fill(module, node.weight(1, "affine weight"), shift)
        return node.module(module, node.input(0))
    shift_value = node.input(2) if node.has(2) else None
    results = node.calls(3, layer_norm, node.input(0), node.input(1), shift_value, axis, epsilon)
    return results[: len(node.node.outputs)]


def rms_norm(values: Tensor, scale: Tensor, axis: int, epsilon: float) -> Tensor:
    """Division by the root of the mean square over the axes from ``axis`` on."""
    axes = list(range(axis % values.ndim, values.ndim))
    return values * torch.rsqrt((values * values).mean(axes, keepdim=True) + epsilon) * scale


@converter("RMSNormalization")
def convert_rms_norm(node: NodeView) -> Value:
    """Normalization by the root mean square."""
    axis, epsilon = node.attribute("axis", -1), node.attribute("epsilon", 1e-5)
    scale = node.constant(1)
    if scale is not None and axis == -scale.ndim:
        module = nn.RMSNorm(tuple(scale.shape), eps=epsilon, device="meta")
        module.weight = nn.Parameter(node.weight(1, "affine weight").clone())
        return node.module(module, node.input(0))
    return node.call(rms_norm, node.input(0), node.input(1), axis, epsilon)


class InstanceNorm(nn.InstanceNorm2d):
    """Instance normalization (N, C, ...) with any number of axes; every sample by its own statistics."""

    @override
    def forward(self, input: Tensor) -> Tensor:
        """The normalized values."""
        return functional.instance_norm(input, weight=self.weight, bias=self.bias, eps=self.eps)


@converter("InstanceNormalization")
def convert_instance_norm(node: NodeView) -> Value:
    """Instance normalization."""
    epsilon = node.attribute("epsilon", 1e-5)
    if node.constant(1) is None or node.constant(2) is None:
        parts = {"weight": node.input(1), "bias": node.input(2)}
        return node.call(functional.instance_norm, node.input(0), **parts, eps=epsilon)
    scale = node.weight(1, "affine weight")
    module = InstanceNorm(scale.numel(), eps=epsilon, affine=True, device="meta")
    fill(module, scale, node.weight(2, "bias"))
    return node.module(module, node.input(0))


def group_norm(
    values: Tensor, scale: Tensor, shift: Tensor, groups: int, epsilon: float, by_group: bool
) -> Tensor:
    """Group normalization; before opset 21, scale and shift stand for groups of channels."""
    if by_group:
        repeats = values.shape[1] // groups
        scale, shift = scale.repeat_interleave(repeats), shift.repeat_interleave(repeats)
    return functional.group_norm(values, groups, scale, shift, epsilon)


@converter("GroupNormalization", since=18)
def convert_group_norm(node: NodeView) -> Value:
    """Group normalization."""
    groups, epsilon = node.attribute("num_groups"), node.attribute("epsilon", 1e-5)
    by_group = node.opset < 21
    if by_group or node.constant(1) is None or node.constant(2) is None:
        inputs = [node.input(index) for index in range(3)]
        return node.call(group_norm, *inputs, groups, epsilon, by_group)
    scale = node.weight(1, "affine weight")
    module = nn.GroupNorm(groups, scale.numel(), eps=epsilon, device="meta")
    fill(module, scale, node.weight(2, "bias"))
    return node.module(module, node.input(0))


@function_for("MeanVarianceNormalization", axes=[0, 2, 3])
def mean_variance_norm(values: Tensor, axes: Sequence[int]) -> Tensor:
    """(x - mean) / deviation over some axes."""
    axes = list(axes)
    mean = values.mean(axes, keepdim=True)
    deviation = torch.sqrt((values * values).mean(axes, keepdim=True) - mean * mean)
    return (values - mean) / (deviation + 1e-9)


@function_for("LRN", size=None, alpha=1e-4, beta=0.75, bias=1.0)
def local_response_norm(values: Tensor, size: int, alpha: float, beta: float, bias: float) -> Tensor:
    """Division by the squares of neighbouring channels (Krizhevsky et al. 2012)."""
    squares = (values * values).unsqueeze(1)
    # ONNX's window reaches one channel further up than down where its width is even.
    pads = [0, 0] * (values.ndim - 2) + [(size - 1) // 2, math.ceil((size - 1) / 2)]
    padded = functional.pad(squares, pads)
    total = sum(padded.narrow(2, first, values.shape[1]) for first in range(size))
    assert isinstance(total, Tensor)
    result: Tensor = values / (bias + alpha / size * total.squeeze(1)) ** beta
    return result


@function_for("LpNormalization", axis=-1, p=2)
def lp_norm(values: Tensor, axis: int, p: int) -> Tensor:
    """Division by the sum of magnitudes, or the root of the sum of squares, along an axis; 0 / 0 is 0."""
    length = torch.linalg.vector_norm(values, p, dim=axis, keepdim=True)
    return torch.where(length == 0, torch.zeros_like(values), values / length)


@converter("Dropout")
def dropout(node: NodeView) -> Any:
    """Dropout: it drops in training, and hands everything through otherwise."""
    ratio = node.attribute("ratio", 0.5)
    if node.has(1):
        constant = node.constant(1)
        ratio = 0.5 if constant is None else float(constant.item())
    result = node.module(nn.Dropout(ratio), node.input(0))
    if len(node.node.outputs) == 1:
        return result
    # The second output is a mask, which keeps all.
    return result, node.call(torch.ones_like, node.input(0), dtype=torch.bool)
