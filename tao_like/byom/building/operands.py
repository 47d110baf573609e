"""The role of a constant that is an operand of a plain function."""

from __future__ import annotations

from torch import Tensor

from tao_like.byom.building.roles import CHANNELS_OF_AN_IMAGE, Role, is_grid, is_mask
from tao_like.byom.building.views import NodeView, Value

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
    if op in ("ScaledDotProduct", "Attention"):
        # A table of relative positions.
        return "embedding weight"
    if op in ("Gather", "Concat", "Expand"):
        return "grid" if is_grid(tensor) else "embedding weight"
    if op in ("MatMul", "Einsum", *_BY_POSITION):
        return "weight"
    return "constant"


def _is_per_channel(tensor: Tensor) -> bool:
    return tensor.numel() <= CHANNELS_OF_AN_IMAGE
