"""What segmentation adds to the blocks of the stages."""

from __future__ import annotations

from dataclasses import dataclass

from tao_like.config import spec_field
from tao_like.config.blocks.common import EvaluateSpec, ExportSpec, InferenceSpec


@dataclass
class SegmentationEvaluateSpec(EvaluateSpec):
    """Scores a bundle or an ONNX file on labelled data."""

    boundary_iou: bool = spec_field(
        True, "Also score the strips along the edges (Cheng et al. 2021); takes time with many classes"
    )


@dataclass
class SegmentationInferenceSpec(InferenceSpec):
    """Runs a bundle or an ONNX file on files without labels."""

    mask_files: bool = spec_field(True, "Write the mask of each photo, as palette PNG, into `masks`")


@dataclass
class SegmentationExportSpec(ExportSpec):
    """Writes a bundle as an ONNX file, and proves that it gives the same predictions."""

    output: str = spec_field(
        "class_map",
        "What the graph gives for every pixel: the number of its class (uint8), or the probabilities of all "
        "classes (float). With dataset.tiling it is always probabilities, which windows need",
        choices=("class_map", "probabilities"),
    )
    dynamic_size: bool = spec_field(
        False, "The graph takes any input size that is a multiple of 32, for programs of your own"
    )
