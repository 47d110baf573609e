"""Class folders of images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch

from tao_like.contract.batch import Batch
from tao_like.contract.data import Data, DataReport, Loading
from tao_like.contract.labels import Labels
from tao_like.contract.sample import SPLITS, Sample, Split
from tao_like.contract.trained import TrainedState
from tao_like.data.checks.images import check_images
from tao_like.data.images.class_folders import read_class_folders
from tao_like.data.images.readers import class_names
from tao_like.data.images.sample import ImageRecord
from tao_like.runtime.inputs.image import ImagePreprocessing, preprocess, read_image

from .spec import DatasetSpec


class ColorDataset:
    """Images as pixels (H, W, 3) with the number of their class."""

    def __init__(
        self, records: list[ImageRecord], classes: list[str], preprocessing: ImagePreprocessing
    ) -> None:
        self.records = records
        self.targets = [classes.index(record.labels[0]) for record in records]
        self.preprocessing = preprocessing

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> tuple[np.ndarray, int, int]:
        image = read_image(self.records[index].path)
        return preprocess(image, self.preprocessing), self.targets[index], index

    def sample(self, index: int) -> Sample:
        return Sample(self.key(index), read_image(self.records[index].path), self.targets[index])

    def key(self, index: int) -> str:
        return self.records[index].key


class ColorData(Data):
    """The data of the task."""

    def __init__(self, block: DatasetSpec, trained: TrainedState | None) -> None:
        self.block = block
        self.trained = trained
        side = block.img_size
        self.preprocessing = ImagePreprocessing(
            height=side, width=side, resize="squash", crop_pct=1.0, interpolation="bilinear"
        )

    def _records(self, split: Split) -> list[ImageRecord]:
        key = f"{split}_dir"
        return read_class_folders(getattr(self.block, key), key=f"dataset.{key}")

    @cached_property
    def labels(self) -> Labels:
        return Labels(self.trained.classes if self.trained else class_names(self._records("train")))

    @property
    def loading(self) -> Loading:
        return Loading(self.block.batch_size, self.block.workers, self.block.shuffle)  # type: ignore[arg-type]

    def has(self, split: Split) -> bool:
        return getattr(self.block, f"{split}_dir") is not None

    def key(self, split: Split) -> str:
        return f"dataset.{split}_dir"

    def count(self, split: Split) -> int:
        return len(self._records(split))

    def dataset(self, split: Split, *, augment: bool = False) -> ColorDataset:
        return ColorDataset(self._records(split), self.labels.names, self.preprocessing)

    def collate(self, samples: Sequence[Any]) -> Batch[torch.Tensor]:
        pixels, targets, indices = zip(*samples, strict=True)
        images = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2)
        return Batch({"image": images}, torch.tensor(targets), torch.tensor(indices))

    def check(self, *, full: bool, on_progress: Callable[[int, int], None] | None = None) -> DataReport:
        records = {split: self._records(split) for split in SPLITS if self.has(split)}
        checked = check_images(records, self.labels.names, full=full)
        return DataReport(list(checked.findings), checked.to_dict())

    def manifest(self) -> None:
        return None

    def fingerprint(self, split: Split) -> str:
        return "\n".join(record.key for record in self._records(split))
