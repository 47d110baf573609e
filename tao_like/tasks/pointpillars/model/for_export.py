"""What is exported: the points of a frame in, boxes out, with non-maximum suppression in the graph."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn

from tao_like.runtime.predictions.boxes3d import CLASS_DISTANCE, Selection3d
from tao_like.tasks.common.boxes.top_indices import top_indices
from tao_like.tasks.pointpillars.model.detector import PointPillars
from tao_like.tasks.pointpillars.model.suppression import suppress


class PointPillarsForExport(nn.Module):
    """A detector whose predictions need no further work.

    Args:
        network: the trained network.
        selection: which boxes are kept; None: all come out as they are, with their scores for each class.
    """

    def __init__(self, network: PointPillars, selection: Selection3d | None) -> None:
        super().__init__()
        self.network = network
        self.selection = selection

    def forward(self, points: Tensor) -> tuple[Tensor, ...]:
        """Maps points (N, 4) to boxes (K, 7), scores (K,), labels (K,) and the number of detections ().

        Without a selection: boxes (A, 7) and scores (A, classes).
        """
        numbered = torch.cat([torch.zeros_like(points[:, :1]), points], dim=1)
        boxes, scores = self.network.decode(self.network(numbered, 1))
        if self.selection is None:
            return boxes[0], scores[0]
        return selected(boxes[0], scores[0], self.selection)


def selected(boxes: Tensor, class_scores: Tensor, selection: Selection3d) -> tuple[Tensor, ...]:
    """The best boxes of a frame, each with its best class, in ONNX's standard operators.

    Args:
        boxes: (A, 7).
        class_scores: (A, classes).
        selection: what to keep.

    Returns:
        Boxes (K, 7), scores (K,), labels (K,) and number of detections (); best first, then 0. K is the
        limit, or A where that is less.
    """
    best, labels = class_scores.max(dim=1)
    count = min(selection.candidates, int(best.shape[0]))
    order = top_indices(best[None], count)[0]
    scores = best[order]
    scores = torch.where(scores >= selection.score_threshold, scores, torch.zeros_like(scores))
    boxes, labels = boxes[order], labels[order]
    apart = boxes
    if selection.by_class:
        away = labels[:, None].to(boxes.dtype) * CLASS_DISTANCE
        apart = torch.cat([boxes[:, :1] + away, boxes[:, 1:]], dim=1)
    keep = _scripted() if torch.onnx.is_in_onnx_export() else suppress
    kept, scores = keep(apart, scores, selection.iou_threshold, min(selection.limit, count))
    is_real = scores > 0
    return boxes[kept] * is_real[:, None], scores, labels[kept] * is_real, is_real.sum()


@functools.cache
def _scripted() -> Callable[..., tuple[Tensor, Tensor]]:
    """``suppress`` as a script: tracing would follow its loop once, where the exporter writes ONNX's Loop."""
    with warnings.catch_warnings():
        # torch asks for its newer exporter instead.
        warnings.simplefilter("ignore", DeprecationWarning)
        return torch.jit.script(suppress)
