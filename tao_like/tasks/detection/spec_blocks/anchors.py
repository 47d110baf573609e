"""What may be set of the detectors with anchors. Field names are torchvision's, where TAO has none."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tao_like.config import Problem, spec_field

PYRAMID_LEVELS = 5
"""Maps on which Faster R-CNN looks for regions: strides 4, 8, 16, 32 and 64."""
BACKBONE_MAPS = 3
"""Maps that SSD takes from its backbone: strides 8, 16 and 32."""


@dataclass
class FasterRcnnSpec:
    """Two stages: regions that may hold an object, then what is in each. For ``arch: faster_rcnn``."""

    anchor_sizes: list[float] = spec_field(
        [32.0, 64.0, 128.0, 256.0, 512.0],
        "Side of the anchors on each of the five maps, strides 4 to 64; about the sizes of the objects",
        unit="pixels",
        element_gt=0,
    )
    rpn_pre_nms_top_n_train: int = spec_field(
        2000, "Regions of a map that suppression looks at, in training", ge=1, le=10000
    )
    rpn_pre_nms_top_n_test: int = spec_field(
        1000, "The same for predictions, and in the exported graph", ge=1, le=10000
    )
    rpn_post_nms_top_n_train: int = spec_field(
        2000, "Regions of an image that the second stage may learn from", ge=1, le=10000
    )
    rpn_post_nms_top_n_test: int = spec_field(
        1000,
        "Regions of an image that the second stage looks at for a prediction; fewer are faster",
        ge=1,
        le=10000,
    )
    rpn_nms_thresh: float = spec_field(
        0.7, "A region goes that overlaps a better one of its map by more", gt=0, le=1
    )
    rpn_batch_size_per_image: int = spec_field(
        256, "Anchors of an image that the first stage's loss takes, half of them on objects", ge=1
    )
    box_batch_size_per_image: int = spec_field(
        512, "Regions of an image that the second stage's loss takes, a quarter of them on objects", ge=1
    )
    representation_size: int = spec_field(1024, "Width of the second stage's linear layers", ge=8, le=8192)

    def check(self) -> Iterator[Problem]:
        """One size a map."""
        if len(self.anchor_sizes) != PYRAMID_LEVELS:
            yield Problem(
                "anchor_sizes", f"{self.anchor_sizes} are {len(self.anchor_sizes)}; give {PYRAMID_LEVELS}"
            )


@dataclass
class SsdSpec:
    """Boxes of several sizes and shapes at each location. For ``arch: ssd``."""

    scales: list[float] = spec_field(
        [0.07, 0.15, 0.33, 0.51, 0.69, 0.87, 1.05],
        "Size of the anchors on each map, as a fraction of the input's sides, fine to coarse, and one more; "
        "three maps are the backbone's, the others are added behind it, each half as large",
        element_gt=0,
        element_le=2,
    )
    aspect_ratios_global: list[float] = spec_field(
        [2.0, 3.0],
        "Shapes of the anchors beside squares: width over height, and the other way round; the finest and "
        "the two coarsest maps have only the first, as in the paper",
        element_gt=1,
    )

    def check(self) -> Iterator[Problem]:
        """The scales rise, and there is one for each of the backbone's maps."""
        if len(self.scales) < BACKBONE_MAPS + 1 or sorted(set(self.scales)) != self.scales:
            yield Problem(
                "scales", f"{self.scales} is not allowed; give {BACKBONE_MAPS + 1} or more numbers that rise"
            )
        if not self.aspect_ratios_global:
            yield Problem("aspect_ratios_global", "is empty; give one number or more, such as 2")
