"""From a spec to a network with the weights that it starts from."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from tao_like.bundle import read_bundle
from tao_like.errors import SpecError
from tao_like.networks.weights.class_layer import class_layer
from tao_like.tasks.common.weights import fill
from tao_like.tasks.pointpillars.model.backbone import BevBackbone
from tao_like.tasks.pointpillars.model.detector import PointPillars
from tao_like.tasks.pointpillars.model.openpcdet import is_openpcdet, is_published, load_openpcdet
from tao_like.tasks.pointpillars.model.pillars import Grid, PillarFeatures
from tao_like.tasks.pointpillars.spec import Spec

TASK_NAME = "pointpillars"
LAYERS_OF_CLASSES = ("head.",)


def make_network(spec: Spec) -> PointPillars:
    """The network of a spec, with random weights."""
    data, vfe, backbone, head = spec.dataset, spec.model.vfe, spec.model.backbone_2d, spec.model.dense_head
    limits = data.point_cloud_range
    (channels,) = vfe.num_filters
    # Pillars are as high as the range, whatever the voxel's height: there is one layer of them.
    size = (*data.voxel_size[:2], limits[5] - limits[2])
    pillars = PillarFeatures(
        Grid(tuple(limits), size, data.grid),
        channels,
        with_distance=vfe.with_distance,
        use_absolute_xyz=vfe.use_absolute_xyz,
        use_norm=vfe.use_norm,
        padded_row_constant=vfe.padded_row_constant,
    )
    network = PointPillars(
        pillars,
        BevBackbone(
            channels,
            backbone.layer_nums,
            backbone.layer_strides,
            backbone.num_filters,
            backbone.upsample_strides,
            backbone.num_upsample_filters,
        ),
        head.anchor_generator_config,
        limits,
        backbone.stride,
        has_direction=head.use_direction_classifier,
        direction_offset=head.dir_offset,
    )
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.momentum = spec.model.norm_momentum
    return network


def build_network(spec: Spec, classes: list[str], *, pretrained: bool) -> tuple[PointPillars, list[str]]:
    """The network of a spec.

    Args:
        spec: of pointpillars.
        classes: class names.
        pretrained: load the weights that the spec names; else they are random, to be filled.

    Returns:
        The network, and what to tell the user of the weights that it starts from.
    """
    network = make_network(spec)
    source = spec.train.pretrained_model_path if pretrained else None
    if not source:
        return network, []
    if is_openpcdet(Path(source)):
        return network, [load_openpcdet(network, Path(source), keep_head=is_published(classes))]
    return network, [_warm_start(network, Path(source), classes)]


def _warm_start(network: PointPillars, path: Path, classes: list[str]) -> str:
    """Fills the network from a bundle; where the classes differ, without the head."""
    bundle = read_bundle(path, expect_task=TASK_NAME)
    # Each class has its own anchors, so that the head is not put in another order.
    head = class_layer(classes, bundle.classes)
    if not fill(network, bundle.weights, () if head.is_same else LAYERS_OF_CLASSES):
        raise SpecError(
            f"train.pretrained_model_path={path} holds another network than this spec describes; make "
            "model.vfe, model.backbone_2d and model.dense_head agree"
        )
    if head.is_reordered:
        return f"all weights come from {path}; the head is new, since the source's classes have another order"
    return f"all weights come from {path}; {head.text()}"
