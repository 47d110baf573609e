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
MASKED = -90.0
"""What is at most this where all else is zero hides places from a softmax."""
CHANNELS_OF_AN_IMAGE = 4


@dataclass(frozen=True)
class Use:
    """One use of an initializer.

    Attributes:
        name: of the initializer.
        role: what it is for.
        place: module, parameter or buffer that holds it now; empty: numbers in the code.
    """

    name: str
    role: Role
    place: str

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

    Cell numbers of a detector, strides and linear position tables are; trained values are not.
    """
    values = tensor.detach().double()
    if not bool(torch.isfinite(values).all()):
        return False
    if bool((values == values.flatten()[0]).all()):
        # Equal values are also how scales (1) and shifts (0) begin.
        return False
    if bool((values == values.round()).all()) and values.numel() > CHANNELS_OF_AN_IMAGE:
        return True
    for axis in range(values.ndim):
        if values.shape[axis] < 3:
            continue
        steps = values.diff(dim=axis)
        spread = (steps.diff(dim=axis)).abs().max()
        if spread > 1e-4 * values.abs().max().clamp(min=1e-12):
            return False
    return any(size >= 3 for size in values.shape)
