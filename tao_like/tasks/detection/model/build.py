"""From a spec to a network with the weights that it starts from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from torch import nn

from tao_like.bundle import read_bundle
from tao_like.errors import SpecError
from tao_like.networks.backbones.build import Normalization, create_backbone, default_normalization
from tao_like.networks.backbones.names import IMPORTED
from tao_like.networks.backbones.pyramid import BackbonePyramid
from tao_like.networks.imported.backbone import IMAGENET
from tao_like.networks.imported.pyramid import ImportedPyramid, build_imported_pyramid, imported_source
from tao_like.networks.weights.checkpoints import BUNDLE_SUFFIX
from tao_like.networks.weights.class_layer import ClassLayer, class_layer
from tao_like.networks.weights.loading import load_pretrained, source_normalization
from tao_like.tasks.common.weights import fill, random_start
from tao_like.tasks.detection.anchors.presets import anchor_plan
from tao_like.tasks.detection.model.detector import Detector
from tao_like.tasks.detection.model.faster_rcnn import FasterRcnn
from tao_like.tasks.detection.model.retinanet import RetinaNet
from tao_like.tasks.detection.model.ssd import VGG_CHANNELS, VGG_SIDE, VGG_STEPS, ExtraLayers, Ssd, VggMaps
from tao_like.tasks.detection.model.torchvision_files import is_torchvision_file, load_torchvision
from tao_like.tasks.detection.model.yolo.detector import AnchorDetector, neck_widths
from tao_like.tasks.detection.model.yolo.parts import CspDarknetTiny
from tao_like.tasks.detection.model.yolox.detector import YoloxDetector, yolox, yolox_over
from tao_like.tasks.detection.model.yolox.published import load_published
from tao_like.tasks.detection.spec import YOLOX_BACKBONES, ModelSpec, Spec, is_paper_ssd
from tao_like.tasks.detection.spec_blocks.anchors import BACKBONE_MAPS
from tao_like.tasks.detection.spec_blocks.yolo import ANCHOR_ARCHITECTURES, TINY_BACKBONE

PIXELS = Normalization(
    mean=(0.0, 0.0, 0.0),
    std=(1 / 255, 1 / 255, 1 / 255),
    interpolation="bilinear",
    crop_pct=1.0,
    input_size=(3, 640, 640),
)
"""What YOLOX's own networks and YOLOv4-tiny's take: pixels as they are."""
SSD_PIXELS = Normalization(
    mean=(0.48235, 0.45882, 0.40784),
    std=(1 / 255, 1 / 255, 1 / 255),
    interpolation="bilinear",
    crop_pct=1.0,
    input_size=(3, 300, 300),
)
"""What torchvision's ssd300_vgg16 takes: pixels less their mean."""
FASTER_RCNN_STRIDES = (4, 8, 16, 32)
TASK_NAME = "detection"
ImportedGraph = tuple[bytes, dict[str, Any]]
"""The graph of an imported backbone, and what its bundle says of it."""
BACKBONE = "backbone."


def input_normalization(model: ModelSpec) -> Normalization:
    """How images are preprocessed for the weights that a spec names."""
    backbone = model.backbone
    if backbone.type in (*YOLOX_BACKBONES, TINY_BACKBONE):
        return PIXELS
    if backbone.type == IMPORTED:
        # A foreign file does not say how its images were preprocessed.
        return IMAGENET
    source = backbone.pretrained_backbone_path
    if is_paper_ssd(model) and is_torchvision_file(source, model.arch):
        return SSD_PIXELS
    found = source_normalization(source, backbone.type) if source else None
    return found or default_normalization(backbone.type)


def build_network(
    spec: Spec,
    classes: list[str],
    size: tuple[int, int],
    *,
    pretrained: bool,
    graph: ImportedGraph | None = None,
) -> tuple[Detector, list[str]]:
    """The network of a spec.

    Args:
        spec: of detection.
        classes: class names.
        size: height and width of the input.
        pretrained: load the weights that the spec names; else they are random, to be filled.
        graph: of an imported backbone and what is said of it, from a trained bundle; None: the
            spec names one.

    Returns:
        The network, and what to tell the user of the weights that it starts from.
    """
    backbone = spec.model.backbone
    source = backbone.pretrained_backbone_path if pretrained else None
    if spec.train.pretrained_model_path:
        source = None
    notes: list[str] = []
    if backbone.type in YOLOX_BACKBONES:
        network: Detector = yolox(backbone.type.removeprefix("yolox_"), len(classes))
        if source and Path(source).suffix == BUNDLE_SUFFIX:
            notes.append(_backbone_of_bundle(network, Path(source)))
        elif source:
            notes.append(load_published(cast("YoloxDetector", network), Path(source)))
    elif backbone.type == TINY_BACKBONE:
        network = _anchored(spec.model, CspDarknetTiny(), len(classes), size, PIXELS)
    elif backbone.type == IMPORTED:
        network = _over_imported(spec.model, len(classes), size, graph, notes)
    else:
        network = _over_backbone(spec.model, len(classes), size, source, notes, pretrained=pretrained)
    if pretrained and spec.train.pretrained_model_path:
        notes.append(warm_start(network, Path(spec.train.pretrained_model_path), classes))
    elif pretrained and not source:
        notes.append(random_start(is_frozen=backbone.freeze_backbone))
    return network, notes


def _over_imported(
    model: ModelSpec, num_classes: int, size: tuple[int, int], graph: ImportedGraph | None, notes: list[str]
) -> Detector:
    """A detector over an imported network, whose weights are in its bundle."""
    if graph is not None:
        pyramid = build_imported_pyramid(*graph, None, size)
    else:
        assert model.backbone.pretrained_backbone_path is not None, "the spec's own check asks for it"
        bundle = imported_source(model.backbone.pretrained_backbone_path)
        assert bundle.graph is not None
        pyramid = build_imported_pyramid(bundle.graph, bundle.extra, bundle.weights, size)
        notes.append(f"{model.backbone.pretrained_backbone_path}: an imported network with its weights")
        notes += pyramid.layout.notes()
    return _over_maps(model, pyramid, num_classes, size, input_normalization(model))


def _over_backbone(
    model: ModelSpec,
    num_classes: int,
    size: tuple[int, int],
    source: str | None,
    notes: list[str],
    *,
    pretrained: bool,
) -> Detector:
    """A detector over a timm backbone, whose weights come from a source."""
    backbone = model.backbone
    found = input_normalization(model) if pretrained else default_normalization(backbone.type)
    module = create_backbone(
        backbone.type, num_classes=0, img_size=size, drop_path_rate=backbone.drop_path_rate
    )
    whole = is_torchvision_file(source, model.arch)
    if source and not whole:
        notes.append(load_pretrained(module, source, backbone.type).text())
    network = _detector(model, module, num_classes, size, found)
    if source and whole:
        notes.append(load_torchvision(network, Path(source), model.arch))
    return network


def _detector(
    model: ModelSpec, module: nn.Module, num_classes: int, size: tuple[int, int], found: Normalization
) -> Detector:
    """The detector of ``model.arch`` over a timm backbone with its weights."""
    name = model.backbone.type
    if is_paper_ssd(model):
        steps = VGG_STEPS if size == (VGG_SIDE, VGG_SIDE) else None
        maps = VggMaps(cast("nn.Sequential", module.features))
        return _ssd(model, maps, nn.Identity(), VGG_CHANNELS, num_classes, found, steps)
    if model.arch == "faster_rcnn":
        pyramid = BackbonePyramid(module, name, size, FASTER_RCNN_STRIDES)
        width = model.neck.width
        return FasterRcnn(pyramid, num_classes, width, model.faster_rcnn, found.mean, found.std)
    return _over_maps(model, BackbonePyramid(module, name, size), num_classes, size, found)


def _over_maps(
    model: ModelSpec,
    maps: BackbonePyramid | ImportedPyramid,
    num_classes: int,
    size: tuple[int, int],
    found: Normalization,
) -> Detector:
    """The detector of ``model.arch`` over maps at strides 8, 16 and 32."""
    width = model.neck.width
    if model.arch in ANCHOR_ARCHITECTURES:
        return _anchored(model, maps, num_classes, size, found)
    if model.arch == "ssd":
        neck = ExtraLayers(maps.channels, width, len(model.ssd.scales) - 1 - BACKBONE_MAPS)
        return _ssd(model, maps, neck, neck.channels, num_classes, found, None)
    if model.arch == "retinanet":
        return RetinaNet(maps, num_classes, width, found.mean, found.std)
    return yolox_over(maps, num_classes, width, model.neck.depth, found.mean, found.std)


def _ssd(
    model: ModelSpec,
    maps: nn.Module,
    neck: nn.Module,
    channels: Sequence[int],
    num_classes: int,
    found: Normalization,
    steps: Sequence[int] | None,
) -> Ssd:
    scales, ratios = model.ssd.scales, model.ssd.aspect_ratios_global
    return Ssd(maps, neck, channels, num_classes, scales, ratios, found.mean, found.std, steps)


def _anchored(
    model: ModelSpec, backbone: nn.Module, num_classes: int, size: tuple[int, int], found: Normalization
) -> Detector:
    """YOLOv3, YOLOv4 or YOLOv4-tiny over a backbone."""
    plan = anchor_plan(model.arch, model.anchors, size)
    widths = neck_widths(model.arch, model.backbone.type, model.neck.width)
    return AnchorDetector(model.arch, backbone, widths, plan, num_classes, found.mean, found.std)


def told(layer: ClassLayer) -> str:
    """In words what became of the layer that tells classes, which is kept in its own order alone."""
    if layer.is_reordered:
        return "the layer that tells classes is new, since the source has them in another order"
    return layer.text("the layer that tells classes")


def _backbone_of_bundle(network: Detector, path: Path) -> str:
    """Fills the backbone alone from a detector's bundle."""
    bundle = read_bundle(path, expect_task=TASK_NAME)
    theirs = {
        name.removeprefix(BACKBONE): tensor
        for name, tensor in bundle.weights.items()
        if name.startswith(BACKBONE)
    }
    if bundle.structure is not None or not fill(network.backbone, theirs):
        raise SpecError(
            f"model.backbone.pretrained_backbone_path={path} holds another backbone "
            f"({bundle.spec['model']['backbone']['type']}{', pruned' if bundle.structure else ''}) than "
            "model.backbone.type; make them agree"
        )
    return f"the backbone's weights come from {path}; all above it is new"


def warm_start(network: Detector, path: Path, classes: list[str], task: str = TASK_NAME) -> str:
    """Fills the network from a bundle; where the classes differ, without the last layer that tells them."""
    bundle = read_bundle(path, expect_task=task)
    # A layer that tells classes may have outputs for each anchor too, so that it is not put in another order.
    layer = class_layer(classes, bundle.classes)
    if not fill(network, bundle.weights, () if layer.is_same else network.class_outputs):
        theirs = bundle.spec["model"]["backbone"]["type"]
        raise SpecError(
            f"train.pretrained_model_path={path} holds another network ({theirs}) than this spec describes; "
            "make model.backbone and model.neck agree"
        )
    return f"all weights come from {path}; {told(layer)}"
