"""Anchors of the YOLO networks: those of the papers, and what a spec makes of them. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tao_like.tasks.detection.spec_blocks.yolo import SIZES, AnchorSpec

Shape = tuple[float, float]
"""Width and height, in pixels of the input."""


@dataclass(frozen=True)
class Published:
    """What a paper has for COCO.

    Attributes:
        side: of the square input, in pixels.
        shapes: of the anchors of each map, fine to coarse.
        extends: how far centers may leave their cells in each map, in cells: darknet's ``scale_x_y`` less 1.
        box_matching_iou: overlap of shapes from which on an anchor is responsible for an object.
    """

    side: int
    shapes: tuple[tuple[Shape, ...], ...]
    extends: tuple[float, ...]
    box_matching_iou: float


_TINY = ((23.0, 27.0), (37.0, 58.0), (81.0, 82.0), (135.0, 169.0), (344.0, 319.0))
PUBLISHED: Mapping[str, Published] = {
    # Redmon and Farhadi 2018, section 2.1 and 2.3.
    "yolo_v3": Published(
        416,
        (
            ((10.0, 13.0), (16.0, 30.0), (33.0, 23.0)),
            ((30.0, 61.0), (62.0, 45.0), (59.0, 119.0)),
            ((116.0, 90.0), (156.0, 198.0), (373.0, 326.0)),
        ),
        (0.0, 0.0, 0.0),
        1.0,
    ),
    # Bochkovskiy et al. 2020; the figures stand in the configuration that was published with it.
    "yolo_v4": Published(
        608,
        (
            ((12.0, 16.0), (19.0, 36.0), (40.0, 28.0)),
            ((36.0, 75.0), (76.0, 55.0), (72.0, 146.0)),
            ((142.0, 110.0), (192.0, 243.0), (459.0, 401.0)),
        ),
        (0.2, 0.1, 0.05),
        0.213,
    ),
    # Wang et al. 2021, "Scaled-YOLOv4". Both maps have the anchor of 81 x 82. The configuration that was
    # published has the best anchor alone; darknet recommends YOLOv4's threshold.
    "yolo_v4_tiny": Published(416, (_TINY[:3], _TINY[2:]), (0.05, 0.05), 0.213),
}


@dataclass(frozen=True)
class AnchorPlan:
    """The anchors of a network, and how its loss uses them.

    Attributes:
        shapes: of the anchors of each map, fine to coarse.
        extends: how far centers may leave their cells in each map, in cells, both sides together.
        box_matching_iou: overlap of shapes above which an anchor is responsible too, beside the best one.
        neutral_iou: overlap above which a box that is responsible for no object is no mistake.
        box_weight: of the boxes in the loss.
        negative_weight: of locations without an object.
        class_weight: of the classes.
    """

    shapes: tuple[tuple[Shape, ...], ...]
    extends: tuple[float, ...]
    box_matching_iou: float
    neutral_iou: float
    box_weight: float
    negative_weight: float
    class_weight: float

    @property
    def counts(self) -> tuple[int, ...]:
        """Anchors of each map."""
        return tuple(len(of_map) for of_map in self.shapes)


def map_sizes(arch: str) -> tuple[str, ...]:
    """TAO's words for the maps of an architecture, fine to coarse: ``small``, ``mid``, ``big``."""
    return SIZES[-len(PUBLISHED[arch].shapes) :]


def anchor_plan(arch: str, spec: AnchorSpec, size: tuple[int, int]) -> AnchorPlan:
    """What a spec says, completed by what the paper has.

    Args:
        arch: one of ``ANCHOR_ARCHITECTURES``.
        spec: the spec's block.
        size: height and width of the input; the paper's anchors are scaled by the longer side.
    """
    paper = PUBLISHED[arch]
    scale = max(size) / paper.side
    shapes, extends = [], []
    for number, name in enumerate(map_sizes(arch)):
        given = getattr(spec, f"{name}_anchor_shape")
        of_map = given or [(width * scale, height * scale) for width, height in paper.shapes[number]]
        shapes.append(tuple((float(width), float(height)) for width, height in of_map))
        extend = getattr(spec, f"{name}_grid_xy_extend")
        extends.append(paper.extends[number] if extend is None else extend)
    return AnchorPlan(
        tuple(shapes),
        tuple(extends),
        paper.box_matching_iou if spec.box_matching_iou is None else spec.box_matching_iou,
        spec.matching_neutral_box_iou,
        spec.loss_loc_weight,
        spec.loss_neg_obj_weights,
        spec.loss_class_weights,
    )
