"""From a generator's output to an image a sample, and its file, which says what it was made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from tao_like.errors import BundleError
from tao_like.runtime.generation.base import IMAGE_MEANING
from tao_like.runtime.metadata import ModelMetadata
from tao_like.runtime.predictions.base import Outputs, Prediction, PredictionReader


@dataclass(frozen=True, kw_only=True)
class ImagePrediction(Prediction):
    """An image that a model has made.

    Attributes:
        pixels: (H, W, 3) uint8, RGB.
        made_of: prompt, seed and model, as texts, where they are known; they go into its file.
    """

    pixels: npt.NDArray[np.uint8] = field(default_factory=lambda: np.zeros((0, 0, 3), np.uint8))
    made_of: Mapping[str, str] = field(default_factory=dict)

    @property
    def image(self) -> Image.Image:
        """The image for Pillow."""
        return Image.fromarray(self.pixels)

    def save(self, path: str | Path) -> None:
        """Writes a PNG file, whose text chunks say what the image was made of."""
        save_image(self.image, path, self.made_of)


class ImageReader(PredictionReader):
    """Reads images."""

    kind = ImagePrediction

    def check(self, metadata: ModelMetadata) -> None:
        """Refuse metadata without exactly one output of images."""
        _image_output(metadata)

    def read(
        self,
        outputs: Outputs,
        metadata: ModelMetadata,
        sources: Sequence[str | None],
        sizes: Sequence[tuple[int, int]],
    ) -> list[ImagePrediction]:
        """Return the image of each sample."""
        del sizes
        images = outputs[_image_output(metadata)]
        if images.ndim != 4 or images.shape[-1] != 3 or not np.isfinite(images).all():
            raise BundleError(
                f"the model gave images of shape {images.shape}, or values that are not numbers (NaN or "
                "infinite)."
            )
        made_of = {"model": metadata.bundle_sha256}
        return [
            ImagePrediction(source=source, pixels=pixels, made_of=made_of)
            for pixels, source in zip(to_pixels(images), sources, strict=True)
        ]


def to_pixels(images: npt.NDArray[np.floating]) -> npt.NDArray[np.uint8]:
    """Values from 0 to 1 as pixels from 0 to 255."""
    pixels: npt.NDArray[np.uint8] = (images.clip(0, 1) * 255).round().astype(np.uint8)
    return pixels


def save_image(image: Image.Image, path: str | Path, made_of: Mapping[str, str]) -> None:
    """Writes a PNG file with text chunks: the names and values of ``made_of``."""
    text = PngInfo()
    for name, value in made_of.items():
        text.add_itxt(name, value)
    image.save(path, format="PNG", pnginfo=text)


def _image_output(metadata: ModelMetadata) -> str:
    found = [name for name, meaning in metadata.outputs.items() if meaning == IMAGE_MEANING]
    if len(found) != 1:
        raise BundleError(
            f"{len(found)} of the model's outputs have the meaning {IMAGE_MEANING!r}; a generator has "
            "exactly one."
        )
    return found[0]
