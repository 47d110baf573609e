"""The data of tasks on images: reading, caching, and the files of an inference."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Any

from typing_extensions import override

from tao_like.contract.labels import Labels
from tao_like.contract.sample import Sample, Split
from tao_like.data.images.cache import DiskStore, ImageStore, MemoryStore
from tao_like.data.images.pixel_range import chosen_window
from tao_like.data.inference_files import image_sources
from tao_like.runtime.inputs.image import ImagePreparation, Window, read_image
from tao_like.tasks.common.split_data import SplitData
from tao_like.tasks.common.split_source import SplitSource

CACHE_FOLDER = "cache"


class ImageData(SplitData):
    """Images in splits; a subclass has its samples in a ``SplitSource``."""

    @property
    @abstractmethod
    def source(self) -> SplitSource[Any]:
        """The images of every split."""

    @property
    @abstractmethod
    def results_dir(self) -> str:
        """Where stages leave their results; a cache on disk lies there."""

    @property
    @abstractmethod
    def preprocessing(self) -> ImagePreparation:
        """How an image becomes an input."""

    @property
    @override
    def labels(self) -> Labels:
        return Labels(self.source.classes)

    @property
    @override
    def divided(self) -> bool:
        return self.source.divides()

    @override
    def count(self, split: Split) -> int:
        return len(self.source.records(split))

    def pixel_window(self, setting: str) -> Window | None:
        """Which values of 16-bit images become black and white, by `dataset.pixel_range`."""
        if not self.has("train"):
            return chosen_window("full", [])
        return chosen_window(setting, [record.path for record in self.source.records("train")])

    def image_store(self, paths: list[Path]) -> ImageStore:
        """Reads images, through the cache that the spec asks for."""
        window = self.preprocessing.window
        if self.block.cache == "ram":
            return MemoryStore(paths, window=window)
        if self.block.cache == "disk":
            return DiskStore(Path(self.results_dir) / CACHE_FOLDER, window)
        return ImageStore(window)

    @override
    def inference_files(self, source: str | None) -> list[Path]:
        return [] if source is None else image_sources(source)

    @override
    def load(self, path: Path) -> Sample:
        return Sample(str(path), read_image(path, self.preprocessing.window))
