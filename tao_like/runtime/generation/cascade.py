"""Small images first, and then larger ones of them, one upsampler after another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from tao_like.errors import BundleError
from tao_like.runtime.generation.base import (
    IMAGE,
    SEED,
    Arrays,
    Generator,
    GraphCall,
    Noise,
    check_setting,
    required,
)
from tao_like.runtime.generation.diffusion import DiffusionGenerator, as_images
from tao_like.runtime.generation.edit import pixel_array
from tao_like.runtime.generation.schedules import spaced
from tao_like.runtime.generation.unclip import UnclipGenerator

SEEDS_APART = 2**55
"""Between the seeds of an image and those of its upsamplers."""
BASES: dict[str, type[DiffusionGenerator | UnclipGenerator]] = {
    "diffusion": DiffusionGenerator,
    "unclip": UnclipGenerator,
}
_IMAGES = ("image", "image_to")

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Original:
    """An image that is kept where a mask is black.

    Attributes:
        image: (1 or N, H, W, 3), 0 to 1.
        mask: (H, W), 1 where images are made.
    """

    image: Floats
    mask: Floats


@dataclass(frozen=True)
class CascadeGenerator:
    """Makes images by a way of generating, and enlarges them.

    Attributes:
        base: makes the small images.
        upsamplers: take the noise away from larger and larger ones.
        original: what is kept, of the size that comes out; None: nothing. It is no part of a file.
    """

    base: DiffusionGenerator | UnclipGenerator
    upsamplers: list[DiffusionGenerator]
    original: Original | None = None

    kind: ClassVar[str] = "cascade"

    def __post_init__(self) -> None:
        """Refuse sizes that do not go together, with a BundleError."""
        before = size_of(self.base)
        for one in self.upsamplers:
            if one.height % before[0] or one.width % before[1]:
                raise BundleError(
                    f"generation.upsamplers: {one.height} by {one.width} pixels are no multiple of {before}."
                )
            before = one.height, one.width

    @property
    def graphs(self) -> tuple[str, ...]:
        """See `Generator`."""
        return (*self.base.graphs, *(upsampler_graph(n + 1) for n in range(len(self.upsamplers))))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> CascadeGenerator:
        """Reads what `to_dict` gave. Raises BundleError."""
        given = required(values, ("base", "upsamplers"))
        base, upsamplers = given["base"], given["upsamplers"]
        kind = base.get("kind") if isinstance(base, Mapping) else None
        if kind not in BASES or not isinstance(upsamplers, list):
            raise BundleError(f"generation.base is of the kind {kind!r}; it must be of {', '.join(BASES)}.")
        own = {name: value for name, value in base.items() if name != "kind"}
        return cls(BASES[kind].from_dict(own), [DiffusionGenerator.from_dict(one) for one in upsamplers])

    def to_dict(self) -> dict[str, Any]:
        """The settings, as JSON."""
        base = {"kind": self.base.kind, **self.base.to_dict()}
        return {"base": base, "upsamplers": [one.to_dict() for one in self.upsamplers]}

    def rehearsals(self) -> list[Generator]:
        """See `Generator`."""
        bases = self.base.rehearsals()
        return [
            replace(self, base=one) for one in bases if isinstance(one, DiffusionGenerator | UnclipGenerator)
        ]

    def changed(self, **settings: Any) -> CascadeGenerator:
        """With other settings of `base`, or other ``upsampler_steps``.

        Images and masks are of the size that comes out; what a mask keeps is put back at that size.

        Raises:
            SpecError: a setting is unknown or has no meaning.
        """
        own = {**settings}
        upsamplers, original = self.upsamplers, self.original
        steps = own.pop("upsampler_steps", None)
        if steps is not None:
            least = min(one.train_steps for one in upsamplers)
            check_setting("upsampler_steps", steps, 1, least)
            upsamplers = [replace(one, timesteps=spaced(one.train_steps, int(steps))) for one in upsamplers]
        size = size_of(self)
        small = size_of(self.base)
        for name in (one for one in _IMAGES if own.get(one) is not None):
            if isinstance(own[name], list | tuple):
                arrays = [pixel_array(one, "RGB", (*size, 3), name) / np.float32(255) for one in own[name]]
                own[name] = [as_bytes(reduced(one[None], *small))[0] for one in arrays]
                continue
            pixels = pixel_array(own[name], "RGB", (*size, 3), name)
            if name == "image" and own.get("mask") is not None:
                mask = pixel_array(own["mask"], "L", size, "mask")
                original, own["mask"] = self._kept(pixels[None], mask)
            own[name] = as_bytes(reduced(pixels[None] / np.float32(255), *small))[0]
        return replace(self, base=self.base.changed(**own), upsamplers=upsamplers, original=original)

    def painting(self, images: npt.NDArray[np.uint8], mask: npt.NDArray[np.uint8]) -> CascadeGenerator:
        """Paints into each image of a batch, (N, H, W, 3), where the mask (H, W) is white."""
        assert isinstance(self.base, DiffusionGenerator)
        original, small = self._kept(images, mask)
        images = as_bytes(reduced(images / np.float32(255), *size_of(self.base)))
        return replace(self, base=self.base.painting(images, small), original=original)

    def _kept(
        self, images: npt.NDArray[np.uint8], mask: npt.NDArray[np.uint8]
    ) -> tuple[Original, npt.NDArray[np.uint8]]:
        """What is kept of images, and the mask of the small ones: white wherever a pixel of it is."""
        white = (mask > 127).astype(np.float32)
        any_white = reduced(white[None, :, :, None], *size_of(self.base))[0, :, :, 0] > 0
        return Original(images / np.float32(255), white), any_white.astype(np.uint8) * 255

    def run(self, call: GraphCall, given: Mapping[str, npt.NDArray[Any]]) -> Arrays:
        """Images for captions and seeds; see `Generator`."""
        outputs = self.base.run(call, given)
        images = outputs[IMAGE]
        for number in range(1, len(self.upsamplers) + 1):
            images = self.enlarged(call, number, images, given[SEED])
        if self.original is not None:
            mask = self.original.mask[None, :, :, None]
            images = (mask * images + (1 - mask) * self.original.image).astype(np.float32)
        return {**outputs, IMAGE: images}

    def enlarged(self, call: GraphCall, number: int, images: Floats, seeds: npt.NDArray[Any]) -> Floats:
        """Images (N, h, w, 3) by the upsampler of that number, from 1: (N, H, W, 3), 0 to 1."""
        one = self.upsamplers[number - 1]
        noise = Noise(seeds.astype(np.int64) + np.int64(number * SEEDS_APART))
        low = np.ascontiguousarray(2 * images.transpose(0, 3, 1, 2) - 1, np.float32)
        x = noise.normal((3, one.height, one.width))
        step = lambda _, values: call(upsampler_graph(number), values)  # noqa: E731
        return as_images(one.denoise(step, x, {"low": low}, noise))


def upsampler_graph(number: int) -> str:
    """The name of an upsampler's graph, and of its part of a network; they are counted from 1."""
    return f"upsampler_{number}"


def size_of(generator: DiffusionGenerator | UnclipGenerator | CascadeGenerator) -> tuple[int, int]:
    """Height and width of the images that it makes."""
    if isinstance(generator, CascadeGenerator):
        return size_of(generator.upsamplers[-1]) if generator.upsamplers else size_of(generator.base)
    one = generator.decoder if isinstance(generator, UnclipGenerator) else generator
    return one.height, one.width


def reduced(images: npt.NDArray[Any], height: int, width: int) -> Floats:
    """Images (N, H, W, C) as (N, height, width, C), each pixel the mean of its rectangle."""
    count, tall, wide, channels = images.shape
    parts = images.reshape(count, height, tall // height, width, wide // width, channels)
    found: Floats = parts.mean(axis=(2, 4), dtype=np.float32)
    return found


def as_bytes(images: Floats) -> npt.NDArray[np.uint8]:
    """Pixels 0 to 1 as 0 to 255."""
    found: npt.NDArray[np.uint8] = (images.clip(0, 1) * 255).round().astype(np.uint8)
    return found
