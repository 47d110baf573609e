"""What pruning leaves as it is."""

from __future__ import annotations

from torch import nn

from tao_like.networks import _torchvision  # noqa: F401
from tao_like.tasks.segmentation.model.segmenter import Segmenter

# isort: split
from segmentation_models_pytorch.encoders.mix_transformer import Attention, Block, OverlapPatchEmbed


def protected_layers(model: Segmenter) -> list[nn.Module]:
    """Layers whose outputs keep their channels.

    They are the last layer, and in SegFormer's backbones all that writes into the residual stream or takes
    part in attention, whose code divides its width by the number of heads: there the hidden layers of the
    MLPs shrink.
    """
    kept: list[nn.Module] = [model.class_layer]
    for module in model.backbone.modules():
        if isinstance(module, OverlapPatchEmbed):
            kept.append(module.proj)
        elif isinstance(module, Attention):
            kept += [module.q, module.kv, module.proj]
            if isinstance(module.sr, nn.Conv2d):
                kept.append(module.sr)
        elif isinstance(module, Block):
            kept.append(module.mlp.fc2)
    return kept
