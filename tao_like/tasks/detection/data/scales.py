"""Another input size at every training step."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

import torch
from torch.nn import functional

from tao_like.contract.batch import Batch
from tao_like.tasks.common.image_input import IMAGE
from tao_like.tasks.detection.data.dataset import DetectionTargets

TargetsT = TypeVar("TargetsT", bound=DetectionTargets)
STEP = 32
"""Pixels between two sizes: the coarsest map's stride."""


def resized_batch(batch: Batch[TargetsT], steps: int) -> Batch[TargetsT]:
    """The batch at a size that is up to so many steps of 32 pixels smaller or larger; boxes follow.

    The size depends on the batch's epoch and samples alone, so that a run can be repeated and resumed.

    Args:
        batch: of this task.
        steps: 0 leaves the batch as it is.
    """
    if not steps:
        return batch
    generator = torch.Generator().manual_seed(hash((batch.targets.epoch, *batch.indices.tolist())) % 2**63)
    change = int(torch.randint(-steps, steps + 1, (), generator=generator)) * STEP
    height, width = batch.input.shape[-2:]
    longest = max(height, width)
    ratio = (longest + change) / longest
    size = [max(STEP, round(side * ratio / STEP) * STEP) for side in (height, width)]
    if size == [height, width]:
        return batch
    pixels = functional.interpolate(batch.input.float(), size=size, mode="bilinear", align_corners=False)
    scale = torch.tensor([size[1] / width, size[0] / height] * 2, device=batch.device)
    boxes = [each * scale for each in batch.targets.boxes]
    return replace(batch, inputs={IMAGE: pixels}, targets=replace(batch.targets, boxes=boxes))
