"""What pruning leaves as it is."""

from __future__ import annotations

from torch import nn

from tao_like.tasks.segmentation.model.segmenter import Segmenter


def protected_layers(model: Segmenter) -> list[nn.Module]:
    """Layers whose outputs keep their channels: the last one."""
    return [model.class_layer]
