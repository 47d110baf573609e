"""Changing an image by diffusion: painting in what a mask leaves open, or beginning from it, made noisy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from tao_like.errors import SpecError
from tao_like.runtime.generation.base import check_setting

EDITS = {"image": "an image", "mask": "white where to paint", "strength": "0 to 1"}
"""What a user gives for it."""
HALF = 127.5
KNOWN = 4
"""Channels that tell a network what is known of an image: its colors, and 1 where they are known."""

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Edit:
    """An image to change.

    Attributes:
        image: (1 or N, 3, H, W), -1 to 1.
        mask: (1, 1, H, W), 1 where to paint, 0 where the image stays; None: all of it may change.
        strength: the fraction of the steps that is taken, as in SDEdit (Meng et al. 2022): 1: it begins from
            noise alone; less keeps more of the image.
    """

    image: Floats
    mask: Floats | None
    strength: float

    @classmethod
    def of(cls, given: Mapping[str, Any], height: int, width: int) -> Edit:
        """What a user has given: ``image``, and ``mask`` or ``strength``.

        Args:
            given: Pillow images, or arrays (H, W, 3) of the image and (H, W) of the mask, uint8.
            height, width: of the model's images.

        Raises:
            SpecError: there is no image, one has another size, or the strength is no share.
        """
        if "image" not in given:
            raise SpecError("a mask or a strength is given without an image to change.")
        if "mask" not in given and "strength" not in given:
            raise SpecError("an image is given without a mask (what to paint) or a strength (0 to 1).")
        strength = given.get("strength", 1.0)
        check_setting("strength", strength, 0.01, 1.0)
        image = pixel_array(given["image"], "RGB", (height, width, 3), "image")
        pixels = (image.astype(np.float32) / HALF - 1).transpose(2, 0, 1)[None]
        if "mask" not in given:
            return cls(pixels, None, float(strength))
        mask = pixel_array(given["mask"], "L", (height, width), "mask")
        return cls(pixels, (mask > HALF).astype(np.float32)[None, None], float(strength))

    def steps(self, count: int) -> int:
        """How many of ``count`` steps are taken: the last ones, one at least."""
        return max(1, round(count * self.strength))

    def noisy(self, kept: float, noise: Floats) -> Floats:
        """The image with so much of its variance left, (N, 3, H, W), for each sample's noise."""
        if self.strength >= 1.0:
            return noise
        return self._noisy(kept, noise)

    def kept(self, x: Floats, kept: float, noise: Floats) -> Floats:
        """Puts the image back where the mask keeps it, as noisy as the rest; at the end as it is."""
        if self.mask is None:
            return x
        mixed: Floats = self.mask * x + (1 - self.mask) * self._noisy(kept, noise)
        return mixed

    def known(self) -> Floats:
        """What a network that was taught to paint is told: (1, 4, H, W), 0 where nothing is known."""
        mask = np.ones_like(self.image[:, :1]) if self.mask is None else self.mask
        left = np.broadcast_to(1 - mask, self.image[:, :1].shape)
        found: Floats = np.concatenate([self.image * left, left], axis=1).astype(np.float32)
        return found

    def _noisy(self, kept: float, noise: Floats) -> Floats:
        found: Floats = np.float32(np.sqrt(kept)) * self.image + np.float32(np.sqrt(1 - kept)) * noise
        return found


def pixel_array(given: Any, mode: str, shape: tuple[int, ...], name: str) -> npt.NDArray[np.uint8]:
    """An image or mask as uint8 of the model's size. Raises SpecError."""
    if isinstance(given, Image.Image):
        given = np.asarray(given.convert(mode))
    array = np.asarray(given)
    if array.dtype != np.uint8 or array.shape != shape:
        raise SpecError(
            f"{name} is {array.dtype} of shape {array.shape}; it must be uint8 of shape {shape}: the size of "
            "the model's images."
        )
    return array
