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
from tao_like.contract.sample import Split
from tao_like.contract.trained import TrainedState
from tao_like.data.images.files import read_header
from tao_like.data.masks.reading import read_class_map
from tao_like.data.masks.values import IGNORE
from tao_like.tasks.common.tiled_image_data import TiledImageData
from tao_like.tasks.segmentation.data.augmentation import MaskAugmentation
from tao_like.tasks.segmentation.data.check import check_segmentation_data
from tao_like.tasks.segmentation.data.dataset import SegmentationDataset, collate_items
from tao_like.tasks.segmentation.data.source import LabelledMasks, prediction_files
from tao_like.tasks.segmentation.data.targets import SegmentationTargets
from tao_like.tasks.segmentation.data.tiles import PhotoTiles, TiledDataset
from tao_like.tasks.segmentation.spec import Spec


class SegmentationData(TiledImageData[LabelledMasks]):
    """Photos and masks; big photos perhaps in windows.

    Args:
        spec: of the task.
        trained: what a trained model says of itself; None: it is yet to be trained.
    """

    export_mark = "colors"
    spec: Spec

    def __init__(self, spec: Spec, trained: TrainedState | None) -> None:
        split, classes = (trained.split, trained.classes) if trained else (None, None)
        super().__init__(spec, LabelledMasks(spec.dataset, split, classes), trained)

    @override
    def key(self, split: Split) -> str:
        return f"dataset.{split}_dataset.images_dir (or dataset.root_dir)"

    @override
    def tilings(self) -> list[PhotoTiles]:
        return [PhotoTiles(self)] if self.is_tiled else []

    @override
    def dataset(self, split: Split, *, augment: bool = False) -> SegmentationDataset:
        records = self.given_records(split)
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
        return check_segmentation_data(self, full=full, on_progress=on_progress)

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
