"""The class of every pixel of a photo, from whatever says it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tao_like.data.masks.files import read_mask_values
from tao_like.data.masks.record import MaskRecord, Region
from tao_like.data.masks.segmentation import mask_of_segmentation
from tao_like.data.masks.values import ClassMap, MaskCoding
from tao_like.errors import DatasetError


def read_class_map(record: MaskRecord, coding: MaskCoding, size: tuple[int, int]) -> ClassMap:
    """(H, W) class numbers of a photo.

    Args:
        record: of the photo.
        coding: what values mean; where regions say what is where, their class names are looked up in it, and
            what no region covers is the class with the number 0.
        size: width and height of the upright photo.

    Raises:
        DatasetError: the mask cannot be read, has values that mean nothing, or another size than the photo.
    """
    if record.mask is None:
        return rasterized(record.regions, coding.classes, size, record.name)
    values = read_mask_values(record.mask, colors=bool(coding.of_color))
    found = (values.shape[1], values.shape[0])
    if found != size:
        raise DatasetError(size_message(record, found, size))
    return coding.decode(values, str(record.mask))


def size_message(record: MaskRecord, mask: tuple[int, int], photo: tuple[int, int]) -> str:
    """What is wrong where a mask is not as large as its photo."""
    text = (
        f"{record.mask} is {mask[0]} x {mask[1]} pixels, and its photo {record.path} {photo[0]} x {photo[1]}"
    )
    if mask == photo[::-1]:
        return f"{text}: the photo's EXIF orientation turns it, and the mask is not turned; turn one of them"
    return f"{text}; give a mask of the photo's size"


def rasterized(
    regions: Sequence[Region], classes: Sequence[str], size: tuple[int, int], name: str
) -> ClassMap:
    """Regions as a class map, by COCO's rule of which pixels lie inside; smaller ones lie in front.

    Args:
        regions: of a photo; those of other classes are left out.
        classes: names in the order of the numbers; the first is what no region covers.
        size: width and height.
        name: of the photo, for messages.

    Raises:
        DatasetError: a segmentation is damaged, or of a photo of another size.
    """
    width, height = size
    numbers = {label: number for number, label in enumerate(classes)}
    found = np.zeros((height, width), np.uint8)
    for region in sorted(regions, key=lambda one: -one.area):
        if region.label in numbers:
            pixels = mask_of_segmentation(region.segmentation, width, height, name)
            found[pixels != 0] = numbers[region.label]
    return found
