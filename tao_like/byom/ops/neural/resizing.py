"""Resize, in all its modes, and its older form Upsample.

Where torch's own interpolation does the same it is used; else each axis is resampled by a matrix of weights
that follows the definition in the standard.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from tao_like.byom.building.registry import converter
from tao_like.byom.building.views import NodeView, Value
from tao_like.errors import ConversionError

_COORDINATES = (
    *("half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric"),
    *("tf_crop_and_resize", "tf_half_pixel_for_nn"),
)


class Resize(nn.Module):
    """Resampling to another size.

    Args:
        mode: ``nearest``, ``linear`` or ``cubic``.
        coordinates: how positions of the result become positions of the source.
        nearest: which neighbour: ``round_prefer_floor``, ``round_prefer_ceil``, ``floor`` or ``ceil``.
        cubic: coefficient of the cubic.
        antialias: widen the filter where the result is smaller.
        exclude: neighbours outside count for nothing (else the edge counts for them).
        fill: value for positions outside with ``tf_crop_and_resize``.
        axes: that are resized, in the order of scales and sizes; None: all.
        policy: ``stretch``, ``not_larger`` or ``not_smaller``: keep the aspect.
    """

    def __init__(
        self,
        mode: str,
        coordinates: str = "half_pixel",
        nearest: str = "round_prefer_floor",
        cubic: float = -0.75,
        antialias: bool = False,
        exclude: bool = False,
        fill: float = 0.0,
        axes: tuple[int, ...] | None = None,
        policy: str = "stretch",
    ) -> None:
        super().__init__()
        self.mode, self.coordinates, self.nearest = mode, coordinates, nearest
        self.cubic, self.antialias, self.exclude = cubic, antialias, exclude
        self.fill, self.axes, self.policy = fill, axes, policy

    def forward(
        self,
        values: Tensor,
        scales: Sequence[float] | None,
        sizes: Sequence[int] | None,
        roi: Sequence[float] | None = None,
    ) -> Tensor:
        """Resamples to ``scales`` times the size, or to ``sizes``."""
        axes = [axis % values.ndim for axis in self.axes or range(values.ndim)]
        given = [values.shape[axis] for axis in axes]
        if sizes is not None and len(sizes):
            factors, goals = self._factors(given, list(sizes))
        else:
            factors = [float(factor) for factor in scales or ()]
            goals = [math.floor(size * factor) for size, factor in zip(given, factors, strict=True)]
        changed = [
            (axis, factor, goal, index)
            for index, (axis, factor, goal, size) in enumerate(zip(axes, factors, goals, given, strict=True))
            if goal != size or factor != 1.0 or self.coordinates == "tf_crop_and_resize"
        ]
        if self._is_torchs(values, [axis for axis, *_ in changed], factors, goals):
            return self._by_torch(values, [goal for _, _, goal, _ in changed], scales, changed)
        dtype = values.dtype
        result = values if values.is_floating_point() else values.float()
        for axis, factor, goal, index in changed:
            part = None if not roi else (roi[index], roi[index + len(axes)])
            result = self._axis(result, axis, factor, int(goal), part)
        return result if dtype == result.dtype else result.round().to(dtype)

    def _factors(self, given: list[int], sizes: list[int]) -> tuple[list[float], list[int]]:
        factors = [goal / size for goal, size in zip(sizes, given, strict=True)]
        if self.policy == "stretch":
            return factors, sizes
        factor = min(factors) if self.policy == "not_larger" else max(factors)
        return [factor] * len(given), [math.floor(size * factor + 0.5) for size in given]

    # --- torch's own ---

    def _is_torchs(self, values: Tensor, axes: list[int], factors: list[float], goals: list[int]) -> bool:
        """Whether ``functional.interpolate`` does just this."""
        spatial = list(range(2, values.ndim))
        if not axes or not values.is_floating_point() or values.ndim not in (3, 4, 5):
            return False
        if self.antialias or self.exclude or not set(axes) <= set(spatial) or self.policy != "stretch":
            return False
        if self.mode == "nearest":
            whole = all(float(factor).is_integer() for factor in factors)
            # With other factors torch takes size over size, and the standard the factor: at 0.6 or 2.3 they
            # differ.
            return axes == spatial and whole and self.coordinates != "align_corners" and self._is_even()
        if self.mode == "cubic" and (values.ndim != 4 or self.cubic != -0.75):
            return False
        if self.coordinates == "align_corners":
            exact = [
                size * factor == goal
                for size, factor, goal in zip(values.shape[-len(goals) :], factors, goals, strict=True)
            ]
            return axes == spatial and all(exact)
        plain = self.coordinates == "half_pixel" or (
            self.coordinates == "pytorch_half_pixel" and min(goals) > 1
        )
        return axes == spatial and plain

    def _is_even(self) -> bool:
        """Whether a whole factor repeats each value that often."""
        if self.coordinates == "asymmetric":
            return self.nearest == "floor"
        return self.coordinates in ("half_pixel", "pytorch_half_pixel") and self.nearest.startswith("round")

    def _by_torch(
        self, values: Tensor, goals: list[int], scales: Sequence[float] | None, changed: list[Any]
    ) -> Tensor:
        if self.mode == "nearest":
            return functional.interpolate(values, size=goals, mode="nearest")
        corners = self.coordinates == "align_corners"
        mode = "bicubic" if self.mode == "cubic" else ("linear", "bilinear", "trilinear")[values.ndim - 3]
        # A scale that is not size over size shifts the positions; torch has to know it.
        exact = all(goal == values.shape[axis] * factor for axis, factor, goal, _ in changed)
        if corners or exact or not scales:
            return functional.interpolate(values, size=goals, mode=mode, align_corners=corners)
        factors = [factor for _, factor, _, _ in changed]
        return functional.interpolate(
            values, scale_factor=factors, mode=mode, align_corners=False, recompute_scale_factor=False
        )

    # --- after the standard ---

    def _axis(
        self, values: Tensor, axis: int, factor: float, goal: int, roi: tuple[float, float] | None
    ) -> Tensor:
        length = values.shape[axis]
        positions = self._positions(length, factor, goal, roi)
        if self.mode == "nearest":
            result = values.index_select(axis, self._neighbours(positions, length).to(values.device))
        else:
            matrix = self._weights(positions, length, factor).to(values.device, values.dtype)
            result = torch.tensordot(values, matrix, dims=([axis], [1])).movedim(-1, axis)
        if self.coordinates != "tf_crop_and_resize":
            return result
        outside = ((positions < 0) | (positions > length - 1)).to(values.device)
        shape = [1] * values.ndim
        shape[axis] = goal
        return torch.where(outside.reshape(shape), torch.full_like(result, self.fill), result)

    def _positions(self, length: int, factor: float, goal: int, roi: tuple[float, float] | None) -> Tensor:
        """Where in the source each position of the result lies."""
        at = torch.arange(goal, dtype=torch.float64)
        kind = self.coordinates
        if kind == "align_corners":
            return torch.zeros(1, dtype=at.dtype) if goal == 1 else at * (length - 1) / (length * factor - 1)
        if kind == "asymmetric":
            return at / factor
        if kind == "tf_crop_and_resize":
            first, last = roi or (0.0, 1.0)
            if goal > 1:
                return first * (length - 1) + at * (last - first) * (length - 1) / (goal - 1)
            return torch.full((1,), 0.5 * (first + last) * (length - 1), dtype=at.dtype)
        if kind == "pytorch_half_pixel" and goal == 1:
            return torch.full((1,), -0.5, dtype=at.dtype)
        if kind == "tf_half_pixel_for_nn":
            return (at + 0.5) / factor
        if kind == "half_pixel_symmetric":
            offset = length / 2 * (1 - goal / (length * factor))
            return offset + (at + 0.5) / factor - 0.5
        return (at + 0.5) / factor - 0.5

    def _neighbours(self, positions: Tensor, length: int) -> Tensor:
        near = {
            "floor": torch.floor,
            "ceil": torch.ceil,
            "round_prefer_floor": lambda at: torch.ceil(at - 0.5),
            "round_prefer_ceil": lambda at: torch.floor(at + 0.5),
        }[self.nearest]
        return near(positions).long().clamp(0, length - 1)

    def _weights(self, positions: Tensor, length: int, factor: float) -> Tensor:
        """(goal, length): how much of each source value goes into each of the result."""
        scale = min(1.0, factor) if self.antialias else 1.0
        reach = math.ceil((2 if self.mode == "cubic" else 1) / scale)
        base = torch.floor(positions).long()
        offsets = torch.arange(-reach + 1, reach + 1)
        neighbours = base.unsqueeze(1) + offsets
        distance = (neighbours - positions.unsqueeze(1)).abs() * scale
        weights = self._cubic(distance) if self.mode == "cubic" else (1 - distance).clamp(min=0)
        outside = (neighbours < 0) | (neighbours > length - 1)
        if self.exclude:
            weights = weights.masked_fill(outside, 0)
        if self.exclude or self.antialias:
            weights = weights / weights.sum(1, keepdim=True)
        matrix = torch.zeros(len(positions), length, dtype=torch.float64)
        return matrix.scatter_add(1, neighbours.clamp(0, length - 1), weights)

    def _cubic(self, distance: Tensor) -> Tensor:
        """Keys' cubic convolution kernel (1981)."""
        a, x = self.cubic, distance
        near = ((a + 2) * x - (a + 3)) * x * x + 1
        far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
        return torch.where(x <= 1, near, torch.where(x < 2, far, torch.zeros_like(x)))


def _numbers(node: NodeView, index: int) -> Any:
    """Scales, sizes or a region: numbers, a node that gives them, or None where they are left out."""
    found = node.sizes(index)
    if isinstance(found, list):
        return tuple(found) or None
    return found


@converter("Upsample")
@converter("Resize", since=10)
def old_resize(node: NodeView) -> Value:
    """Resize of opset 10, and what it was before."""
    scales = node.attribute("scales") or _numbers(node, 1)
    module = Resize(node.attribute("mode", "nearest").replace("bilinear", "linear"), "asymmetric", "floor")
    return node.module(module, node.input(0), scales, None, None)


@converter("Resize", since=11)
def convert_resize(node: NodeView) -> Value:
    """Resize."""
    mode = node.attribute("mode", "nearest")
    coordinates = node.attribute("coordinate_transformation_mode", "half_pixel")
    if mode not in ("nearest", "linear", "cubic") or coordinates not in _COORDINATES:
        raise ConversionError(f"mode '{mode}' with coordinates '{coordinates}' is not in the standard")
    axes = node.attribute("axes")
    module = Resize(
        mode,
        coordinates,
        node.attribute("nearest_mode", "round_prefer_floor"),
        node.attribute("cubic_coeff_a", -0.75),
        bool(node.attribute("antialias", 0)),
        bool(node.attribute("exclude_outside", 0)),
        node.attribute("extrapolation_value", 0.0),
        None if axes is None else tuple(axes),
        node.attribute("keep_aspect_ratio_policy", "stretch"),
    )
    roi = _numbers(node, 1) if coordinates == "tf_crop_and_resize" else None
    return node.module(module, node.input(0), _numbers(node, 2), _numbers(node, 3), roi)
