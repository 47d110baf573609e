"""What tasks that look at pictures have in common: reading, loading settings, and pictures as inputs."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from typing_extensions import override

from tao_like.contract.task import Batch, Sample, SpecT, Split
from tao_like.data.images.cache import DiskStore, ImageStore, MemoryStore
from tao_like.data.images.pixel_range import chosen_window
from tao_like.data.inference_files import image_sources
from tao_like.networks.normalise import Normalise
from tao_like.runtime.inputs.image import ImagePreparation, Window, prepare, read_image
from tao_like.tasks.common.split_source import SplitSource
from tao_like.tasks.common.split_task import Loading, SplitTask


class CachedLoading(Loading, Protocol):
    """How a spec's dataset block has pictures read and put together."""

    cache: str


class ImageTask(SplitTask[SpecT]):
    """A task whose network takes one picture, and has its normalisation as the part ``normalise``."""

    input_kind = "image"
    input_format = "uint8_nhwc"
    images: SplitSource[Any]

    @property
    @override
    def loading(self) -> CachedLoading:
        return self.spec.dataset  # type: ignore[attr-defined]

    @property
    @override
    def source(self) -> SplitSource[Any]:
        return self.images

    @property
    @abstractmethod
    def image_preparation(self) -> ImagePreparation:
        """How a picture becomes an input."""

    # --- data ---

    @property
    @override
    def classes(self) -> list[str]:
        return self.images.classes

    @override
    def count(self, split: Split) -> int:
        return len(self.images.records(split))

    def pixel_window(self, setting: str) -> Window | None:
        """Which values of 16-bit pictures become black and white, by `dataset.pixel_range`."""
        if not self.images.has("train"):
            return chosen_window("full", [])
        return chosen_window(setting, [record.path for record in self.images.records("train")])

    def image_store(self, paths: list[Path]) -> ImageStore:
        """Reads pictures, through the cache that the spec asks for."""
        window = self.image_preparation.window
        if self.loading.cache == "ram":
            return MemoryStore(paths, window=window)
        if self.loading.cache == "disk":
            return DiskStore(Path(self.spec.results_dir) / "cache", window)
        return ImageStore(window)

    @override
    def divides_data(self) -> bool:
        return self.images.divides()

    # --- inputs ---

    def input_pixels(self) -> Tensor:
        """A picture of noise as the network takes it in training: (1, 3, H, W), 0 to 255."""
        size = (self.image_preparation.height, self.image_preparation.width)
        return torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0)) * 255

    def input_tensors(self, network: nn.Module, input_format: str, prepared: np.ndarray) -> tuple[Tensor]:
        """Prepared pictures (N, H, W, 3) as the exportable network takes them in a form of input."""
        pixels = torch.from_numpy(prepared)
        if input_format == "uint8_nhwc":
            return (pixels,)
        normalise = normalisation_of(network)
        return (normalise(pixels.to(normalise.mean.device).permute(0, 3, 1, 2)).contiguous(),)

    @override
    def preparation(self) -> dict[str, Any]:
        return self.image_preparation.to_dict()

    @override
    def input_scaling(self, network: nn.Module) -> dict[str, Any]:
        normalise = normalisation_of(network)
        return {"mean": normalise.mean.tolist(), "std": normalise.std.tolist()}

    @override
    def noise(self, generator: np.random.Generator) -> Sample:
        size = (self.image_preparation.height, self.image_preparation.width, 3)
        return Sample("noise", Image.fromarray(generator.integers(0, 256, size, dtype=np.uint8)))

    @override
    def prepared(self, batch: Batch) -> np.ndarray:
        return batch.inputs.permute(0, 2, 3, 1).cpu().numpy()

    @override
    def prepare(self, samples: Sequence[Sample]) -> np.ndarray:
        return np.stack([prepare(sample.data, self.image_preparation) for sample in samples])

    # --- inference ---

    @property
    def stored_thresholds(self) -> dict[str, Any]:
        """The thresholds of the trained model; empty: none."""
        return self.record.thresholds if self.record else {}

    @override
    def sources(self, source: str) -> list[Path]:
        return image_sources(source)

    @override
    def load(self, path: Path) -> Sample:
        return Sample(str(path), read_image(path, self.image_preparation.window))


def normalisation_of(network: nn.Module) -> Normalise:
    """The part of the network that scales pixels."""
    normalise = network.normalise
    assert isinstance(normalise, Normalise)
    return normalise
