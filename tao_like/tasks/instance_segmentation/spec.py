"""The spec of instance segmentation: detection's blocks, and the network for masks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

from tao_like.config import Problem, spec_block, spec_field
from tao_like.config.blocks.common import (
    IGNORED_TAO_KEYS,
    CommonSpec,
    EvaluateSpec,
    ExportSpec,
    TrainSpec,
)
from tao_like.errors import SpecError
from tao_like.networks.backbones.names import IMPORTED, resolve_name
from tao_like.tasks.detection.spec import LARGEST_STRIDE, DatasetSpec, PostprocessSpec
from tao_like.tasks.detection.spec import BackboneSpec as DetectorBackboneSpec
from tao_like.tasks.detection.spec_blocks.anchors import FasterRcnnSpec
from tao_like.tasks.detection.spec_blocks.stages import DetectionInferenceSpec

ARCHITECTURES = "mask_rcnn over any timm backbone with strides 4, 8, 16 and 32"
STAGES = ("dataset_check", "train", "evaluate", "inference", "prune", "export", "quantize", "compare")
TAO_NETWORKS = {"mask_rcnn": "model.arch=mask_rcnn"}
"""TAO's networks that are this task, and the key that chooses each."""


@dataclass
class BackboneSpec(DetectorBackboneSpec):
    """The network below the neck."""

    type: str = spec_field(
        "tf_efficientnet_lite0", "Architecture: a name of timm's, or TAO's name for it", automl=False
    )
    pretrained_backbone_path: str | None = spec_field(
        None,
        "Weights to start from: of the backbone, a .safetensors or .pth file, a bundle, `timm` (needs a "
        "network) or `package:efficientnet_lite0` (or lite1, lite2); or of the whole network, a checkpoint "
        "of torchvision's maskrcnn_resnet50_fpn; empty: random weights",
        path=True,
    )


@dataclass
class NeckSpec:
    """The feature pyramid, and the first layers behind it."""

    width: int = spec_field(96, "Channels; 256 in the paper", ge=8, le=1024, automl=True)


@dataclass
class MaskHeadSpec:
    """The network that says where in a box the object is: layers of 3x3, then 28 x 28 cells a class."""

    width: int = spec_field(256, "Channels; 256 in the paper, fewer are faster", ge=8, le=1024, automl=True)
    depth: int = spec_field(4, "Layers; 4 in the paper", ge=1, le=8, automl=True)
    dice_weight: float = spec_field(
        0.0,
        "Weight of Dice beside cross entropy in the loss of masks. A thin object fills few cells of its "
        "box, so an empty mask costs little by cross entropy alone, and all by Dice; 0 in the paper",
        ge=0,
        automl=True,
    )


@dataclass
class InstancePostprocessSpec(PostprocessSpec):
    """Which of the network's objects are predictions. Stored in the bundle and in the exported graph."""

    score_threshold: float = spec_field(
        0.05, "Objects up to this score are dropped, also for metrics; they would take time", ge=0, lt=1
    )
    iou_threshold: float = spec_field(
        0.5,
        "Non-maximum suppression: an object goes whose box overlaps a better one's of its class by more",
        gt=0,
        le=1,
    )
    mask_threshold: float = spec_field(
        0.5, "Pixels of the photo of at least this probability belong to the object", gt=0, lt=1
    )


@dataclass
class ModelSpec:
    """The network."""

    arch: str = spec_field("mask_rcnn", "Kind of network", choices=("mask_rcnn",))
    backbone: BackboneSpec = spec_block(BackboneSpec, "Backbone")
    neck: NeckSpec = spec_block(NeckSpec, "Neck")
    faster_rcnn: FasterRcnnSpec = spec_block(FasterRcnnSpec, "The two stages that find boxes")
    mask_head: MaskHeadSpec = spec_block(MaskHeadSpec, "The network for masks")
    postprocess: InstancePostprocessSpec = spec_block(InstancePostprocessSpec, "From boxes to predictions")


@dataclass
class Spec(CommonSpec):
    """Everything that a spec file of instance segmentation may hold."""

    model: ModelSpec = spec_block(ModelSpec, "The network")
    dataset: DatasetSpec = spec_block(DatasetSpec, "The data")
    train: TrainSpec = spec_block(TrainSpec, "Training")
    evaluate: EvaluateSpec = spec_block(EvaluateSpec, "Evaluation")
    inference: DetectionInferenceSpec = spec_block(DetectionInferenceSpec, "Inference")
    export: ExportSpec = spec_block(ExportSpec, "Export to ONNX")

    ignored: ClassVar[Mapping[str, str]] = {
        **IGNORED_TAO_KEYS,
        "dataset.pin_memory": "chosen by the device",
        "dataset.remap_mscoco_category": "category ids need not be contiguous",
    }

    def check(self) -> Iterator[Problem]:
        """Rules that join keys of several blocks."""
        backbone, data = self.model.backbone.type, self.dataset
        if backbone == IMPORTED:
            yield Problem(
                "model.backbone.type",
                "mask_rcnn needs maps at stride 4, and an imported backbone gives 8, 16 and 32; take a timm "
                "backbone",
            )
        else:
            try:
                resolve_name(backbone)
            except SpecError as error:
                yield Problem("model.backbone.type", str(error).removeprefix("model.backbone.type: "))
        if data.tiling.enable:
            yield Problem(
                "dataset.tiling.enable",
                "true is not allowed: masks are not joined over tiles; take a larger dataset.img_size",
            )
        for key in ("img_size", "img_height"):
            side = getattr(data, key)
            if side is not None and side % LARGEST_STRIDE:
                near = max(LARGEST_STRIDE, round(side / LARGEST_STRIDE) * LARGEST_STRIDE)
                yield Problem(
                    f"dataset.{key}", f"{side} is not a multiple of {LARGEST_STRIDE}; the nearest is {near}"
                )
        if self.train.keep == "best" and not (data.split.val or data.val_data_sources):
            yield Problem(
                "train.keep",
                "best needs validation data; give dataset.val_data_sources or dataset.split.val, or set "
                "train.keep=last",
            )
        if data.augmentation.multi_scale_range:
            yield from _multi_scale_problems(data)


def _multi_scale_problems(data: DatasetSpec) -> Iterator[Problem]:
    """The smallest size must be one."""
    steps, smallest = (
        data.augmentation.multi_scale_range,
        min(data.img_size, data.img_height or data.img_size),
    )
    if steps * LARGEST_STRIDE >= smallest:
        yield Problem(
            "dataset.augmentation.multi_scale_range",
            f"{steps} steps of {LARGEST_STRIDE} pixels leave nothing of {smallest}; give fewer",
        )
