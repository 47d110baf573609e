"""Freezing parts of a network: their parameters get no gradient, and their norm statistics stay.

A frozen part is marked by a plain Python attribute on its modules, which no state dict holds and which
``copy.deepcopy`` keeps. ``Module.train()`` knows nothing of it, so call :func:`keep_frozen` after it.
"""

from __future__ import annotations

from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from tao_like.networks import _torchvision  # noqa: F401

# isort: split
from timm import layers as timm_layers

_MARK = "tao_like_is_frozen"

_NORM_LAYERS: tuple[type[nn.Module], ...] = (
    _NormBase,  # BatchNorm, SyncBatchNorm and InstanceNorm of 1, 2 and 3 dimensions, timm's BatchNormAct2d
    nn.GroupNorm,
    nn.LayerNorm,  # and timm's LayerNorm2d
    nn.RMSNorm,
    nn.LocalResponseNorm,
    timm_layers.RmsNorm,
    timm_layers.RmsNormFp32,
    timm_layers.RmsNorm2d,
    timm_layers.RmsNorm2dFp32,
    timm_layers.SimpleNorm,
    timm_layers.SimpleNormFp32,
    timm_layers.SimpleNorm2d,
    timm_layers.SimpleNorm2dFp32,
    timm_layers.FrozenBatchNormAct2d,
    timm_layers.FilterResponseNormAct2d,
    timm_layers.FilterResponseNormTlu2d,
    timm_layers.EvoNorm2dB0,
    timm_layers.EvoNorm2dB1,
    timm_layers.EvoNorm2dB2,
    timm_layers.EvoNorm2dS0,
    timm_layers.EvoNorm2dS1,
    timm_layers.EvoNorm2dS2,
)


def is_norm(module: nn.Module) -> bool:
    """Tell whether a module is a normalisation layer of torch or timm."""
    return isinstance(module, _NORM_LAYERS)


def freeze(module: nn.Module) -> None:
    """Freeze a module with all that it holds: no gradients, evaluation mode, statistics unchanged."""
    module.requires_grad_(False)
    for part in module.modules():
        setattr(part, _MARK, True)
    keep_frozen(module)


def freeze_norms(module: nn.Module) -> list[str]:
    """Freeze the normalisation layers of a module, their scale and shift as well as their statistics.

    Returns:
        The names of the layers that were frozen, relative to the module.
    """
    names = []
    for name, part in module.named_modules():
        if is_norm(part):
            names.append(name)
            setattr(part, _MARK, True)
            # Only the layer's own: timm's norm layers may hold an activation that has parameters.
            for parameter in part.parameters(recurse=False):
                parameter.requires_grad_(False)
    keep_frozen(module)
    return names


def is_frozen(module: nn.Module) -> bool:
    """Tell whether this very module was frozen (not whether something in it was)."""
    return getattr(module, _MARK, False)


def keep_frozen(module: nn.Module) -> None:
    """Put the frozen parts of a module back into evaluation mode; call it after ``module.train()``."""
    for part in module.modules():
        if is_frozen(part):
            part.training = False
