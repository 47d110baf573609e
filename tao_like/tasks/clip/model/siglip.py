"""Weights of transformers' SigLIP under timm's names and ours (Zhai et al. 2023)."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

_IMAGE = "vision_model."
_TEXT = "text_model."
_COMMON = (
    (r"^encoder\.layers\.", "blocks."),
    (r"\.layer_norm([12])\.", r".norm\1."),
    (r"\.self_attn\.out_proj\.", ".attn.proj."),
)
_IMAGE_NAMES = (
    *_COMMON,
    (r"^embeddings\.patch_embedding\.", "patch_embed.proj."),
    (r"^embeddings\.position_embedding\.weight$", "pos_embed"),
    (r"^post_layernorm\.", "norm."),
    (r"^head\.probe$", "attn_pool.latent"),
    (r"^head\.attention\.out_proj\.", "attn_pool.proj."),
    (r"^head\.layernorm\.", "attn_pool.norm."),
    (r"^head\.mlp\.", "attn_pool.mlp."),
)
_TEXT_NAMES = (
    *_COMMON,
    (r"^embeddings\.token_embedding\.", "token_embedding."),
    (r"^embeddings\.position_embedding\.weight$", "positional_embedding"),
    (r"^final_layer_norm\.", "norm."),
    (r"^head\.", "projection."),
)
_POOLING = "head.attention.in_proj_"


def is_siglip(state: Mapping[str, Tensor]) -> bool:
    """Whether these are the weights of a SigLIP as transformers has it."""
    return any(name.endswith("vision_model.head.probe") for name in state)


def siglip_weights(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The image tower's weights under timm's names, and the text tower's under ours."""
    image = _renamed(_inside(state, _IMAGE), _IMAGE_NAMES)
    for name in [name for name in image if name.startswith(_POOLING)]:
        end = name.removeprefix(_POOLING)
        query, key, value = image.pop(name).chunk(3)
        image |= {f"attn_pool.q.{end}": query, f"attn_pool.kv.{end}": torch.cat([key, value])}
    image["pos_embed"] = image["pos_embed"].unsqueeze(0)
    text = _renamed(_inside(state, _TEXT), _TEXT_NAMES)
    text["logit_scale"] = state["logit_scale"].reshape(1)
    return image, text


def _inside(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """A tower's weights; some releases of transformers write its name twice."""
    found = {name.rpartition(prefix)[2]: value for name, value in state.items() if name.startswith(prefix)}
    return {name: value for name, value in found.items() if not name.endswith("position_ids")}


def _renamed(weights: Mapping[str, Tensor], names: tuple[tuple[str, str], ...]) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for name, tensor in weights.items():
        for pattern, replacement in names:
            name = re.sub(pattern, replacement, name)
        found[name] = tensor
    for name in [name for name in found if ".self_attn.q_proj." in name]:
        parts = [found.pop(name.replace(".q_proj.", f".{one}_proj.")) for one in "qkv"]
        found[name.replace(".self_attn.q_proj.", ".attn.qkv.")] = torch.cat(parts)
    return found
