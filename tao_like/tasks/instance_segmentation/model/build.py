"""From a spec to a network with the weights that it starts from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

from torch import nn

from tao_like.errors import SpecError
from tao_like.networks.backbones.build import Normalization, create_backbone, default_normalization
from tao_like.networks.backbones.pyramid import BackbonePyramid
from tao_like.networks.imported.backbone import IMAGENET
from tao_like.networks.weights.loading import load_pretrained
from tao_like.tasks.common.weights import random_start
from tao_like.tasks.detection.model.build import (
    FASTER_RCNN_STRIDES,
    input_normalization,
    warm_start,
)
from tao_like.tasks.detection.model.torchvision_files import is_torchvision_file, load_torchvision
from tao_like.tasks.instance_segmentation.model.mask2former import (
    Mask2Former,
    SwinMaps,
    mask2former_config,
)
from tao_like.tasks.instance_segmentation.model.mask_rcnn import MaskRcnn
from tao_like.tasks.instance_segmentation.model.network import InstanceNetwork
from tao_like.tasks.instance_segmentation.model.transformers_files import (
    is_transformers_file,
    load_transformers,
)
from tao_like.tasks.instance_segmentation.spec import SWIN, Spec
from tao_like.tasks.instance_segmentation.spec import ModelSpec as InstanceModelSpec

if TYPE_CHECKING:
    from tao_like.tasks.detection.model.detector import Detector
    from tao_like.tasks.detection.spec import ModelSpec

TASK_NAME = "instance_segmentation"


def instance_normalization(model: InstanceModelSpec) -> Normalization:
    """How images are preprocessed for the weights that a spec names; for Swin as published."""
    if model.backbone.type == SWIN:
        return IMAGENET
    # The blocks that are read there are the same in both tasks.
    return input_normalization(cast("ModelSpec", model))


def build_network(
    spec: Spec, classes: list[str], size: tuple[int, int], *, pretrained: bool
) -> tuple[InstanceNetwork, list[str]]:
    """The network of a spec.

    Args:
        spec: of the task.
        classes: class names.
        size: height and width of the input.
        pretrained: load the weights that the spec names; else they are random, to be filled.

    Returns:
        The network, and what to tell the user of the weights that it starts from.
    """
    model, backbone = spec.model, spec.model.backbone
    start = spec.train.pretrained_model_path if pretrained else None
    source = backbone.pretrained_backbone_path if pretrained and not start else None
    whole = (
        is_transformers_file(source)
        if model.arch == "mask2former"
        else (is_torchvision_file(source, model.arch))
    )
    notes: list[str] = []
    pyramid: nn.Module
    if backbone.type == SWIN:
        if source and not whole:
            raise SpecError(
                "model.backbone.pretrained_backbone_path: for swin a file with all of transformers' "
                f"Mask2Former is needed, and {source} is none"
            )
        found, pyramid = instance_normalization(model), SwinMaps(model)
    else:
        found = instance_normalization(model) if pretrained else default_normalization(backbone.type)
        module = create_backbone(
            backbone.type, num_classes=0, img_size=size, drop_path_rate=backbone.drop_path_rate
        )
        if source and not whole:
            notes.append(load_pretrained(module, source, backbone.type).text())
        pyramid = BackbonePyramid(module, backbone.type, size, FASTER_RCNN_STRIDES)
    network = _on(pyramid, spec, classes, found)
    if source and whole:
        notes.append(
            load_transformers(network, Path(source))
            if isinstance(network, Mask2Former)
            else load_torchvision(network, Path(source), model.arch)
        )
    if start:
        notes.append(warm_start(cast("Detector", network), Path(start), classes, TASK_NAME))
    elif pretrained and not source:
        notes.append(random_start(is_frozen=backbone.freeze_backbone))
    return network, notes


def _on(pyramid: nn.Module, spec: Spec, classes: list[str], found: Normalization) -> InstanceNetwork:
    """The network of a spec over a backbone."""
    model = spec.model
    if model.arch == "mask2former":
        return Mask2Former(
            pyramid,
            mask2former_config(model, len(classes)),
            segments=model.makes_segments,
            regions=model.region_numbers(classes),
            deep_supervision=model.mask_former.deep_supervision,
            mean=found.mean,
            std=found.std,
        )
    return MaskRcnn(
        pyramid,
        len(classes),
        model.neck.width,
        model.faster_rcnn,
        model.mask_head,
        found.mean,
        found.std,
    )
