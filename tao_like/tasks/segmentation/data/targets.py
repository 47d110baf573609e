"""What predictions of segmentation are held against, and what a network learns."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from tao_like.data.masks.values import ClassMap


@dataclass(frozen=True)
class MaskTarget:
    """What is on a photo: the target of a sample.

    Attributes:
        width: of the photo, in pixels.
        height: likewise.
        classes: (height, width) class numbers; None in training samples, which nothing is held against.
        image: number of the photo in its dataset, where what the network sees is a window of it.
    """

    width: int
    height: int
    classes: ClassMap | None
    image: int | None = None


@dataclass(frozen=True)
class SegmentationTargets:
    """The targets of a batch.

    Attributes:
        masks: (N, H, W) uint8 class numbers of the input's pixels: what a network is to learn.
        photos: what predictions are held against.
    """

    masks: Tensor
    photos: list[MaskTarget]
