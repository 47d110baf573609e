"""The prediction for one photo, from the input's pixels to the photo's."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

from tao_like.data.masks.values import ClassMap
from tao_like.runtime.inputs.image import ImagePreprocessing
from tao_like.runtime.predictions.mask import photo_map


class Segmented:
    """What a network says of a photo, or of a window of it.

    Args:
        values: (H, W) class numbers or (classes, H, W) probabilities of the input's pixels.
        preprocessing: how the photo became the input.
    """

    def __init__(self, values: npt.NDArray[Any] | None, preprocessing: ImagePreprocessing) -> None:
        self.values = values
        self.preprocessing = preprocessing
        self._mask: ClassMap | None = None

    @classmethod
    def ready(cls, mask: ClassMap, preprocessing: ImagePreprocessing) -> Segmented:
        """A prediction whose mask is known at the photo's size."""
        prediction = cls(None, preprocessing)
        prediction._mask = mask
        return prediction

    def at(self, width: int, height: int) -> ClassMap:
        """(height, width) class numbers of the photo; what the network gave is let go of."""
        if self._mask is None or self._mask.shape != (height, width):
            assert self.values is not None, "a photo has one size"
            self._mask = photo_map(self.values, (width, height), self.preprocessing)
            self.values = None
        return self._mask
