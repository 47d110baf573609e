"""By what two sets of boxes in space are compared."""

from __future__ import annotations

import numpy as np

from tao_like.runtime.geometry.boxes3d import bev_iou, wrapped
from tao_like.runtime.predictions.boxes3d import Selection3d
from tao_like.tasks.common.boxes.box_agreement import Comparison


def comparison(selection: Selection3d) -> Comparison:
    """Boxes are the same by what they have in common seen from above; see `moved` for how far apart.

    Args:
        selection: by which both sets were made.
    """
    return Comparison(
        score_threshold=selection.score_threshold,
        iou_threshold=selection.iou_threshold,
        limit=selection.limit,
        by_class=selection.by_class,
        box_iou=bev_iou,
        moved=moved,
    )


def moved(one: np.ndarray, other: np.ndarray) -> float:
    """Largest difference of center or size as a fraction of the box's longest side, or of yaw in radians."""
    side = max(float(one[3:6].max()), 1.0)
    straight = float(np.abs(one[:6] - other[:6]).max()) / side
    return max(straight, abs(float(wrapped(one[6] - other[6]))))
