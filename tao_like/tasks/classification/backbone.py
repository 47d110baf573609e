"""The backbone that a spec names: timm's, or an imported one; and its weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import nn

from tao_like.errors import BundleError, SpecError
from tao_like.networks.backbones.build import Normalization, create_backbone, default_normalization
from tao_like.networks.backbones.names import IMPORTED
from tao_like.networks.imported.backbone import (
    IMAGENET,
    ImportedBackbone,
    build_imported,
    fill_head,
    read_imported,
)
from tao_like.networks.weights.class_layer import class_layer
from tao_like.networks.weights.loading import bundle_normalization, load_pretrained, source_normalization
from tao_like.tasks.common.weights import random_start

if TYPE_CHECKING:
    from tao_like.bundle import Bundle
    from tao_like.contract.trained import TrainedState
from tao_like.tasks.classification.spec import Spec

TASK_NAME = "classification"
IMPORTED_NORMALIZATION = (
    "an imported file does not say how its images were normalized; ImageNet's mean and deviation are used "
    "unless dataset.augmentation.mean and dataset.augmentation.std are given"
)


def imported_bundle(spec: Spec) -> Bundle | None:
    """The bundle with the imported graph that a spec names; None for timm's networks."""
    backbone = spec.model.backbone
    if backbone.type != IMPORTED:
        return None
    assert backbone.pretrained_backbone_path is not None, "the spec's own check asks for it"
    return read_imported(backbone.pretrained_backbone_path)


def normalization_for(spec: Spec, *, pretrained: bool = True) -> Normalization:
    """Mean, std and resizing that the weights were trained with."""
    backbone = spec.model.backbone
    if backbone.type == IMPORTED:
        bundle = imported_bundle(spec) if pretrained else None
        return (None if bundle is None else bundle_normalization(bundle)) or IMAGENET
    source = backbone.pretrained_backbone_path
    found = source_normalization(source, backbone.type) if source and pretrained else None
    return found or default_normalization(backbone.type)


def build_backbone(spec: Spec, classes: list[str], trained: TrainedState | None) -> nn.Module:
    """The backbone with a head for the task's classes; an imported one has its weights already."""
    backbone = spec.model.backbone
    if backbone.type != IMPORTED:
        return create_backbone(
            backbone.type,
            num_classes=len(classes),
            img_size=spec.dataset.img_size,
            drop_rate=backbone.drop_rate,
            drop_path_rate=backbone.drop_path_rate,
        )
    if backbone.drop_path_rate:
        raise SpecError("model.backbone.drop_path_rate: an imported network has no such dropout; set it to 0")
    arguments: dict[str, Any] = {
        "num_classes": len(classes),
        "img_size": spec.dataset.img_size,
        "drop_rate": backbone.drop_rate,
    }
    if trained is not None and trained.graph is not None:
        return build_imported(trained.graph, trained.extra, None, **arguments)
    bundle = imported_bundle(spec)
    assert bundle is not None
    assert bundle.graph is not None
    whole = bundle.task != TASK_NAME
    return build_imported(bundle.graph, bundle.extra, bundle.weights if whole else None, **arguments)


def fill_backbone(spec: Spec, classes: list[str], module: nn.Module) -> list[str]:
    """Loads the weights that the spec names, and says what was loaded."""
    backbone = spec.model.backbone
    if isinstance(module, ImportedBackbone):
        bundle = imported_bundle(spec)
        assert bundle is not None
        if bundle.task == TASK_NAME:
            return _go_on(module, bundle, classes)
        notes = [f"{backbone.pretrained_backbone_path}: an imported network, whose weights are in it"]
        if spec.dataset.augmentation.mean is None:
            notes.append(IMPORTED_NORMALIZATION)
        return [*notes, *module.layout.notes(), fill_head(module, bundle.classes, classes)]
    if backbone.pretrained_backbone_path:
        return [load_pretrained(module, backbone.pretrained_backbone_path, backbone.type, classes).text()]
    return [random_start(is_frozen=backbone.freeze_backbone)]


def _go_on(module: ImportedBackbone, bundle: Bundle, classes: list[str]) -> list[str]:
    """Fills an imported network from a classifier that was trained on it before."""
    prefix = "backbone."
    weights = {
        name.removeprefix(prefix): tensor
        for name, tensor in bundle.weights.items()
        if name.startswith(prefix)
    }
    head = class_layer(classes, bundle.classes)
    weights = {
        name: head.ordered(tensor) if name.startswith("head.") else tensor
        for name, tensor in weights.items()
        if head.rows is not None or not name.startswith("head.")
    }
    try:
        missing, unexpected = module.load_state_dict(weights, strict=False)
    except RuntimeError as error:
        raise BundleError(f"the bundle's weights do not fit its imported network: {error}") from error
    if unexpected or any(not name.startswith("head.") for name in missing):
        raise BundleError("the bundle's weights do not fit its imported network: names differ")
    return ["all weights come from the bundle"] if head.is_same else [head.text()]
