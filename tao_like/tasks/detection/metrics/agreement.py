"""By what two sets of detections on images are compared."""

from __future__ import annotations

import numpy as np

from tao_like.runtime.geometry.boxes import Boxes, box_iou
from tao_like.runtime.predictions.boxes import Selection
from tao_like.tasks.common.boxes.box_agreement import Comparison


def comparison(selection: Selection, side: int) -> Comparison:
    """A box is moved by the largest change of a border as a fraction of the input's side.

    Args:
        selection: by which both sets were made.
        side: of the input, in pixels.
    """

    def moved(one: Boxes, other: Boxes) -> float:
        return float(np.abs(one - other).max()) / side

    return Comparison(
        score_threshold=selection.score_threshold,
        iou_threshold=selection.iou_threshold,
        limit=selection.limit,
        by_class=True,
        box_iou=box_iou,
        moved=moved,
    )
