"""The two losses over pairs, with any number of right partners, and features of other processes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from tao_like.tasks.clip.model.pair import Embeddings


def contrastive_loss(rows: Embeddings, columns: Embeddings, right: Tensor) -> Tensor:
    """Each image finds its text, each text its image (Radford et al. 2021, figure 3; as in open_clip).

    Args:
        rows: this process's N samples.
        columns: those of all processes, M.
        right: (N, M), 1 where a sample's image and another's text fit, 0 elsewhere. A row with several has
            equal fractions of its target on each (Khosla et al. 2020 put the sum outside the logarithm too).
    """
    targets = right / right.sum(dim=1, keepdim=True)
    of_images = rows.scale * rows.image @ columns.text.T
    of_texts = rows.scale * rows.text @ columns.image.T
    loss = functional.cross_entropy(of_images, targets) + functional.cross_entropy(of_texts, targets)
    return loss / 2


def sigmoid_loss(rows: Embeddings, columns: Embeddings, right: Tensor) -> Tensor:
    """Every pair by itself: does it fit? (Zhai et al. 2023, algorithm 1; as in open_clip)

    The arguments are those of `contrastive_loss`.
    """
    logits = rows.scale * rows.image @ columns.text.T + rows.bias
    signs = 2 * right - 1
    return -functional.logsigmoid(signs * logits).sum() / len(logits)


LOSSES = {"clip": contrastive_loss, "siglip": sigmoid_loss}


def right_pairs(rows: Tensor, columns: Tensor) -> Tensor:
    """(N, M) float: 1 where samples have the same image or the same ids.

    Args:
        rows: (N, 1 + L) int64: the number of the image, and the ids of the text.
        columns: (M, 1 + L), likewise.
    """
    same_image = rows[:, None, 0] == columns[None, :, 0]
    same_text = (rows[:, None, 1:] == columns[None, :, 1:]).all(dim=2)
    return (same_image | same_text).float()


def gathered(tensor: Tensor) -> Tensor:
    """The rows of all processes, in the order of their numbers, each with as many; gradients come back."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return tensor
    if torch.distributed.get_world_size() == 1:
        return tensor
    found: Tensor = _Gather.apply(tensor.contiguous())
    return found


class _Gather(torch.autograd.Function):
    """Gathers rows; the gradient of a row is the sum of what all processes have for it."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        parts = [torch.empty_like(tensor) for _ in range(torch.distributed.get_world_size())]
        torch.distributed.all_gather(parts, tensor)
        ctx.count = len(tensor)
        return torch.cat(parts)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        gradient = gradient.contiguous()
        torch.distributed.all_reduce(gradient)
        start = torch.distributed.get_rank() * ctx.count
        return gradient[start : start + ctx.count]
