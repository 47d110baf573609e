"""From a spec to a network with the weights that it starts from."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from torch import nn

from tao_like.bundle import read_bundle
from tao_like.errors import SpecError
from tao_like.networks.backbones.build import Normalization, create_backbone, default_normalization
from tao_like.networks.backbones.image_size import size_argument
from tao_like.networks.backbones.names import IMPORTED, resolve_name
from tao_like.networks.imported.backbone import IMAGENET as IMPORTED_PIXELS
from tao_like.networks.imported.dense import ImportedSegmenter, build_imported_dense
from tao_like.networks.imported.pyramid import imported_source
from tao_like.networks.weights.loading import load_pretrained, source_normalization
from tao_like.tasks.common.weights import fill, random_start
from tao_like.tasks.segmentation.model.segmenter import Segmenter
from tao_like.tasks.segmentation.spec import Spec
from tao_like.tasks.segmentation.spec_blocks.model import MIT_BACKBONES, ModelSpec

# isort: split
import segmentation_models_pytorch as smp

TASK_NAME = "segmentation"
ImportedGraph = tuple[bytes, dict[str, Any]]
"""The graph of an imported segmenter, and what its bundle says of it."""
IMAGENET = Normalization(
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
    interpolation="bilinear",
    crop_pct=1.0,
    input_size=(3, 512, 512),
)
_CLASSES = {
    "unet": smp.Unet,
    "unetplusplus": smp.UnetPlusPlus,
    "fpn": smp.FPN,
    "linknet": smp.Linknet,
    "pspnet": smp.PSPNet,
    "pan": smp.PAN,
    "manet": smp.MAnet,
    "deeplabv3": smp.DeepLabV3,
    "deeplabv3plus": smp.DeepLabV3Plus,
    "upernet": smp.UPerNet,
    "segformer": smp.Segformer,
}
_WIDTH_ARGUMENT = {
    "fpn": "decoder_segmentation_channels",
    "pspnet": "psp_out_channels",
    "pan": "decoder_channels",
    "deeplabv3": "decoder_channels",
    "deeplabv3plus": "decoder_channels",
    "upernet": "decoder_channels",
}
_HAS_UPSAMPLING = ("fpn", "pspnet", "pan", "deeplabv3", "deeplabv3plus", "upernet", "segformer")
SEGFORMER_WIDTHS = dict(zip(MIT_BACKBONES, (256, 256, 768, 768, 768, 768), strict=True))
"""Widths of SegFormer's decoder (Xie et al. 2021, table 6); segmentation_models_pytorch takes 256 for all."""


def input_normalization(model: ModelSpec) -> Normalization:
    """How images are preprocessed for the weights that a spec names."""
    backbone = model.backbone
    if backbone.type in MIT_BACKBONES:
        return IMAGENET
    if backbone.type == IMPORTED:
        # A foreign file does not say how its images were preprocessed.
        return IMPORTED_PIXELS
    source = backbone.pretrained_backbone_path
    found = source_normalization(source, backbone.type) if source else None
    return found or default_normalization(backbone.type)


def create_network(model: ModelSpec, num_classes: int, size: tuple[int, int]) -> nn.Module:
    """Backbone, decoder and last layer with random weights.

    Args:
        model: of the spec.
        num_classes: number of classes.
        size: height and width of the input.

    Raises:
        SpecError: this decoder cannot stand over this backbone.
    """
    arch, backbone = model.arch, model.backbone
    arguments: dict[str, Any] = _decoder_arguments(model)
    if backbone.type in MIT_BACKBONES:
        name = backbone.type
    else:
        timm_name = resolve_name(backbone.type)
        name = f"tu-{timm_name}"
        arguments |= {
            key: value for key, value in size_argument(timm_name, size).items() if key == "img_size"
        }
        if backbone.drop_path_rate:
            arguments["drop_path_rate"] = backbone.drop_path_rate
    try:
        network: nn.Module = _CLASSES[arch](
            encoder_name=name, encoder_weights=None, in_channels=3, classes=num_classes, **arguments
        )
    except (
        TypeError,
        ValueError,
        AssertionError,
        RuntimeError,
        KeyError,
        NotImplementedError,
        IndexError,
    ) as error:
        raise SpecError(
            f"model.backbone.type: {arch} cannot be built over {backbone.type} with these settings "
            f"({error}); take "
            "another backbone, such as resnet34, other decode_head.channels, or another arch"
        ) from error
    return network


def _decoder_arguments(model: ModelSpec) -> dict[str, Any]:
    arguments: dict[str, Any] = {}
    widths = model.decode_head.channels
    if model.arch in _HAS_UPSAMPLING:
        # Enlarging is done here, with the centers of pixels at half numbers; theirs has them in the corners.
        arguments["upsampling"] = 1
    if model.arch == "segformer":
        width = model.decode_head.decoder_params.embed_dim
        arguments["decoder_segmentation_channels"] = width or SEGFORMER_WIDTHS.get(model.backbone.type, 256)
    elif widths and model.arch in _WIDTH_ARGUMENT:
        arguments[_WIDTH_ARGUMENT[model.arch]] = widths[0]
    elif widths:
        arguments["decoder_channels"] = tuple(widths)
    return arguments


def build_network(
    spec: Spec,
    classes: list[str],
    size: tuple[int, int],
    *,
    pretrained: bool,
    graph: ImportedGraph | None = None,
) -> tuple[Segmenter, list[str]]:
    """The network of a spec.

    Args:
        spec: of segmentation.
        classes: class names.
        size: height and width of the input.
        pretrained: load the weights that the spec names; else they are random, to be filled.
        graph: of an imported segmenter and what is said of it, from a trained bundle; None: the spec
            names one.

    Returns:
        The network, and what to tell the user of the weights that it starts from.
    """
    model = spec.model
    source = model.backbone.pretrained_backbone_path if pretrained else None
    if spec.train.pretrained_model_path:
        source = None
    notes: list[str] = []
    is_ours = model.backbone.type in (*MIT_BACKBONES, IMPORTED)
    found = (
        input_normalization(model) if pretrained or is_ours else default_normalization(model.backbone.type)
    )
    inner: nn.Module
    if model.backbone.type == IMPORTED:
        inner = _imported(spec, len(classes), size, graph, notes)
    else:
        _check_crop(spec, size)
        inner = create_network(model, len(classes), size)
    if source and model.backbone.type != IMPORTED:
        notes.append(_fill_backbone(inner, model, source, size))
    augmentation = spec.dataset.augmentation
    mean, std = (found.mean, found.std)
    if pretrained and augmentation.mean and augmentation.std:
        if tuple(augmentation.mean) != tuple(mean):
            notes.append(
                f"dataset.augmentation.mean is {augmentation.mean}; if it were not given: {list(mean)}"
            )
        mean, std = (tuple(augmentation.mean), tuple(augmentation.std))
    network = Segmenter(inner, mean, std)
    if pretrained and spec.train.pretrained_model_path:
        notes.append(_warm_start(network, Path(spec.train.pretrained_model_path), classes))
    elif pretrained and not source:
        notes.append(random_start(is_frozen=spec.model.backbone.freeze_backbone))
    return network, notes


def _imported(
    spec: Spec, num_classes: int, size: tuple[int, int], graph: ImportedGraph | None, notes: list[str]
) -> ImportedSegmenter:
    """An imported segmenter, whose weights are in its bundle, with a new layer of classes."""
    crop = spec.dataset.augmentation.train_crop_size
    sizes: dict[str, Any] = {"size": size, "crop": (crop[0], crop[1]) if crop else None}
    if graph is not None:
        return build_imported_dense(*graph, None, num_classes=num_classes, **sizes)
    path = spec.model.backbone.pretrained_backbone_path
    assert path is not None, "the spec's own check asks for it"
    bundle = imported_source(path)
    assert bundle.graph is not None
    network = build_imported_dense(
        bundle.graph, bundle.extra, bundle.weights, num_classes=num_classes, **sizes
    )
    notes.append(f"{path}: an imported segmenter with its weights; its layer of classes is new")
    notes += network.encoder.layout.notes()
    return network


def _check_crop(spec: Spec, size: tuple[int, int]) -> None:
    """A network that is built for one size cannot learn from crops of another. Raises SpecError."""
    crop, backbone = spec.dataset.augmentation.train_crop_size, spec.model.backbone.type
    if not crop or tuple(crop) == size or backbone in MIT_BACKBONES:
        return
    if "img_size" in size_argument(resolve_name(backbone), size):
        raise SpecError(
            f"dataset.augmentation.train_crop_size: {crop} is not the input's size (height {size[0]}, width "
            f"{size[1]}), and {backbone} is built for one size; leave the key out, or take another backbone, "
            "such as resnet34"
        )


def _fill_backbone(network: nn.Module, model: ModelSpec, source: str, size: tuple[int, int]) -> str:
    """Loads weights into a backbone; says what was loaded. Raises SpecError, BundleError."""
    encoder = cast("nn.Module", network.encoder)
    if model.backbone.type in MIT_BACKBONES:
        raise SpecError(
            f"model.backbone.pretrained_backbone_path: {source} cannot be read into "
            f"{model.backbone.type}: only "
            "weights of timm's backbones can; leave it empty, or start from a bundle with "
            "train.pretrained_model_path"
        )
    whole = create_backbone(model.backbone.type, num_classes=0, img_size=size)
    text = load_pretrained(whole, source, model.backbone.type).text()
    # timm's network for features has the same layers, with other dots in their names.
    given = {_plain(name): tensor for name, tensor in whole.state_dict().items()}
    own = encoder.state_dict()
    filled = {name: given[key] for name in own if (key := _plain(name.removeprefix("model."))) in given}
    missing = [name for name in own if name not in filled]
    if missing or any(filled[name].shape != own[name].shape for name in filled):
        raise SpecError(
            f"model.backbone.type: {model.backbone.type} gives its features by other layers than it has as a "
            f"classifier ({len(missing)} of {len(own)} are new), so weights cannot be loaded; take "
            "another backbone"
        )
    encoder.load_state_dict(filled)
    return text


def _plain(name: str) -> str:
    return name.replace(".", "_")


def _warm_start(network: Segmenter, path: Path, classes: list[str]) -> str:
    """Fills the network from a bundle; where the classes differ, without the last layer."""
    bundle = read_bundle(path, expect_task=TASK_NAME)
    same = bundle.classes == classes
    if not fill(network, bundle.weights, () if same else (network.CLASS_OUTPUT,)):
        theirs = bundle.spec["model"]
        raise SpecError(
            f"train.pretrained_model_path={path} holds another network ({theirs['arch']} over "
            f"{theirs['backbone']['type']}) than this spec describes; make model.arch, model.backbone and "
            "model.decode_head agree"
        )
    return f"all weights come from {path}" + ("" if same else "; the layer that tells classes is new")
