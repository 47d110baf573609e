"""The outlines of a mask as polygons."""

from __future__ import annotations

import numpy as np

from tao_like.data.masks.runs import Mask
from tao_like.runtime.geometry.outlines import mask_rings, ring_area


def polygons_of_mask(mask: Mask) -> list[list[float]]:
    """The outer outlines of a mask's parts, along the edges of pixels; holes are filled.

    Decoded by COCO's rule they give the mask back, but for holes. Pixels that touch by a corner alone are
    two parts.

    Args:
        mask: (H, W), 0 where the object is not.

    Returns:
        Polygons x, y, x, y, ... in pixels, the corners alone; none for an empty mask.
    """
    rings = mask_rings(np.asarray(mask) != 0)
    return [[float(side) for corner in ring for side in corner] for ring in rings if ring_area(ring) > 0]
