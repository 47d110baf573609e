"""What each constant of a file is for: weights train, statistics and shapes do not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

if TYPE_CHECKING:
    from tao_like.byom.views import NodeView, Value

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
"""What is at most this where all else is nought hides places from a softmax."""
_CHANNELS_OF_AN_IMAGE = 4
_SCALE_AND_SHIFT: dict[int, Role] = {1: "affine weight", 2: "bias"}
_LAYER: dict[int, Role] = {1: "weight", 2: "bias"}
_BY_POSITION: dict[str, dict[int, Role]] = {
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
"""Operations that say by the place of an input what it is for."""


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


def operand_role(view: NodeView, position: int, value: Value) -> Role:
    """The role of a constant that is an operand of a plain function."""
    tensor = value.constant
    assert tensor is not None
    if not tensor.is_floating_point():
        return "index"
    role = _BY_POSITION.get(view.node.op, {}).get(position)
    if role is not None:
        return role
    if tensor.numel() <= 1:
        return "scalar"
    if is_mask(tensor):
        return "mask"
    op = view.node.op
    if op in ("Add", "Sub", "Mul", "Div"):
        others = [other for other in view.inputs() if other is not value]
        if others and all(view.builder.is_image(other) for other in others) and _is_per_channel(tensor):
            return "image scaling"
        positions = bool(others) and all(view.builder.is_position(other) for other in others)
        if positions or is_grid(tensor):
            return "grid"
        if op in ("Mul", "Div"):
            return "affine weight"
        return "bias" if sum(size > 1 for size in tensor.shape) == 1 else "embedding weight"
    if op == "ScaledDotProduct":
        # A table of relative positions.
        return "embedding weight"
    if op in ("Gather", "Concat", "Expand"):
        return "grid" if is_grid(tensor) else "embedding weight"
    if op in ("MatMul", "Einsum", *_BY_POSITION):
        return "weight"
    return "constant"


def _is_per_channel(tensor: Tensor) -> bool:
    return tensor.numel() <= _CHANNELS_OF_AN_IMAGE


def is_mask(tensor: Tensor) -> bool:
    """Whether a tensor holds nothing but nought and something very negative."""
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
    if bool((values == values.round()).all()) and values.numel() > _CHANNELS_OF_AN_IMAGE:
        return True
    for axis in range(values.ndim):
        if values.shape[axis] < 3:
            continue
        steps = values.diff(dim=axis)
        spread = (steps.diff(dim=axis)).abs().max()
        if spread > 1e-4 * values.abs().max().clamp(min=1e-12):
            return False
    return any(size >= 3 for size in values.shape)
