"""An image as a network takes it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from typing_extensions import override

from tao_like.contract.inputs import Input
from tao_like.contract.sample import Preprocessed
from tao_like.data.inference_files import image_sources
from tao_like.networks.normalize import Normalize
from tao_like.runtime.inputs.image import ImagePreprocessing, preprocess, read_image
from tao_like.runtime.inputs.image.big_images import BigImages

IMAGE = "image"
"""The name of the input."""


class ImageInput(Input):
    """One image; the network has its normalization as the part ``normalise``.

    Args:
        preprocessing: gives the image's preprocessing, which may depend on data or weights not read yet.
        big: gives what becomes of images beyond the limit.
    """

    kind = "image"
    format = "uint8_nhwc"

    def __init__(
        self,
        preprocessing: Callable[[], ImagePreprocessing],
        big: Callable[[], BigImages] = lambda: BigImages.REFUSED,
    ) -> None:
        self._preprocessing = preprocessing
        self._big = big

    @property
    def image_preprocessing(self) -> ImagePreprocessing:
        """How an image becomes an input."""
        return self._preprocessing()

    @property
    @override
    def preprocessing(self) -> dict[str, Any]:
        return self.image_preprocessing.to_dict()

    @override
    def scaling(self, model: nn.Module) -> dict[str, list[float]]:
        normalize = normalization_of(model)
        return {"mean": normalize.mean.tolist(), "std": normalize.std.tolist()}

    @override
    def files(self, source: str) -> list[Path]:
        return image_sources(source)

    @override
    def read(self, path: Path) -> Image.Image:
        return read_image(path, self.image_preprocessing.window, self._big())

    @override
    def dummy(self, generator: np.random.Generator) -> Image.Image:
        size = (self.image_preprocessing.height, self.image_preprocessing.width, 3)
        return Image.fromarray(generator.integers(0, 256, size, dtype=np.uint8))

    @override
    def preprocess(self, data: Sequence[Image.Image]) -> np.ndarray:
        return np.stack([preprocess(image, self.image_preprocessing) for image in data])

    @override
    def of_batch(self, tensor: Tensor, count: int) -> np.ndarray:
        del count
        return tensor.permute(0, 2, 3, 1).cpu().numpy()

    def pixels(self) -> Tensor:
        """An image of noise as the network takes it in training: (1, 3, H, W), 0 to 255."""
        size = (self.image_preprocessing.height, self.image_preprocessing.width)
        return torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0)) * 255


def image_tensors(model: nn.Module, input_format: str, preprocessed: Preprocessed) -> tuple[Tensor]:
    """Preprocessed images (N, H, W, 3) uint8 as the exportable network takes them in a form of input."""
    pixels = torch.from_numpy(preprocessed[IMAGE])
    if input_format == ImageInput.format:
        return (pixels,)
    normalize = normalization_of(model)
    return (normalize(pixels.to(normalize.mean.device).permute(0, 3, 1, 2)).contiguous(),)


def normalization_of(model: nn.Module) -> Normalize:
    """The part of the network that scales pixels."""
    normalize = model.normalise
    assert isinstance(normalize, Normalize)
    return normalize
