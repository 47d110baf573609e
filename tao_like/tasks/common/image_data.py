"""The data of tasks on images: reading, caching, and the files of an inference."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, TypeVar

from typing_extensions import override

from tao_like.contract.inputs import Input
from tao_like.contract.sample import Split
from tao_like.data.images.cache import DiskStore, ImageStore, MemoryStore
from tao_like.data.images.pixel_range import chosen_window
from tao_like.data.images.sample import ImageRecord
from tao_like.runtime.inputs.image import ImagePreprocessing, Window
from tao_like.runtime.inputs.image.big_images import BigImages
from tao_like.tasks.common.image_input import IMAGE, ImageInput
from tao_like.tasks.common.split_data import Source, SplitData

CACHE_FOLDER = "cache"


class ImageSource(Source, Protocol):
    """The images of every split."""

    def records(self, split: Split) -> Sequence[ImageRecord]:
        """The images of a split. Raises DatasetError."""

    def divides(self) -> bool:
        """Whether validation or test data is cut out of the training data."""


SourceT = TypeVar("SourceT", bound=ImageSource)


class ImageData(SplitData[SourceT]):
    """Images in splits; a subclass says where they are by its source.

    Args:
        block: the dataset block, with ``cache``.
        source: the images of every split.
        results_dir: where stages leave their results; a cache on disk lies there.
    """

    def __init__(self, block: Any, source: SourceT, results_dir: str) -> None:
        super().__init__(block, source)
        self.results_dir = results_dir

    @property
    @abstractmethod
    def preprocessing(self) -> ImagePreprocessing:
        """How an image becomes an input."""

    @cached_property
    def image_input(self) -> ImageInput:
        """An image as the network takes it."""
        return ImageInput(lambda: self.preprocessing, lambda: self.big_images)

    @property
    def inputs(self) -> dict[str, Input]:
        """An image alone, for networks that take nothing else."""
        return {IMAGE: self.image_input}

    @property
    def big_images(self) -> BigImages:
        """What becomes of images beyond Pillow's limit."""
        return BigImages.REFUSED

    @property
    @override
    def divided(self) -> bool:
        return self.source.divides()

    def pixel_window(self, setting: str) -> Window | None:
        """Which values of 16-bit images become black and white, by `dataset.pixel_range`."""
        if not self.has("train"):
            return chosen_window("full", [])
        return chosen_window(setting, [record.path for record in self.source.records("train")])

    def image_store(self, paths: list[Path]) -> ImageStore:
        """Reads images, through the cache that the spec asks for."""
        window = self.preprocessing.window
        if self.block.cache == "ram":
            return MemoryStore(paths, window=window, big=self.big_images)
        if self.block.cache == "disk":
            return DiskStore(Path(self.results_dir) / CACHE_FOLDER, window, self.big_images)
        return ImageStore(window, self.big_images)
