"""The data of segmentation: photos and their masks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from typing_extensions import override

from tao_like.contract.batch import Batch
from tao_like.contract.data import DataReport
from tao_like.contract.sample import SPLITS, Split
from tao_like.contract.trained import TrainedState
from tao_like.data.images.files import read_header
from tao_like.data.masks.reading import read_class_map
from tao_like.data.masks.values import IGNORE
from tao_like.errors import DatasetError
from tao_like.runtime.inputs.image import ImagePreprocessing
from tao_like.runtime.inputs.image.big_images import BigImages
from tao_like.runtime.predictions.tiles import Tiling
from tao_like.tasks.common.image_data import ImageData
from tao_like.tasks.common.image_tiles import tiles_of
from tao_like.tasks.segmentation.data.augmentation import MaskAugmentation
from tao_like.tasks.segmentation.data.check import check_segmentation_data
from tao_like.tasks.segmentation.data.dataset import SegmentationDataset, collate_items
from tao_like.tasks.segmentation.data.source import LabelledMasks, prediction_files
from tao_like.tasks.segmentation.data.targets import SegmentationTargets
from tao_like.tasks.segmentation.data.tiles import PhotoTiles, TiledDataset
from tao_like.tasks.segmentation.spec import Spec

FILL = 114
"""Gray of the borders around a photo."""


class SegmentationData(ImageData[LabelledMasks]):
    """Photos and masks; big photos perhaps in windows.

    Args:
        spec: of the task.
        trained: what a trained model says of itself; None: it is yet to be trained.
    """

    def __init__(self, spec: Spec, trained: TrainedState | None) -> None:
        split, classes = (trained.split, trained.classes) if trained else (None, None)
        super().__init__(spec.dataset, LabelledMasks(spec.dataset, split, classes), spec.results_dir)
        self.spec = spec
        self.trained = trained

    @override
    def key(self, split: Split) -> str:
        return f"dataset.{split}_dataset.images_dir (or dataset.root_dir)"

    @cached_property
    def preprocessing(self) -> ImagePreprocessing:
        """How a photo, or a window of it, becomes an input."""
        if self.trained:
            return ImagePreprocessing.from_dict(self.trained.preprocessing)
        block = self.block
        return ImagePreprocessing(
            height=block.img_height or block.img_size,
            width=block.img_size,
            resize=block.resize,
            crop_pct=1.0,
            interpolation="bilinear",
            fill=FILL,
            window=self.pixel_window(block.pixel_range),
        )

    @cached_property
    def tiling(self) -> Tiling | None:
        """How big photos are cut; None: they are not."""
        if self.trained and self._is_exported:
            return Tiling.of(self.trained.extra)
        settings = self.block.tiling
        if not settings.enable:
            return None
        return Tiling(
            settings.tile_width or self.preprocessing.width,
            settings.tile_height or self.preprocessing.height,
            settings.overlap,
            agreement=1.0,
        )

    @property
    def is_tiled(self) -> bool:
        """Whether big photos are cut into windows."""
        return self.tiling is not None if self._is_exported else bool(self.block.tiling.enable)

    @property
    def _is_exported(self) -> bool:
        return self.trained is not None and "colors" in self.trained.extra

    @property
    @override
    def big_images(self) -> BigImages:
        if self.is_tiled:
            return BigImages.READ
        return BigImages.OF_MODEL if self._is_exported else BigImages.BY_KEY

    def tilings(self) -> list[PhotoTiles]:
        """What cuts photos into windows and merges predictions; none where they are not cut."""
        return [PhotoTiles(self)] if self.is_tiled else []

    @override
    def count(self, split: Split) -> int:
        records = self.source.records(split)
        return len(tiles_of(records, self.tiling)) if self.tiling else len(records)

    @override
    def dataset(self, split: Split, *, augment: bool = False) -> SegmentationDataset:
        records = self.source.records(split)
        if not records:
            raise DatasetError(f"there is no {split} data; give {self.key(split)}")
        make = partial(TiledDataset, tiling=self.tiling) if self.tiling else SegmentationDataset
        return make(
            records,
            self.source.coding,
            self.preprocessing,
            self.image_store([record.path for record in records]),
            augment=MaskAugmentation(self.block.augmentation, self.preprocessing) if augment else None,
        )

    @override
    def collate(self, samples: Sequence[Any]) -> Batch[SegmentationTargets]:
        return collate_items(samples)

    @override
    def inference_files(self) -> list[Path]:
        return prediction_files(self.block)

    @override
    def check(self, *, full: bool, on_progress: Callable[[int, int], None] | None = None) -> DataReport:
        return check_segmentation_data(
            self.source,
            [split for split in SPLITS if self.has(split)],
            self.preprocessing.window,
            self.big_images,
            lambda: self.dataset("train"),
            figures=self.spec.dataset_check.max_pictures,
            full=full,
            on_progress=on_progress,
        )

    @cached_property
    def class_pixels(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Pixels of each class in the training masks, and pixels of the photos that show it."""
        count = len(self.labels)
        pixels, present = np.zeros((2, count), np.int64)
        for record in self.source.records("train"):
            header = read_header(record.path)
            classes = read_class_map(record, self.source.coding, (header.width, header.height))
            of_photo = np.bincount(classes[classes != IGNORE], minlength=count)
            pixels += of_photo
            present += of_photo.sum() * (of_photo > 0)
        return pixels, present
