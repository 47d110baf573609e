"""The data of classification: images with one label, or several."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import torch
from typing_extensions import override

from tao_like.contract.batch import Batch
from tao_like.contract.data import DataReport
from tao_like.contract.sample import Split
from tao_like.contract.trained import TrainedState
from tao_like.errors import DatasetError
from tao_like.networks.backbones.build import Normalization
from tao_like.runtime.inputs.image import ImagePreprocessing
from tao_like.tasks.classification.backbone import normalization_for
from tao_like.tasks.classification.data.check import check_classification_data
from tao_like.tasks.classification.data.dataset import ImageDataset, augmentation_of, collate_images
from tao_like.tasks.classification.data.source import LabelledImages
from tao_like.tasks.classification.spec import Spec
from tao_like.tasks.common.image_data import ImageData


class ClassificationData(ImageData[LabelledImages]):
    """Images of class folders or CSV files.

    Args:
        spec: of the task.
        trained: what a trained model says of itself; None: it is yet to be trained.
    """

    def __init__(self, spec: Spec, trained: TrainedState | None) -> None:
        split, classes = (trained.split, trained.classes) if trained else (None, None)
        super().__init__(spec.dataset, LabelledImages(spec.dataset, split, classes), spec.results_dir)
        self.spec = spec
        self.trained = trained
        self.multi_label = spec.dataset.multi_label

    @cached_property
    def normalization(self) -> Normalization:
        """Mean, std and resizing that the weights were trained with."""
        return normalization_for(self.spec)

    @cached_property
    def preprocessing(self) -> ImagePreprocessing:
        """How an image becomes an input."""
        if self.trained:
            return ImagePreprocessing.from_dict(self.trained.preprocessing)
        block = self.block
        return ImagePreprocessing(
            height=block.img_size,
            width=block.img_size,
            resize=block.resize,
            crop_pct=block.crop_pct or self.normalization.crop_pct,
            interpolation=self.normalization.interpolation,
            window=self.pixel_window(block.pixel_range),
        )

    @override
    def dataset(self, split: Split, *, augment: bool = False) -> ImageDataset:
        records = self.source.records(split)
        if not records:
            raise DatasetError(
                f"there is no {split} data; give dataset.{split}_dataset.images_dir or csv_file"
            )
        classes = self.labels.names
        unknown = sorted({label for record in records for label in record.labels} - set(classes))
        if unknown:
            raise DatasetError(
                f"the split `{split}` has classes that the network does not know: {', '.join(unknown[:10])}; "
                f"it knows {', '.join(classes[:10])}. Rename the folders, or train on these classes too"
            )
        return ImageDataset(
            records,
            classes,
            self.preprocessing,
            self.image_store([record.path for record in records]),
            multi_label=self.multi_label,
            augment=augmentation_of(self.block.augmentation, self.preprocessing).pixels if augment else None,
        )

    @override
    def collate(self, samples: Sequence[Any]) -> Batch[torch.Tensor]:
        return collate_images(samples)

    @override
    def check(self, *, full: bool, on_progress: Callable[[int, int], None] | None = None) -> DataReport:
        report = check_classification_data(self, self.spec, full=full, on_progress=on_progress)
        report.findings += self.source.findings()
        return report
