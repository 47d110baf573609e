"""How near enlarged images come to the real ones, and what is painted into holes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from typing_extensions import override

from tao_like.contract.metrics import Metrics, Report
from tao_like.tasks.text_to_image.data.data import Target
from tao_like.tasks.text_to_image.judge import Attributes, Judge
from tao_like.tasks.text_to_image.metrics import JudgedMetrics
from tao_like.tasks.text_to_image.model.scaling import enlarged, reduced


class EnlargedMetrics(Metrics):
    """``psnr`` of enlarged images, and of the same small images enlarged bilinearly: the mean over images.

    Args:
        smaller: side of the small images.
        side: of the enlarged ones.
    """

    def __init__(self, smaller: int, side: int) -> None:
        super().__init__()
        self.smaller, self.side = smaller, side
        self.found: list[tuple[float, float]] = []

    @override
    def reported(self) -> Mapping[str, bool]:
        return {"psnr": True, "psnr_bilinear": True, "psnr_gain": True}

    @override
    def add(self, prediction: Any, target: Target) -> float:
        assert target.pixels is not None
        real = torch.from_numpy(np.array(target.pixels)).permute(2, 0, 1)[None].float() / 255
        wanted = reduced(real, self.side)
        simple = enlarged(reduced(real, self.smaller), self.side // self.smaller)
        given = torch.from_numpy(np.array(prediction)).permute(2, 0, 1)[None].float() / 255
        self.found.append((psnr(given, wanted), psnr(simple, wanted)))
        return -self.found[-1][0]

    @override
    def merge(self, other: EnlargedMetrics) -> None:
        self.found += other.found

    @override
    def compute(self) -> Report:
        own, simple = np.array(self.found).mean(axis=0).tolist() if self.found else (0.0, 0.0)
        return Report({"psnr": own, "psnr_bilinear": simple, "psnr_gain": own - simple})


class PaintedMetrics(JudgedMetrics):
    """Attributes of images whose middle was painted anew.

    ``outside``: the largest change around it, of 255.

    Args:
        attributes, judge: as of `JudgedMetrics`.
        mask: (H, W) uint8, white where it was painted.
    """

    def __init__(self, attributes: Attributes, judge: Callable[[], Judge], mask: np.ndarray) -> None:
        super().__init__(attributes, judge)
        self.kept = mask <= 127
        self.outside = 0

    @override
    def reported(self) -> Mapping[str, bool]:
        return {**super().reported(), "outside": False}

    @override
    def add(self, prediction: Any, target: Target) -> float:
        assert target.pixels is not None
        change = np.abs(prediction.astype(int) - target.pixels)[self.kept]
        self.outside = max(self.outside, int(change.max(initial=0)))
        return super().add(prediction, target)

    @override
    def merge(self, other: JudgedMetrics) -> None:
        super().merge(other)
        assert isinstance(other, PaintedMetrics)
        self.outside = max(self.outside, other.outside)

    @override
    def compute(self) -> Report:
        report = super().compute()
        report.values["outside"] = float(self.outside)
        return report


def psnr(one: torch.Tensor, other: torch.Tensor) -> float:
    """In dB, of images from 0 to 1."""
    return -10 * math.log10(max(float((one - other).square().mean()), 1e-10))
