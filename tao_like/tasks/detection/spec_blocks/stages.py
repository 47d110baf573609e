"""What detection adds to the blocks of the stages."""

from __future__ import annotations

from dataclasses import dataclass

from tao_like.config import spec_field
from tao_like.config.blocks.common import EvaluateSpec, ExportSpec, InferenceSpec


@dataclass
class InferDataSourcesSpec:
    """Images without labels; TAO's names."""

    image_dir: list[str] = spec_field([], "Folders of images for inference without `inference.source`")
    classmap: str | None = spec_field(
        None,
        "Text file with the class names, one a line; compared with those that the model has learnt",
        path=True,
    )


@dataclass
class DetectionEvaluateSpec(EvaluateSpec):
    """Scores a bundle or an ONNX file on labelled data."""

    average_precision_mode: str = spec_field(
        "none",
        "Beside COCO's figures, `voc_mAP` as TAO's older detectors state it: the mean precision at eleven "
        "recalls (SAMPLE, VOC until 2009) or the area below the curve (INTEGRATE); training reports it too",
        choices=("none", "SAMPLE", "INTEGRATE"),
    )
    matching_iou_threshold: float = spec_field(
        0.5, "Overlap from which on a prediction is right, for `voc_mAP`", gt=0, le=1
    )


@dataclass
class DetectionInferenceSpec(InferenceSpec):
    """Runs a bundle or an ONNX file on files without labels."""

    label_files: str = spec_field(
        "none",
        "Beside COCO's form, a KITTI label file for each image, in `labels`",
        choices=("none", "kitti"),
    )


@dataclass
class DetectionExportSpec(ExportSpec):
    """Writes a bundle as an ONNX file, and proves that it gives the same predictions."""

    nms: bool = spec_field(
        True,
        "Non-maximum suppression in the graph; false: all boxes and their class scores come out, for engines "
        "with a suppression of their own",
    )
