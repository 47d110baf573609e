"""The spec of segmentation. Field names are those of TAO's segformer, and of its unet where that has more."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

from tao_like.config import Problem, spec_block
from tao_like.config.blocks.common import IGNORED_TAO_KEYS, CommonSpec, TrainSpec
from tao_like.config.blocks.prune import MOVED_TAO_KEYS
from tao_like.networks.backbones.names import IMPORTED
from tao_like.tasks.common.spec_checks import backbone_problems, imported_problems, keep_problems
from tao_like.tasks.segmentation.spec_blocks.data import DatasetSpec
from tao_like.tasks.segmentation.spec_blocks.model import MIT_BACKBONES, ModelSpec
from tao_like.tasks.segmentation.spec_blocks.stages import (
    SegmentationEvaluateSpec,
    SegmentationExportSpec,
    SegmentationInferenceSpec,
)
from tao_like.tasks.segmentation.spec_blocks.tao import IGNORED, MOVED

ARCHITECTURES = (
    "unet, unetplusplus, fpn, linknet, pspnet, pan, manet, deeplabv3, deeplabv3plus, upernet and "
    "segformer over timm backbones that give features at several strides, or over mit_b0 to mit_b5"
)
STAGES = ("dataset_check", "train", "evaluate", "inference", "prune", "export", "quantize", "compare")
TAO_NETWORKS = {"unet": "model.arch=unet", "segformer": "model.arch=segformer"}
"""TAO's networks that are this task, and the key that chooses each."""
PAN_SIDE = 128
IMPORTED_CUTS = ("dense features",)
"""What an imported network must have to be trained by this task."""


@dataclass
class Spec(CommonSpec):
    """Everything that a spec file of segmentation may hold."""

    model: ModelSpec = spec_block(ModelSpec, "The network")
    dataset: DatasetSpec = spec_block(DatasetSpec, "The data")
    train: TrainSpec = spec_block(TrainSpec, "Training")
    evaluate: SegmentationEvaluateSpec = spec_block(SegmentationEvaluateSpec, "Evaluation")
    inference: SegmentationInferenceSpec = spec_block(SegmentationInferenceSpec, "Inference")
    export: SegmentationExportSpec = spec_block(SegmentationExportSpec, "Export to ONNX")

    ignored: ClassVar[Mapping[str, str]] = {**IGNORED_TAO_KEYS, **IGNORED}
    moved: ClassVar[Mapping[str, str | tuple[str, ...]]] = {**MOVED_TAO_KEYS, **MOVED}

    def check(self) -> Iterator[Problem]:
        """Rules that join keys of several blocks."""
        backbone = self.model.backbone.type
        if backbone == IMPORTED:
            yield from self._check_imported()
        elif backbone not in MIT_BACKBONES:
            yield from backbone_problems(backbone)
        data = self.dataset
        has_val = data.split.val or data.val_dataset.is_given or data.root_dir
        keys = "dataset.val_dataset.images_dir or dataset.split.val"
        yield from keep_problems(self.train.keep, has_val, keys)
        smallest = min(data.img_size, data.img_height or data.img_size)
        if self.model.arch == "pan" and backbone != IMPORTED and smallest < PAN_SIDE:
            yield Problem(
                "dataset.img_size",
                f"{smallest} is too small for pan, which halves it seven times; give {PAN_SIDE}",
            )
        if data.label_transform == "norm" and data.num_classes not in (None, 2):
            yield Problem(
                "dataset.label_transform",
                f"norm is not allowed with num_classes={data.num_classes}: 0 and 255 tell two classes; "
                "give auto",
            )

    def _check_imported(self) -> Iterator[Problem]:
        """An imported network is a bundle, and has its own decoder."""
        yield from imported_problems(self.model.backbone.pretrained_backbone_path)
        if self.model.decode_head.channels:
            yield Problem(
                "model.decode_head.channels",
                f"is not allowed with model.backbone.type={IMPORTED}: an imported segmenter has its own "
                "decoder",
            )
