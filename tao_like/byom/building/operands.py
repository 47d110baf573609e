"""The role of a constant that is an operand of a plain function."""

from __future__ import annotations

from torch import Tensor

from tao_like.byom.building.ahead import role_in_bodies
from tao_like.byom.building.roles import CHANNELS_OF_AN_IMAGE, LAYER_ROLES, Role, is_bins, is_grid, is_mask
from tao_like.byom.building.views import NodeView, Value
from tao_like.byom.source.graph import bodies


def operand_role(view: NodeView, position: int, value: Value) -> Role:
    """The role of a constant that is an operand of a plain function."""
    tensor = value.constant
    assert tensor is not None
    if not tensor.is_floating_point():
        return "index"
    node, axes = view.node, sum(size > 1 for size in tensor.shape)
    if bodies(node):
        return _kept(tensor) or role_in_bodies(node, value.name, axes) or "constant"
    if node.op == "Conv" and position == 1 and is_bins(tensor):
        return "grid"
    role = LAYER_ROLES.get(node.op, {}).get(position)
    if role is not None:
        return role
    kept = _kept(tensor)
    if kept in ("scalar", "mask"):
        return kept
    op = node.op
    if op in ("Add", "Sub", "Mul", "Div", "Concat") and _is_prior(view, value):
        return "grid"
    if op in ("Add", "Sub", "Mul", "Div"):
        others = [other for other in view.inputs() if other is not value]
        of_images = bool(others) and all(view.builder.is_image(other) for other in others)
        if of_images and tensor.numel() <= CHANNELS_OF_AN_IMAGE:
            return "image scaling"
        positions = bool(others) and all(view.builder.is_position(other) for other in others)
        if positions or kept:
            return "grid"
        if op in ("Mul", "Div"):
            return "affine weight"
        return "bias" if axes == 1 else "embedding weight"
    if op in ("ScaledDotProduct", "Attention"):
        # A table of relative positions.
        return "embedding weight"
    if op in ("Gather", "Concat", "Expand"):
        return kept or "embedding weight"
    if op in ("MatMul", "Einsum", *LAYER_ROLES):
        return "weight"
    # What is reshaped, moved or cut first is for what comes then.
    return kept or view.builder.ahead.role(node.outputs, axes) or "constant"


def _kept(tensor: Tensor) -> Role | None:
    """What a tensor is for that by its values alone does not train."""
    if tensor.numel() <= 1:
        return "scalar"
    if is_mask(tensor):
        return "mask"
    return "grid" if is_grid(tensor) else None


def _is_prior(view: NodeView, value: Value) -> bool:
    """Whether a table stands behind the last layers: prior boxes of a detector and their columns."""
    assert value.constant is not None
    held = view.builder.graph.constants
    tables = [value.constant, *(held[name] for name in value.sources if name in held)]
    is_table = any(sum(size > 1 for size in one.shape) > 1 for one in tables)
    return is_table and not view.builder.ahead.is_followed(view.node)
