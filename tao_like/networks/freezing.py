"""Freezing parts of a network: their parameters get no gradient, and their norm statistics stay.

A frozen part is marked by a plain Python attribute on its modules, which no state dict holds and which
``copy.deepcopy`` keeps. ``Module.train()`` knows nothing of it, so call :func:`keep_frozen` after it.
"""

from __future__ import annotations

from torch import nn

from tao_like.networks import _torchvision  # noqa: F401

# isort: split
from timm import layers as timm_layers

_MARK = "tao_like_is_frozen"

# timm's norm layers that are not torch's with something added. Looked up by name, since timm does not declare
# them as exported to type checkers.
_TIMM_NORM_LAYERS = (
    *("RmsNorm", "RmsNormFp32", "RmsNorm2d", "RmsNorm2dFp32"),
    *("SimpleNorm", "SimpleNormFp32", "SimpleNorm2d", "SimpleNorm2dFp32"),
    *("FrozenBatchNormAct2d", "FilterResponseNormAct2d", "FilterResponseNormTlu2d"),
    *("EvoNorm2dB0", "EvoNorm2dB1", "EvoNorm2dB2", "EvoNorm2dS0", "EvoNorm2dS1", "EvoNorm2dS2"),
)

_NORM_LAYERS: tuple[type[nn.Module], ...] = (
    nn.BatchNorm1d,
    nn.BatchNorm2d,  # timm's BatchNormAct2d is one of these; likewise its LayerNorm2d and GroupNormAct below
    nn.BatchNorm3d,
    nn.SyncBatchNorm,
    nn.InstanceNorm1d,
    nn.InstanceNorm2d,
    nn.InstanceNorm3d,
    nn.GroupNorm,
    nn.LayerNorm,
    nn.RMSNorm,
    *(getattr(timm_layers, name) for name in _TIMM_NORM_LAYERS),
)


def is_norm(module: nn.Module) -> bool:
    """Tell whether a module is a normalization layer of torch or timm."""
    return isinstance(module, _NORM_LAYERS)


def freeze(module: nn.Module) -> None:
    """Freeze a module with all that it holds: no gradients, evaluation mode, statistics unchanged."""
    module.requires_grad_(False)
    for part in module.modules():
        setattr(part, _MARK, True)
    keep_frozen(module)


def freeze_norms(module: nn.Module) -> list[str]:
    """Freeze the normalization layers of a module, their scale and shift as well as their statistics.

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
