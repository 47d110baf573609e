"""A photo and where its mask is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tao_like.data.boxes.annotation import Segmentation
from tao_like.data.images.sample import ImageRecord


@dataclass(frozen=True)
class Region:
    """An object of a COCO file.

    Attributes:
        label: class name.
        segmentation: polygons, or runs, as COCO writes them.
        area: in square pixels; of overlapping objects the smaller one lies in front.
    """

    label: str
    segmentation: Segmentation
    area: float


@dataclass(frozen=True)
class MaskRecord(ImageRecord):
    """A photo with its mask.

    Attributes:
        mask: the file; None: the regions say what is where.
        regions: of a COCO file.
    """

    mask: Path | None = None
    regions: tuple[Region, ...] = ()
