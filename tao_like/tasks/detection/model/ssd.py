"""SSD (Liu et al. 2016, "SSD: Single Shot MultiBox Detector"): torchvision's head, any backbone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

from tao_like.networks import _torchvision  # noqa: F401
from tao_like.tasks.detection.losses.simota import box_iou
from tao_like.tasks.detection.model.anchor_boxes import anchor_boxes
from tao_like.tasks.detection.model.detector import Detector

# isort: split
from torchvision.models.detection._utils import BoxCoder, SSDMatcher
from torchvision.models.detection.anchor_utils import DefaultBoxGenerator
from torchvision.models.detection.ssd import SSDFeatureExtractorVGG, SSDHead

FOREGROUND = 0.5
"""Overlap from which on an anchor is responsible for an object; the best one of an object is in any case."""
NEGATIVES = 3
"""Anchors on background in the loss for each that is responsible for an object: those that are most wrong."""
VARIANCES = (10.0, 10.0, 5.0, 5.0)
"""Factors on the box values."""
VGG_CHANNELS = (512, 1024, 512, 256, 256, 256)
VGG_STEPS = (8, 16, 32, 64, 100, 300)
VGG_SIDE = 300
"""The paper's network with VGG-16: channels of its maps, and pixels between locations at an input of 300."""


class ExtraLayers(nn.Module):
    """SSD's maps behind those of the backbone, each half as large as the one before.

    Args:
        channels: of the backbone's maps, fine to coarse.
        width: channels of the new ones.
        count: number of the new ones.

    Attributes:
        channels: of all maps.
    """

    def __init__(self, channels: Sequence[int], width: int, count: int) -> None:
        super().__init__()
        before = [channels[-1], *[width] * count]
        self.layers = nn.ModuleList(_halving(each, width) for each in before[:count])
        self.channels = (*channels, *[width] * count)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Adds the new maps to those of the backbone."""
        found = list(maps)
        for layer in self.layers:
            found.append(layer(found[-1]))
        return found


def _halving(channels: int, width: int) -> nn.Sequential:
    """The paper's pair of convolutions, with norm layers so that it trains from random weights."""
    half = max(width // 2, 1)
    return nn.Sequential(
        nn.Conv2d(channels, half, 1, bias=False),
        nn.BatchNorm2d(half),
        nn.ReLU(inplace=True),
        nn.Conv2d(half, width, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
    )


class VggMaps(nn.Module):
    """The paper's backbone: VGG-16 up to conv5, its linear layers as convolutions, and the layers behind.

    Args:
        features: of a VGG-16 of timm's or torchvision's.
    """

    def __init__(self, features: nn.Sequential) -> None:
        super().__init__()
        self.backbone = SSDFeatureExtractorVGG(features, highres=False)

    def forward(self, inputs: Tensor) -> list[Tensor]:
        """Maps normalized images (N, 3, H, W) to six maps."""
        return list(self.backbone(inputs).values())


class Ssd(Detector):
    """SSD over a backbone.

    Args:
        backbone: gives the first maps.
        neck: from these to all maps.
        channels: of all maps.
        classes: number of classes.
        scales: size of the anchors on each map, as a fraction of the input's sides, and one more.
        ratios: width over height of the anchors beside squares.
        mean: of the normalization, 0 to 1.
        std: of the normalization.
        steps: pixels between the locations of each map; None: by the maps' sizes.
    """

    class_outputs = ("head.classification_head.",)

    def __init__(
        self,
        backbone: nn.Module,
        neck: nn.Module,
        channels: Sequence[int],
        num_classes: int,
        scales: Sequence[float],
        ratios: Sequence[float],
        mean: Sequence[float],
        std: Sequence[float],
        steps: Sequence[int] | None = None,
    ) -> None:
        anchors = default_boxes(scales, ratios, steps)
        counts = anchors.num_anchors_per_location()
        super().__init__(backbone, neck, SSDHead(list(channels), counts, num_classes + 1), mean, std)
        self.anchors = anchors
        self.coder = BoxCoder(weights=VARIANCES)
        self.matcher = SSDMatcher(FOREGROUND)

    @property
    @override
    def outputs(self) -> list[nn.Module]:
        head: Any = self.head
        return [*head.classification_head.module_list, *head.regression_head.module_list]

    @override
    def from_normalized(self, inputs: Tensor) -> list[Tensor]:
        """Logits (N, A, 1 + classes), background first, box values (N, A, 4), anchors (A, 4), limits (4,)."""
        maps = self.neck(self.backbone(inputs))
        values = self.head(maps)
        anchors = anchor_boxes(self.anchors, inputs, maps)
        limits = anchors.new_tensor([int(inputs.shape[3]), int(inputs.shape[2])] * 2)
        return [values["cls_logits"], values["bbox_regression"], anchors, limits]

    @override
    def decode(self, values: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        logits, regression, anchors, limits = values
        flat = regression.float().reshape(-1, 4)
        boxes = self.coder.decode_single(flat, anchors.repeat(regression.shape[0], 1))
        boxes = boxes.clamp(min=0).minimum(limits).reshape(-1, anchors.shape[0], 4)
        return boxes, logits.float().softmax(dim=2)[..., 1:]

    @override
    def losses(
        self, values: Sequence[Tensor], boxes: Sequence[Tensor], labels: Sequence[Tensor], *, refine: bool
    ) -> dict[str, Tensor]:
        """The loss of the paper's eq. 1, as torchvision has it: each part over the matched anchors."""
        del refine
        logits, regression, anchors = values[0].float(), values[1].float(), values[2]
        names = torch.zeros(logits.shape[:2], dtype=torch.int64, device=logits.device)
        distance = regression.sum() * 0.0
        for image, (of_image, numbers) in enumerate(zip(boxes, labels, strict=True)):
            if not len(of_image):
                continue
            matches = cast("Tensor", self.matcher(box_iou(of_image, anchors)))
            chosen = (matches >= 0).nonzero().flatten()
            objects = matches[chosen]
            names[image, chosen] = numbers[objects] + 1
            wanted = self.coder.encode_single(of_image[objects], anchors[chosen])
            distance = distance + functional.smooth_l1_loss(
                regression[image, chosen], wanted, reduction="sum"
            )
        wrong = functional.cross_entropy(logits.flatten(0, 1), names.flatten(), reduction="none")
        wrong = wrong.reshape(names.shape)
        is_object = names > 0
        hard = _hardest(wrong.detach().masked_fill(is_object, -torch.inf), NEGATIVES * is_object.sum(dim=1))
        count = is_object.sum().clamp(min=1)
        return {"loss_class": wrong[is_object | hard].sum() / count, "loss_box": distance / count}


def _hardest(losses: Tensor, counts: Tensor) -> Tensor:
    """(N, A): whether a loss is among the largest ``counts`` (N,) of its row."""
    rank = losses.argsort(dim=1, descending=True).argsort(dim=1)
    return rank < counts[:, None]


def default_boxes(
    scales: Sequence[float], ratios: Sequence[float], steps: Sequence[int] | None
) -> DefaultBoxGenerator:
    """torchvision's anchors: two squares a location, and two boxes for each ratio.

    The finest and the two coarsest maps have the first ratio alone, as in the paper.
    """
    count = len(scales) - 1
    few = {0, count - 2, count - 1}
    chosen = [list(ratios[:1] if level in few else ratios) for level in range(count)]
    return DefaultBoxGenerator(
        cast("list[list[int]]", chosen), scales=list(scales), steps=list(steps) if steps else None
    )
