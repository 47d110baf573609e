"""Which image sizes an architecture of timm takes, found out without computing or holding its weights.

timm's networks state their limits in many ways: patches, windows, a grid of position embeddings, strides that
leave nothing. So a size is tried: the network is built on torch's meta device, where tensors have a shape
and no content, and images of that size go through it.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import nn

from tao_like.errors import SpecError
from tao_like.networks import _torchvision  # noqa: F401
from tao_like.networks.backbones.names import TYPE_KEY, architecture_of

# isort: split
import timm
from timm.layers import PatchEmbed  # type: ignore[attr-defined]
from timm.models import PretrainedCfg, get_pretrained_cfg, list_pretrained

SIZE_KEY = "dataset.img_size"
_COARSE_STEPS = (32, 16, 8)
_COMMON_SIZES = (64, 96, 128, 160, 192)
_SUGGESTIONS = 2
_BATCH, _CLASSES = 2, 3


@dataclass(frozen=True)
class _Trial:
    """What came of sending images of one size through a network.

    Attributes:
        problem: Why the network cannot take them, in words; empty where it can.
        error: timm's error, where there was one.
        needs_argument: Whether the network has to be built for this size.
        patch: Side of the patches that the network cuts images into, in pixels; 1 where it cuts none.
    """

    problem: str
    error: Exception | None = None
    needs_argument: bool = False
    patch: int = 1


def weights_facts(name: str) -> PretrainedCfg:
    """Return what timm knows of an architecture's weights; those of a tag where the name carries one.

    Raises:
        SpecError: timm has no weights of this tag.
    """
    try:
        return get_pretrained_cfg(name) or PretrainedCfg()
    except (RuntimeError, ValueError) as error:
        architecture = architecture_of(name)
        known = ", ".join(tag.partition(".")[2] for tag in list_pretrained(f"{architecture}.*"))
        raise SpecError(
            f"{TYPE_KEY}: timm has no weights '{name}'. The tags that it has for {architecture}: "
            f"{known or 'none'}."
        ) from error


def size_argument(name: str, size: tuple[int, int], *, channels: int = 3) -> dict[str, Any]:
    """Return the argument that builds an architecture for an image size. The trial takes about half a second.

    Args:
        name: timm's name of the architecture.
        size: Height and width in pixels.
        channels: Channels of the input.

    Returns:
        ``{"img_size": size}``, or nothing for networks that take any size as they are.

    Raises:
        SpecError: The network cannot take this size (the message names the rule and sizes that fit), or it
            gives no class scores.
    """
    trial = _try_size(name, size, channels)
    if not trial.problem:
        return {"img_size": size} if trial.needs_argument else {}
    height, width = weights_facts(name).input_size[1:]
    own_trial = _try_size(name, (height, width), channels)
    if own_trial.error is not None:
        raise own_trial.error  # It fails at its own size too: the size is not to blame.
    if own_trial.problem:
        raise SpecError(f"{TYPE_KEY}: {name} cannot be used here; {own_trial.problem}.")
    given = f"{size[0]}" if size[0] == size[1] else f"{size[0]} x {size[1]} (height x width)"
    fitting = ", ".join(str(side) for side in _sizes_that_fit(name, max(size), own_trial.patch, channels))
    raise SpecError(
        f"{SIZE_KEY}: the backbone {name} cannot take images of {given} pixels; {trial.problem}. "
        f"Sizes that fit: {fitting}."
    ) from trial.error


@lru_cache(maxsize=256)
def _try_size(name: str, size: tuple[int, int], channels: int) -> _Trial:
    """Send images of a size through an architecture, built for it if it can be, else as it is."""
    facts = weights_facts(name)
    first_error: Exception | None = None
    for needs_argument in (True, False) if facts.fixed_input_size else (False,):
        arguments: dict[str, Any] = {"img_size": size} if needs_argument else {}
        try:
            with torch.device("meta"), torch.no_grad(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                network = timm.create_model(name, num_classes=_CLASSES, in_chans=channels, **arguments)
                scores = network.eval()(torch.empty(_BATCH, channels, *size))
        except Exception as error:  # each family fails in its own way: assertions, reshapes, division by 0
            first_error = first_error or error
            continue
        if getattr(scores, "shape", None) != (_BATCH, _CLASSES):
            return _Trial("it gives features and no class scores")
        patch = _patch_size(network)
        # Some are trained at a size that their patches do not fill (SigLIP: 384 in patches of 14): let them.
        if size != facts.input_size[1:] and any(side % patch for side in size):
            return _Trial(
                f"it cuts them into patches of {patch} pixels, and each side must be a multiple of that"
            )
        return _Trial("", needs_argument=needs_argument, patch=patch)
    words = str(first_error).strip().splitlines()
    if not words:
        return _Trial("its blocks or windows do not divide them", first_error)
    return _Trial(f"in timm's words: {words[0].rstrip('.')}", first_error)


def _patch_size(network: nn.Module) -> int:
    """Return the side of the patches where the network drops what does not fill one; else 1."""
    for module in network.modules():
        if isinstance(module, PatchEmbed) and not module.dynamic_img_pad:
            return max(module.patch_size)
    return 1


def _sizes_that_fit(name: str, wanted: int, patch: int, channels: int) -> list[int]:
    """Return a few square sizes that the network takes, the nearest first; its own is the last."""
    own_size = max(weights_facts(name).input_size[1:])
    steps = (patch,) if patch > 1 else _COARSE_STEPS
    floors = {(wanted // step * step, step) for step in steps}
    candidates = {side for side, _ in floors} | {side + step for side, step in floors}
    candidates |= {side for side in _COMMON_SIZES if wanted < side < own_size}
    fitting: list[int] = []
    for side in sorted(candidates - {0, wanted, own_size}, key=lambda side: (abs(side - wanted), side)):
        if len(fitting) < _SUGGESTIONS and not _try_size(name, (side, side), channels).problem:
            fitting.append(side)
    return [*fitting, own_size]
