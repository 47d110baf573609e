"""A new training that starts from the weights of a bundle."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from tao_like.bundle import Bundle, read_bundle
from tao_like.errors import SpecError
from tao_like.networks.backbones.build import head_prefixes
from tao_like.networks.backbones.names import IMPORTED
from tao_like.networks.weights.class_layer import ClassLayer, class_layer
from tao_like.networks.weights.loading import load_pretrained
from tao_like.tasks.classification.model import ClassificationNetwork
from tao_like.tasks.common.weights import fill


def warm_start(network: ClassificationNetwork, path: Path, classes: list[str], backbone: str) -> list[str]:
    """Fills the network from a bundle: wholly where the classes are the same, else without the head.

    Classes are the same by their names; those in another order have the head's outputs put in the new one.

    Args:
        network: as the spec has it.
        path: the bundle.
        classes: of the new training.
        backbone: the network's architecture, in the spec's words.

    Returns:
        What to tell the user.

    Raises:
        BundleError: the file is no bundle of a classification.
        SpecError: its network is another one, or was pruned.
    """
    bundle = read_bundle(path, expect_task="classification")
    if bundle.structure is not None:
        raise SpecError(
            f"train.pretrained_model_path={path} holds a pruned network, which keeps its own sizes; give "
            "it as train.pruned_model_path"
        )
    head = class_layer(classes, bundle.classes)
    if head.rows is not None:
        if not fill(network, _with_head(network, bundle, head)):
            theirs = bundle.spec["model"]["backbone"]["type"]
            raise SpecError(
                f"train.pretrained_model_path={path} holds another network ({theirs}) than "
                f"model.backbone.type={backbone}; make them agree"
            )
        return [f"all weights come from {path}", head.text()]
    if backbone == IMPORTED:
        return [*_all_but_head(network, bundle, path), head.text()]
    report = load_pretrained(network.backbone, str(path), backbone, classes)
    if report.normalization is not None:
        network.normalise.mean.copy_(torch.tensor(report.normalization.mean))
        network.normalise.std.copy_(torch.tensor(report.normalization.std))
    return [report.text()]


def _with_head(network: ClassificationNetwork, bundle: Bundle, head: ClassLayer) -> dict[str, Tensor]:
    """The bundle's weights with the head's outputs in the order of the new classes."""
    heads = tuple(f"backbone.{name}." for name in head_prefixes(network.backbone))
    return {
        name: head.ordered(tensor) if name.startswith(heads) else tensor
        for name, tensor in bundle.weights.items()
    }


def _all_but_head(network: ClassificationNetwork, bundle: Bundle, path: Path) -> list[str]:
    """Fills an imported network and its normalization; the head stays as it is."""
    heads = tuple(f"backbone.{name}." for name in head_prefixes(network.backbone))
    if not fill(network, bundle.weights, heads):
        raise SpecError(
            f"train.pretrained_model_path={path} holds another network than the imported one that "
            "model.backbone.pretrained_backbone_path names; make them agree"
        )
    return [f"all weights below the head come from {path}"]
