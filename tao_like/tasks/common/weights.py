"""Weights that a training starts with: those of another network of the same form, or none."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn


def shapes(tensors: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    """The shape of each tensor."""
    return {name: tensor.shape for name, tensor in tensors.items()}


def fill(network: nn.Module, weights: Mapping[str, Tensor], but: tuple[str, ...] = ()) -> bool:
    """Fills a network, where the names and shapes of its weights are the given ones.

    Args:
        network: changed in place.
        weights: of another network.
        but: beginnings of names that stay as they are, whatever the others' shapes.

    Returns:
        Whether it was filled; else it is as it was.
    """
    own = network.state_dict()
    taken = {name: tensor for name, tensor in weights.items() if not name.startswith(but)}
    if shapes(taken) != shapes({name: tensor for name, tensor in own.items() if not name.startswith(but)}):
        return False
    network.load_state_dict({**own, **taken})
    return True


def random_start(*, is_frozen: bool) -> str:
    """The note for a training whose backbone starts at random."""
    note = "the backbone starts at random; model.backbone.pretrained_backbone_path names weights"
    if not is_frozen:
        return note
    return (
        f"{note}. It is frozen and stays as it is: give weights, or set model.backbone.freeze_backbone=false"
    )
