"""The spec of instance segmentation: detection's blocks, and the network for masks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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
from tao_like.config.blocks.prune import MOVED_TAO_KEYS
from tao_like.errors import SpecError
from tao_like.networks.backbones.names import IMPORTED
from tao_like.tasks.common.spec_checks import (
    backbone_problems,
    keep_problems,
    multi_scale_problems,
    size_problems,
)
from tao_like.tasks.detection.spec import LARGEST_STRIDE, PostprocessSpec
from tao_like.tasks.detection.spec import BackboneSpec as DetectorBackboneSpec
from tao_like.tasks.detection.spec_blocks.anchors import FasterRcnnSpec
from tao_like.tasks.detection.spec_blocks.stages import DetectionInferenceSpec
from tao_like.tasks.instance_segmentation.spec_data import InstanceDatasetSpec
from tao_like.tasks.instance_segmentation.spec_mask2former import (
    MODES,
    MaskFormerSpec,
    PixelDecoderSpec,
    SwinSpec,
)
from tao_like.tasks.instance_segmentation.spec_tao import IGNORED, MOVED, REFUSED

ARCHITECTURES = "mask_rcnn and mask2former over any timm backbone with strides 4, 8, 16 and 32"
STAGES = ("dataset_check", "train", "evaluate", "inference", "prune", "export", "quantize", "compare")
TAO_NETWORKS = {"mask_rcnn": "model.arch=mask_rcnn", "mask2former": "model.arch=mask2former"}
"""TAO's networks that are this task, and the key that chooses each."""
SWIN = "swin"
"""A backbone of transformers' own; see ``SwinSpec``."""
EFFICIENTVIT = "efficientvit"
"""TAO's name for a family of timm's."""


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
        "of torchvision's maskrcnn_resnet50_fpn or of transformers' Mask2Former; empty: random weights",
        path=True,
    )
    swin: SwinSpec = spec_block(SwinSpec, "For `type: swin`, with mask2former")


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

    arch: str = spec_field("mask_rcnn", "Kind of network", choices=("mask_rcnn", "mask2former"))
    mode: str = spec_field(
        "instance",
        "What mask2former finds: objects that may cover each other; a class for every pixel; or objects and "
        "regions without common pixels. TAO's default is panoptic",
        choices=MODES,
    )
    object_mask_threshold: float = spec_field(
        0.8, "Queries up to this score are no segment (modes semantic and panoptic); 0.4 in TAO", ge=0, lt=1
    )
    overlap_threshold: float = spec_field(
        0.8, "A segment goes of which less than this fraction is seen; 0.5 in TAO", ge=0, le=1
    )
    backbone: BackboneSpec = spec_block(BackboneSpec, "Backbone")
    neck: NeckSpec = spec_block(NeckSpec, "Neck")
    faster_rcnn: FasterRcnnSpec = spec_block(FasterRcnnSpec, "The two stages that find boxes")
    mask_head: MaskHeadSpec = spec_block(MaskHeadSpec, "The network for masks")
    sem_seg_head: PixelDecoderSpec = spec_block(PixelDecoderSpec, "The pixel decoder of mask2former")
    mask_former: MaskFormerSpec = spec_block(MaskFormerSpec, "The queries of mask2former")
    postprocess: InstancePostprocessSpec = spec_block(InstancePostprocessSpec, "From boxes to predictions")

    @property
    def makes_segments(self) -> bool:
        """Whether predictions have no common pixels."""
        return self.arch == "mask2former" and self.mode != "instance"

    def region_numbers(self, names: Sequence[str]) -> list[int]:
        """Numbers of the classes that are regions. Raises SpecError for a name that is no class."""
        if not self.makes_segments:
            return []
        if self.mode == "semantic":
            return list(range(len(names)))
        unknown = [name for name in self.mask_former.region_classes if name not in names]
        if unknown:
            raise SpecError(
                f"model.mask_former.region_classes: {unknown[0]!r} is no class of the data, whose classes "
                f"are {', '.join(names[:10])}"
            )
        return [number for number, name in enumerate(names) if name in self.mask_former.region_classes]


@dataclass
class Spec(CommonSpec):
    """Everything that a spec file of instance segmentation may hold."""

    model: ModelSpec = spec_block(ModelSpec, "The network")
    dataset: InstanceDatasetSpec = spec_block(InstanceDatasetSpec, "The data")
    train: TrainSpec = spec_block(TrainSpec, "Training")
    evaluate: EvaluateSpec = spec_block(EvaluateSpec, "Evaluation")
    inference: DetectionInferenceSpec = spec_block(DetectionInferenceSpec, "Inference")
    export: ExportSpec = spec_block(ExportSpec, "Export to ONNX")

    ignored: ClassVar[Mapping[str, str]] = {
        **IGNORED_TAO_KEYS,
        **IGNORED,
        "dataset.pin_memory": "chosen by the device",
        "dataset.remap_mscoco_category": "category ids need not be contiguous",
    }

    moved: ClassVar[Mapping[str, str | tuple[str, ...]]] = {**MOVED_TAO_KEYS, **MOVED}
    refused: ClassVar[Mapping[str, str]] = REFUSED

    def check(self) -> Iterator[Problem]:
        """Rules that join keys of several blocks."""
        backbone, data = self.model.backbone.type, self.dataset
        if backbone == IMPORTED:
            yield Problem(
                "model.backbone.type",
                f"{self.model.arch} needs maps at stride 4, and an imported backbone gives 8, 16 and 32; "
                "take a timm backbone",
            )
        elif backbone == SWIN:
            if self.model.arch != "mask2former":
                yield Problem(
                    "model.backbone.type",
                    "swin is for model.arch=mask2former; name one of timm's, such as "
                    "swin_tiny_patch4_window7_224",
                )
        elif backbone == EFFICIENTVIT:
            yield Problem(
                "model.backbone.type",
                "efficientvit is not allowed; name the network, such as efficientvit_l2",
            )
        else:
            yield from backbone_problems(backbone)
        if self.model.mode != MODES[0] and self.model.arch != "mask2former":
            yield Problem("model.mode", f"{self.model.mode} is for model.arch=mask2former; give that too")
        if data.tiling.enable:
            yield Problem(
                "dataset.tiling.enable",
                "true is not allowed: masks are not joined over tiles; take a larger dataset.img_size",
            )
        yield from size_problems(data, LARGEST_STRIDE, "dataset.")
        has_val = data.split.val or data.sources("val")
        yield from keep_problems(self.train.keep, has_val, "dataset.val_data_sources or dataset.split.val")
        yield from multi_scale_problems(data.augmentation.multi_scale_range, LARGEST_STRIDE, data)
