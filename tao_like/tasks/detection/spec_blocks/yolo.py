"""What a spec may say of the YOLO detectors with anchors. Field names are those of TAO's YOLO networks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tao_like.config import Problem, spec_field

ANCHOR_ARCHITECTURES = ("yolo_v3", "yolo_v4", "yolo_v4_tiny")
TINY_BACKBONE = "cspdarknet_tiny"
"""TAO's name for the backbone of YOLOv4-tiny, which timm does not have."""
SIZES = ("small", "mid", "big")
"""TAO's words for the anchors of strides 8, 16 and 32."""


@dataclass
class AnchorSpec:
    """Anchors of yolo_v3, yolo_v4 and yolo_v4_tiny, and which of them are responsible for an object."""

    small_anchor_shape: list[list[float]] | None = spec_field(
        None,
        "Width and height of each anchor at stride 8, such as [[12, 16], [19, 36], [40, 28]]; empty: COCO's, "
        "as the paper has them, in proportion to the input. The stage kmeans finds those of your data. "
        "yolo_v4_tiny has none",
        unit="pixels of the input",
        element_gt=0,
    )
    mid_anchor_shape: list[list[float]] | None = spec_field(
        None, "The same at stride 16", unit="pixels of the input", element_gt=0
    )
    big_anchor_shape: list[list[float]] | None = spec_field(
        None, "The same at stride 32", unit="pixels of the input", element_gt=0
    )
    small_grid_xy_extend: float | None = spec_field(
        None,
        "How far a box's center may leave its cell at stride 8, in cells, both sides together: darknet's "
        "scale_x_y less 1; empty: as the paper has it",
        ge=0,
        le=1,
    )
    mid_grid_xy_extend: float | None = spec_field(None, "The same at stride 16", ge=0, le=1)
    big_grid_xy_extend: float | None = spec_field(None, "The same at stride 32", ge=0, le=1)
    box_matching_iou: float | None = spec_field(
        None,
        "Anchors that overlap an object's shape by more than this are responsible for it, beside the best; "
        "1: the best alone; empty: 0.213, in yolo_v3 1",
        gt=0,
        le=1,
        automl=True,
    )
    matching_neutral_box_iou: float = spec_field(
        0.7,
        "A box that overlaps some object by more than this, and is not responsible for it, is no mistake",
        gt=0,
        le=1,
        automl=True,
    )
    loss_loc_weight: float = spec_field(5.0, "Weight of the boxes in the loss", gt=0, automl=True)
    loss_neg_obj_weights: float = spec_field(
        1.0, "Weight of locations without an object in the loss", gt=0, automl=True
    )
    loss_class_weights: float = spec_field(
        3.0,
        "Weight of the classes in the loss; the papers have 1, with which classes are learnt late in short "
        "trainings, since boxes and classes share all layers but the last",
        gt=0,
        automl=True,
    )

    def check(self) -> Iterator[Problem]:
        """An anchor is a pair of numbers."""
        for size in SIZES:
            shapes = getattr(self, f"{size}_anchor_shape")
            if shapes is None:
                continue
            if not shapes:
                yield Problem(
                    f"{size}_anchor_shape", "[] is not allowed; give at least one anchor, or remove the key"
                )
            for shape in shapes:
                if len(shape) != 2:
                    yield Problem(
                        f"{size}_anchor_shape", f"{shape} is no anchor; each has a width and a height"
                    )


@dataclass
class KmeansSpec:
    """Finds anchors for the training data, and writes a spec with them."""

    num_clusters: int | None = spec_field(
        None,
        "Anchors to find, a multiple of the number of maps; empty: as many as model.anchors has",
        ge=2,
        le=60,
    )
    max_steps: int = spec_field(1000, "Most steps of k-means", ge=1)
    min_x: float = spec_field(0.0, "Narrower boxes are left out", unit="pixels of the input", ge=0)
    min_y: float = spec_field(0.0, "Lower boxes are left out", unit="pixels of the input", ge=0)
    seed: int = spec_field(0, "Seed of the first centers", ge=0)
    results_dir: str | None = spec_field(
        None, "Folder of this stage's results; empty: `results_dir/kmeans`", path=True
    )


def yolo_problems(arch: str, backbone: str, source: str | None) -> Iterator[Problem]:
    """Rules of YOLOv4-tiny's own backbone, with keys below the spec's root."""
    if backbone != TINY_BACKBONE:
        return
    if arch != "yolo_v4_tiny":
        yield Problem(
            "model.backbone.type",
            f"{TINY_BACKBONE} has features at strides 16 and 32 alone, and {arch} needs 8 too; set "
            "model.arch=yolo_v4_tiny, or take another backbone",
        )
    if source:
        yield Problem(
            "model.backbone.pretrained_backbone_path",
            f"no published weights of {TINY_BACKBONE} can be read here; remove the key, or start from a "
            "bundle with train.pretrained_model_path",
        )
