"""What is exported: a preprocessed image in, boxes out, with non-maximum suppression in the graph."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from tao_like.networks import _torchvision  # noqa: F401
from tao_like.runtime.geometry.boxes import keep_best
from tao_like.runtime.predictions.boxes import Selection
from tao_like.tasks.common.boxes.top_indices import top_indices
from tao_like.tasks.detection.model.detector import Detector

# isort: split
from torchvision.extension import _has_ops
from torchvision.ops import batched_nms


class _NonMaxSuppression(torch.autograd.Function):
    """ONNX's operator of this name; in torch, the runtime's own suppression."""

    @staticmethod
    def forward(
        ctx: Any,
        boxes: Tensor,
        scores: Tensor,
        labels: Tensor,
        class_scores: Tensor,
        selection: Selection,
    ) -> Tensor:
        """Rows (image, class, box) of what is kept, (M, 3).

        Args:
            ctx: unused.
            boxes: (N, K, 4).
            scores: (N, K), falling.
            labels: (N, K) class numbers.
            class_scores: (N, classes, K): the score in the box's class, 0 in the others. What the operator
                takes in the place of scores and labels.
            selection: thresholds and limit.
        """
        rows = []
        for image in range(len(boxes)):
            of_image = boxes[image].detach(), scores[image].detach(), labels[image]
            kept = (_kept_on_gpu if boxes.is_cuda and _has_ops() else _kept)(*of_image, selection)
            rows.append(torch.stack([torch.full_like(kept, image), labels[image][kept], kept], dim=1))
        return torch.cat(rows)

    @staticmethod
    def symbolic(
        graph: Any, boxes: Any, scores: Any, labels: Any, class_scores: Any, selection: Selection
    ) -> Any:
        """The operator for the exporter."""
        del scores, labels
        limits = (
            torch.tensor([selection.limit], dtype=torch.int64),
            torch.tensor([selection.iou_threshold], dtype=torch.float32),
            torch.tensor([selection.score_threshold], dtype=torch.float32),
        )
        constants = [graph.op("Constant", value_t=value) for value in limits]
        kept = graph.op("NonMaxSuppression", boxes, class_scores, *constants)
        kept.setType(boxes.type().with_dtype(torch.int64).with_sizes([None, 3]))
        return kept


def _kept(boxes: Tensor, scores: Tensor, labels: Tensor, selection: Selection) -> Tensor:
    """Numbers of the boxes of an image that stay, best first, by the runtime's suppression."""
    kept = keep_best(
        boxes.cpu().numpy(),
        scores.cpu().numpy(),
        labels.cpu().numpy(),
        iou_threshold=selection.iou_threshold,
        score_threshold=selection.score_threshold,
        limit=selection.limit,
    )
    return torch.from_numpy(kept).to(boxes.device)


def _kept_on_gpu(boxes: Tensor, scores: Tensor, labels: Tensor, selection: Selection) -> Tensor:
    """The same by torchvision's operator: thousands of boxes at every training step would wait for numpy."""
    able = (scores > selection.score_threshold).nonzero().flatten()
    kept = batched_nms(boxes[able], scores[able], labels[able], selection.iou_threshold)
    return able[kept[: selection.limit]]


class DetectorForExport(nn.Module):
    """A detector whose outputs need no further work.

    Args:
        network: the trained network.
        input_format: ``uint8_nhwc``: pixels (N, H, W, 3) as they are; ``float_nchw``: (N, 3, H, W),
            normalized by the caller.
        selection: which boxes are kept; None: all come out as they are, with their scores for each class.
    """

    def __init__(self, network: Detector, input_format: str, selection: Selection | None) -> None:
        super().__init__()
        self.network = network
        self.input_format = input_format
        self.selection = selection

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Maps the input to boxes (N, K, 4), scores (N, K), labels (N, K) and the number of them (N,).

        Without a selection: boxes (N, A, 4) and scores (N, A, classes).
        """
        if self.input_format == "uint8_nhwc":
            maps = self.network(image.permute(0, 3, 1, 2))
        else:
            maps = self.network.from_normalized(image)
        boxes, class_scores = self.network.decode(maps)
        if self.selection is None:
            return boxes, class_scores
        return suppressed(boxes, class_scores, self.selection)


def suppressed(boxes: Tensor, class_scores: Tensor, selection: Selection) -> tuple[Tensor, ...]:
    """The best boxes of each image, each with its best class, in ONNX's standard operators.

    Args:
        boxes: (N, A, 4).
        class_scores: (N, A, classes).
        selection: what to keep.

    Returns:
        Boxes (N, K, 4), scores (N, K), labels (N, K) and number of detections (N,); best first, then 0.
        K is the limit, or A where that is less.
    """
    best, labels = class_scores.max(dim=2)
    count, classes = int(best.shape[1]), int(class_scores.shape[2])
    order = top_indices(best, min(selection.candidates, count))
    scores = best.gather(1, order)
    candidates = int(scores.shape[1])
    boxes, labels = _taken(boxes, order), labels.gather(1, order)
    numbers = torch.arange(classes, device=boxes.device)[None, :, None]
    of_class = torch.where(
        labels[:, None, :] == numbers, scores[:, None, :], torch.zeros_like(scores)[:, None, :]
    )
    kept = _NonMaxSuppression.apply(boxes, scores, labels, of_class, selection)
    flat = kept[:, 0] * candidates + kept[:, 2]
    ones = torch.ones_like(flat, dtype=scores.dtype)
    is_kept = torch.zeros_like(scores).reshape(-1).scatter(0, flat, ones).reshape(-1, candidates)
    scores = scores * is_kept
    order = top_indices(scores, min(selection.limit, candidates))
    scores = scores.gather(1, order)
    is_real = scores > 0
    boxes = _taken(boxes, order) * is_real[..., None]
    labels = labels.gather(1, order) * is_real
    return boxes, scores, labels, is_real.sum(dim=1)


def _taken(boxes: Tensor, order: Tensor) -> Tensor:
    """The boxes (N, A, 4) at indices (N, K)."""
    return boxes.gather(1, order[..., None].expand(-1, -1, 4))
