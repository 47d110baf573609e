"""The network's part of the spec of pointpillars, in TAO's names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tao_like.config import Problem, spec_block, spec_field


@dataclass
class VfeSpec:
    """From points to pillars."""

    name: str = spec_field("PillarVFE", "Kind of pillar features", choices=("PillarVFE",))
    with_distance: bool = spec_field(False, "Distance from the sensor as a feature of a point")
    use_absolute_xyz: bool = spec_field(
        True, "Coordinates themselves as features of a point", aliases=("use_absolue_xyz",)
    )
    use_norm: bool = spec_field(True, "Norm layer behind the linear layer; false: a bias")
    num_filters: list[int] = spec_field([64], "Channels of a pillar: one number", element_ge=4)
    padded_row_constant: bool = spec_field(
        False,
        "Let the value that padded rows give take part in every pillar of less than 32 points, as in "
        "checkpoints of networks with padded pillars (OpenPCDet, TAO)",
    )

    def check(self) -> Iterator[Problem]:
        """One linear layer."""
        if len(self.num_filters) != 1:
            yield Problem("num_filters", f"{self.num_filters} is not allowed; give one number: [64]")


@dataclass
class Backbone2dSpec:
    """Convolutions over the bird's-eye view: blocks, each coarser than the one before, brought together."""

    name: str = spec_field("BaseBEVBackbone", "Kind of backbone", choices=("BaseBEVBackbone",))
    layer_nums: list[int] = spec_field([3, 5, 5], "Convolutions of each block behind its first", element_ge=0)
    layer_strides: list[int] = spec_field([2, 2, 2], "Stride of each block's first convolution", element_ge=1)
    num_filters: list[int] = spec_field([64, 128, 256], "Channels of each block", element_ge=4)
    upsample_strides: list[int] = spec_field(
        [1, 2, 4], "By how much each block's map is enlarged, so that all have one size", element_ge=1
    )
    num_upsample_filters: list[int] = spec_field(
        [128, 128, 128], "Channels of each enlarged map", element_ge=4
    )

    @property
    def stride(self) -> int:
        """Pillars along a side of a cell of the head."""
        return self.layer_strides[0] // self.upsample_strides[0]

    def check(self) -> Iterator[Problem]:
        """All lists speak of the same blocks, whose maps come to one size."""
        count = len(self.layer_nums)
        names = ("layer_strides", "num_filters", "upsample_strides", "num_upsample_filters")
        wrong = [name for name in names if len(getattr(self, name)) != count]
        for name in wrong:
            yield Problem(name, f"{getattr(self, name)} has not {count} numbers, as layer_nums has")
        if wrong or not count:
            return
        total, sizes = 1, set()
        for stride, enlarged in zip(self.layer_strides, self.upsample_strides, strict=True):
            total *= stride
            sizes.add(total / enlarged)
        if len(sizes) > 1 or any(size != int(size) for size in sizes):
            yield Problem(
                "upsample_strides",
                f"{self.upsample_strides} does not bring strides of {self.layer_strides} to one size; "
                "for [2, 2, 2] give [1, 2, 4]",
            )


@dataclass
class AnchorSpec:
    """The anchors of a class."""

    class_name: str = spec_field("", "Class, as dataset.class_names has it")
    anchor_sizes: list[list[float]] = spec_field(
        [[3.9, 1.6, 1.56]], "Length, width and height of each anchor", unit="metres"
    )
    anchor_rotations: list[float] = spec_field([0.0, 1.57], "Turns of each anchor", unit="radians")
    anchor_bottom_heights: list[float] = spec_field(
        [-1.78], "Height of an anchor's underside above the sensor; mostly below it", unit="metres"
    )
    align_center: bool = spec_field(
        False,
        "Anchors in the middle of their cells, as mmdetection3d has them; false: from border to border, as "
        "OpenPCDet and TAO",
    )
    feature_map_stride: int = spec_field(2, "Pillars along a side of a cell; the backbone decides it", ge=1)
    matched_threshold: float = spec_field(0.6, "Overlap from which on an anchor learns an object", gt=0, le=1)
    unmatched_threshold: float = spec_field(
        0.45, "Overlap up to which an anchor learns that there is none", ge=0, le=1
    )

    @property
    def count(self) -> int:
        """Anchors of a cell."""
        return len(self.anchor_sizes) * len(self.anchor_rotations) * len(self.anchor_bottom_heights)

    def check(self) -> Iterator[Problem]:
        """Sizes are three lengths."""
        if not all(len(size) == 3 and min(size) > 0 for size in self.anchor_sizes):
            yield Problem("anchor_sizes", f"{self.anchor_sizes}: each is length, width, height above 0")
        if self.unmatched_threshold > self.matched_threshold:
            yield Problem(
                "unmatched_threshold",
                f"{self.unmatched_threshold:g} is above matched_threshold={self.matched_threshold:g}",
            )
        if not (self.anchor_sizes and self.anchor_rotations and self.anchor_bottom_heights):
            yield Problem("", "a class needs at least one size, one rotation and one bottom height")


PERSON: dict[str, Any] = {
    "anchor_bottom_heights": [-0.6],
    "matched_threshold": 0.5,
    "unmatched_threshold": 0.35,
}
DEFAULT_ANCHORS = [
    AnchorSpec(class_name="Car"),
    AnchorSpec(class_name="Pedestrian", anchor_sizes=[[0.8, 0.6, 1.73]], **PERSON),
    AnchorSpec(class_name="Cyclist", anchor_sizes=[[1.76, 0.6, 1.73]], **PERSON),
]
"""Of KITTI, whose sensor stands 1.73 m above the road."""


@dataclass
class LossWeightsSpec:
    """Weights of the parts of the loss."""

    cls_weight: float = spec_field(1.0, "Of the classes", ge=0, automl=True)
    loc_weight: float = spec_field(2.0, "Of the boxes", ge=0, automl=True)
    dir_weight: float = spec_field(0.2, "Of the direction", ge=0, automl=True)
    code_weights: list[float] = spec_field([1.0] * 7, "Of each of the seven values of a box", element_ge=0)

    def check(self) -> Iterator[Problem]:
        """Seven values."""
        if len(self.code_weights) != 7:
            yield Problem("code_weights", f"{len(self.code_weights)} numbers; a box has seven values")


@dataclass
class LossSpec:
    """The loss."""

    loss_weights: LossWeightsSpec = spec_block(LossWeightsSpec, "Weights of the parts")


@dataclass
class TargetAssignerSpec:
    """Which anchor learns which object."""

    name: str = spec_field(
        "AxisAlignedTargetAssigner",
        "By the overlap seen from above, of boxes turned to the nearest axis",
        choices=("AxisAlignedTargetAssigner",),
    )
    match_height: bool = spec_field(False, "Take heights into the overlap")


@dataclass
class DenseHeadSpec:
    """Anchors, and what is said of each."""

    name: str = spec_field("AnchorHeadSingle", "Kind of head", choices=("AnchorHeadSingle",))
    use_direction_classifier: bool = spec_field(
        True, "Tell front from rear by a class of its own; else a box may point backwards"
    )
    dir_offset: float = spec_field(0.78539, "Angle where the first direction begins", unit="radians")
    anchor_generator_config: list[AnchorSpec] = spec_field(
        DEFAULT_ANCHORS, "Anchors of each class, in the order of dataset.class_names"
    )
    target_assigner_config: TargetAssignerSpec = spec_block(TargetAssignerSpec, "Anchors and objects")
    loss_config: LossSpec = spec_block(LossSpec, "The loss")


@dataclass
class NmsSpec:
    """Non-maximum suppression of rotated boxes, seen from above."""

    multi_classes_nms: bool = spec_field(False, "Boxes of different classes do not suppress each other")
    nms_thresh: float = spec_field(
        0.01, "A box goes that overlaps a better one by more", ge=0, le=1, automl=True
    )
    nms_pre_max_size: int = spec_field(4096, "Most boxes that it looks at, the best ones", ge=1)
    nms_post_max_size: int = spec_field(500, "Most boxes of a frame", ge=1, le=4096)


@dataclass
class PostProcessingSpec:
    """Which of the network's boxes are predictions. Stored in the bundle and in the exported graph."""

    score_thresh: float = spec_field(0.1, "Boxes below this score are dropped, also for metrics", gt=0, lt=1)
    eval_metric: str = spec_field(
        "auto",
        "kitti: KITTI's rules of easy, moderate and hard, which need 2D boxes and calibration; plain: every "
        "object counts; auto: KITTI's where the data has what they need",
        choices=("auto", "kitti", "plain"),
    )
    nms_config: NmsSpec = spec_block(NmsSpec, "Non-maximum suppression")


@dataclass
class ModelSpec:
    """The network."""

    name: str = spec_field("PointPillar", "Architecture", choices=("PointPillar",))
    norm_momentum: float = spec_field(
        0.01,
        "Fraction of a batch in the norm layers' statistics; 0.1 where a training has few steps, "
        "for the statistics to come up with the weights",
        gt=0,
        le=1,
    )
    vfe: VfeSpec = spec_block(VfeSpec, "From points to pillars")
    backbone_2d: Backbone2dSpec = spec_block(Backbone2dSpec, "Backbone")
    dense_head: DenseHeadSpec = spec_block(DenseHeadSpec, "Head")
    post_processing: PostProcessingSpec = spec_block(PostProcessingSpec, "From boxes to predictions")
