"""Principal components of embeddings."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def principal_components(embeddings: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The mean of embeddings, and the directions in which they vary, most variance first.

    Args:
        embeddings: (N, D).
        count: directions; where the embeddings have fewer, zeros follow.

    Returns:
        (D,) and (count, D), of length 1 and orthogonal.
    """
    mean = embeddings.mean(dim=0)
    _, _, axes = torch.linalg.svd(embeddings - mean, full_matrices=False)
    if len(axes) < count:
        axes = functional.pad(axes, (0, 0, 0, count - len(axes)))
    return mean, axes[:count]
