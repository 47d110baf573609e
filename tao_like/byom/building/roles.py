"""What each constant of a file is for: weights train, statistics and shapes do not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Role = Literal[
    "weight",
    "bias",
    "affine weight",
    "embedding weight",
    "statistic",
    "scalar",
    "shape",
    "index",
    "grid",
    "mask",
    "image scaling",
    "constant",
]
TRAINED_ROLES: tuple[Role, ...] = ("weight", "bias", "affine weight", "embedding weight")
_SCALE_AND_SHIFT: dict[int, Role] = {1: "affine weight", 2: "bias"}
_LAYER: dict[int, Role] = {1: "weight", 2: "bias"}
LAYER_ROLES: dict[str, dict[int, Role]] = {
    "BatchNormalization": {**_SCALE_AND_SHIFT, 3: "statistic", 4: "statistic"},
    "GroupNormalization": _SCALE_AND_SHIFT,
    "InstanceNormalization": _SCALE_AND_SHIFT,
    "LayerNormalization": _SCALE_AND_SHIFT,
    "RMSNormalization": _SCALE_AND_SHIFT,
    "Conv": _LAYER,
    "ConvTranspose": _LAYER,
    "Gemm": _LAYER,
    "DeformConv": {1: "weight", 3: "bias"},
    "PRelu": {1: "weight"},
}
"""Operations that say by the number of an input what it is for."""
MASKED = -90.0
"""What is at most this where all else is zero hides positions from a softmax."""
CHANNELS_OF_AN_IMAGE = 4
_FEWEST_BINS = 4
_SHORTEST_COUNT = 4
_SELDOM = 0.1
"""The fraction of steps that may break the rule where levels of a pyramid follow on each other."""
_LINES_LOOKED_AT = 64


@dataclass(frozen=True)
class Use:
    """One use of an initializer.

    Attributes:
        name: of the initializer.
        role: what it is for.
        path: of the module, parameter or buffer that holds it now; empty: numbers in the code.
    """

    name: str
    role: Role
    path: str

    @property
    def trains(self) -> bool:
        """Whether it is a parameter."""
        return self.role in TRAINED_ROLES


def is_mask(tensor: Tensor) -> bool:
    """Whether a tensor holds nothing but zero and something very negative."""
    low = tensor <= MASKED
    return bool(low.any()) and bool((low | (tensor == 0)).all())


def is_grid(tensor: Tensor) -> bool:
    """Whether a tensor is a ruler: along each axis it stays the same or rises in equal steps of note.

    Cell numbers of a detector, strides and linear position tables are; trained values are not, even where
    they are whole numbers.
    """
    values = tensor.detach().double()
    if not bool(torch.isfinite(values).all()):
        return False
    if bool((values == values.flatten()[0]).all()):
        # Equal values are also how scales (1) and shifts (0) begin.
        return False
    return _has_equal_steps(values) or (bool((values == values.round()).all()) and _counts(values))


def is_bins(weight: Tensor) -> bool:
    """Whether a convolution's weight (0, 1, 2 ...) only takes the mean of bins, as detectors do."""
    bins = weight.flatten()
    whole = weight.shape[0] == 1 and len(bins) == weight.shape[1] >= _FEWEST_BINS
    return bool(whole) and bool((bins == torch.arange(len(bins), device=bins.device)).all())


def _has_equal_steps(values: Tensor) -> bool:
    for axis in range(values.ndim):
        if values.shape[axis] < 3:
            continue
        steps = values.diff(dim=axis)
        spread = (steps.diff(dim=axis)).abs().max()
        if spread > 1e-4 * values.abs().max().clamp(min=1e-12):
            return False
    return any(size >= 3 for size in values.shape)


def _counts(values: Tensor) -> bool:
    """Whether whole numbers count along every axis: columns and rows of cells, or the same in long runs."""
    long = [axis for axis, size in enumerate(values.shape) if size >= _SHORTEST_COUNT]
    if not long:
        return False
    lines = (values.movedim(axis, -1).reshape(-1, values.shape[axis])[:_LINES_LOOKED_AT] for axis in long)
    return all(_is_count(line.diff()) for along in lines for line in along)


def _is_count(steps: Tensor) -> bool:
    """Whether one step is the rule, and others come seldom or at equal distances, as at the end of a row."""
    rule = steps.mode().values
    others = (steps != rule).nonzero().flatten()
    if len(others) <= _SELDOM * len(steps):
        return True
    gaps = others.diff()
    if len(gaps) < 1 or rule not in (0, 1):
        return False
    return bool((gaps == gaps[0]).all()) and int(others[0]) + 1 == int(gaps[0]) > 1
