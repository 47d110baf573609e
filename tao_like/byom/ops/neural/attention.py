"""Attention as the standard has had it since opset 23."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from tao_like.byom.building.registry import converter
from tao_like.byom.building.views import NodeView, Value
from tao_like.byom.source.graph import dtype_of
from tao_like.errors import ConversionError


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    scale: float | None,
    heads: tuple[int, int],
) -> Tensor:
    """softmax(scale q k^T + mask) v, for what torch has one function for.

    Args:
        query: (N, heads, L, E), or (N, L, heads * E).
        key: (N, heads, S, E), or (N, S, heads * E).
        value: likewise, of another width perhaps.
        mask: added to the scores; booleans say which positions are seen.
        scale: None: 1 / sqrt(E).
        heads: of queries, and of keys and values, where heads and widths share an axis.
    """
    flat = query.ndim == 3
    if flat:
        query, key, value = (_by_head(one, heads[index > 0]) for index, one in enumerate((query, key, value)))
    key, value = (_for_each(one, query) for one in (key, value))
    if mask is not None:
        mask = _whole(mask, key.shape[-2])
        mask = mask if mask.dtype == torch.bool else mask.to(query.dtype)
    result = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scale)
    return result.transpose(1, 2).flatten(2) if flat else result


def _by_head(values: Tensor, heads: int) -> Tensor:
    """(N, L, heads * E) as (N, heads, L, E)."""
    parts: Tensor = values.unflatten(2, (heads, -1))
    return parts.transpose(1, 2)


def _for_each(values: Tensor, query: Tensor) -> Tensor:
    """Keys or values of which several heads of queries share one, repeated for each."""
    count = query.shape[1] // values.shape[1]
    return values if count == 1 else values.repeat_interleave(count, 1)


def _whole(mask: Tensor, length: int) -> Tensor:
    """A mask for all keys: those that it does not name are hidden."""
    missing = length - mask.shape[-1]
    if missing <= 0:
        return mask
    return functional.pad(mask, (0, missing), value=False if mask.dtype == torch.bool else -math.inf)


def full_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    past_key: Tensor | None,
    past_value: Tensor | None,
    lengths: Tensor | None,
    settings: dict[str, Any],
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Attention with all that the standard knows: remembered keys, a soft cap, causal and sliding windows.

    Returns:
        The result, all keys, all values, and the scores of the stage that the node asks for.
    """
    flat = query.ndim == 3
    if flat:
        query = _by_head(query, settings["heads"][0])
        key, value = (_by_head(one, settings["heads"][1]) for one in (key, value))
    before: Any = 0
    if past_key is not None and past_value is not None:
        before = past_key.shape[2]
        key, value = torch.cat([past_key, key], 2), torch.cat([past_value, value], 2)
    elif lengths is not None:
        before = (lengths.reshape(-1) - query.shape[2]).reshape(-1, 1, 1, 1)
    scale = query.shape[-1] ** -0.5 if settings["scale"] is None else settings["scale"]
    keys, values = _for_each(key, query), _for_each(value, query)
    root = math.sqrt(scale)
    scores = (query * root) @ (keys.transpose(-2, -1) * root)
    capped = torch.tanh(scores / settings["cap"]) * settings["cap"] if settings["cap"] > 0 else scores
    bias = _bias(scores, mask, lengths, before, settings)
    masked = capped + bias
    exact = masked if settings["precision"] is None else masked.to(settings["precision"])
    hidden = torch.isneginf(bias.amax(-1, keepdim=True))
    probabilities = torch.softmax(exact.masked_fill(hidden, 0.0), -1).masked_fill(hidden, 0.0)
    probabilities = probabilities.to(query.dtype)
    result = probabilities @ values
    # The fourth output, by the attribute ``qk_matmul_output_mode``.
    shown = (scores, capped, masked, probabilities)[settings["shown"]]
    return (result.transpose(1, 2).flatten(2) if flat else result), key, value, shown


def _bias(
    scores: Tensor, mask: Tensor | None, lengths: Tensor | None, before: Any, settings: dict[str, Any]
) -> Tensor:
    """What is added to the scores (N, heads, L, S): minus infinity hides a position."""
    bias = torch.zeros_like(scores)
    if mask is not None:
        mask = _whole(mask, scores.shape[-1])
        bias = bias.masked_fill(~mask, -math.inf) if mask.dtype == torch.bool else bias + mask
    own = torch.arange(scores.shape[-2], device=scores.device).unsqueeze(1) + before
    other = torch.arange(scores.shape[-1], device=scores.device)
    left, right = settings["window"]
    if settings["causal"]:
        bias = bias.masked_fill(other > own, -math.inf)
    if left >= 0:
        bias = bias.masked_fill(own - other > left, -math.inf)
    if right >= 0:
        bias = bias.masked_fill(other - own > right, -math.inf)
    if lengths is not None:
        bias = bias.masked_fill(other >= lengths.reshape(-1, 1, 1, 1), -math.inf)
    return bias


def mask_of(node: NodeView, index: int) -> Value | None:
    """The mask of an attention; None where it is not given, or leaves all scores as they are."""
    if not node.has(index):
        return None
    values = node.constant(index)
    if values is not None and (values.all() if values.dtype == torch.bool else not values.any()):
        return None
    return node.input(index)


@converter("Attention", since=23)
def convert_attention(node: NodeView) -> Any:
    """Attention."""
    inputs = [node.input(index) if node.has(index) else None for index in range(7)]
    inputs[3] = mask_of(node, 3)
    if node.rank(0) == 3 and not (node.attribute("q_num_heads") and node.attribute("kv_num_heads")):
        raise ConversionError(
            "its heads share an axis with their width, and it does not say how many there are"
        )
    heads = (node.attribute("q_num_heads", 1), node.attribute("kv_num_heads", 1))
    scale = node.attribute("scale")
    if scale is not None and not (math.isfinite(scale) and scale > 0):
        raise ConversionError("its scale is not a number above zero")
    window = (node.attribute("left_window_size", -1), node.attribute("right_window_size", -1))
    precision = node.attribute("softmax_precision")
    settings = {
        **{"heads": heads, "scale": scale, "window": window, "cap": node.attribute("softcap", 0.0)},
        **{
            "causal": bool(node.attribute("is_causal", 0)),
            "shown": node.attribute("qk_matmul_output_mode", 0),
        },
        "precision": None if precision is None else dtype_of(precision),
    }
    outputs = node.node.outputs
    plain = len(outputs) == 1 and not any(inputs[4:]) and not settings["causal"] and window == (-1, -1)
    if plain and settings["cap"] == 0:
        return node.call(attention, *inputs[:4], scale, heads)
    found = node.calls(4, full_attention, *inputs, settings)
    return found[0] if len(outputs) == 1 else found[: len(outputs)]
