"""Images with captions as a dataset, and what is changed at random in training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from tao_like.networks import _torchvision  # noqa: F401

# isort: split
from torchvision.transforms import InterpolationMode, v2

from tao_like.contract.batch import Batch
from tao_like.contract.sample import Sample
from tao_like.data.captions.record import CaptionRecord
from tao_like.data.images.cache import ImageStore
from tao_like.data.images.sample import sample_names
from tao_like.runtime.inputs.image import ImagePreprocessing, preprocess
from tao_like.runtime.inputs.text import Tokenizer
from tao_like.tasks.clip.spec import AugmentationSpec
from tao_like.tasks.common.image_input import IMAGE

TEXT = "text"
"""The name of the second input."""
NO_LABEL = -1


class PairTarget(NamedTuple):
    """What is known of a sample.

    Attributes:
        label: number of its class, ``NO_LABEL`` where it has none.
        caption: number of its caption among the split's; equal captions have one number.
        group: number of its group among the split's.
    """

    label: int
    caption: int
    group: int


@dataclass
class PairTargets:
    """Those of a batch: (N, 3) int64, each row a `PairTarget`."""

    rows: Tensor


@dataclass
class Item:
    """A preprocessed sample: pixels (H, W, 3) uint8, ids (L,), its target and number."""

    pixels: np.ndarray
    ids: np.ndarray
    target: PairTarget
    index: int


class Augmentation:
    """Turns an image into a training input; draws from torch's global generator.

    Args:
        spec: what to change, and how much.
        preprocessing: size of the input, and how images become it.
    """

    def __init__(self, spec: AugmentationSpec, preprocessing: ImagePreprocessing) -> None:
        self.preprocessing = preprocessing
        size = (preprocessing.height, preprocessing.width)
        self.crop = None
        if spec.scale[0] < 1:
            self.crop = v2.RandomResizedCrop(
                size,
                scale=tuple(spec.scale),
                ratio=(0.9, 1.1),
                interpolation=InterpolationMode(preprocessing.interpolation),
            )
        steps: list[nn.Module] = []
        if spec.hflip_probability:
            steps.append(v2.RandomHorizontalFlip(spec.hflip_probability))
        if spec.color_jitter:
            steps.append(v2.ColorJitter(*[spec.color_jitter] * 3))
        if spec.grayscale:
            steps.append(v2.RandomGrayscale(spec.grayscale))
        self.steps = steps

    def __call__(self, image: Image.Image) -> np.ndarray:
        """The image as (H, W, 3) uint8."""
        image = self.crop(image) if self.crop else Image.fromarray(preprocess(image, self.preprocessing))
        for step in self.steps:
            image = step(image)
        return np.array(image)


class PairDataset:
    """Records as preprocessed images and ids.

    Args:
        records: images with captions.
        classes: class names; labels that are not among them count as none.
        preprocessing: how images become inputs.
        tokenizer: how texts become inputs.
        store: reads images, perhaps from a cache.
        group_names: of the records and perhaps more.
        augment: what changes training images; then a caption is drawn too. None: as for scores.
    """

    def __init__(
        self,
        records: Sequence[CaptionRecord],
        classes: Sequence[str],
        preprocessing: ImagePreprocessing,
        tokenizer: Tokenizer,
        store: ImageStore,
        group_names: Sequence[str],
        *,
        augment: Callable[[Image.Image], np.ndarray] | None = None,
    ) -> None:
        self.records = list(records)
        self._names = sample_names(self.records)
        self.preprocessing = preprocessing
        self.tokenizer = tokenizer
        self.store = store
        self.augment = augment
        numbers = {name: number for number, name in enumerate(classes)}
        captions = _numbered(record.captions[0] for record in self.records)
        groups = _numbered(group_names)
        self.targets = [
            PairTarget(
                numbers.get(record.labels[0], NO_LABEL) if record.labels else NO_LABEL,
                captions[record.captions[0]],
                groups[record.group],
            )
            for record in self.records
        ]
        # The same texts come again every epoch, and Python takes longer over them than over a small image.
        self._ids = {
            caption: tokenizer.ids(caption)
            for record in self.records
            for caption in (record.captions if augment else record.captions[:1])
        }

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> Item:
        record = self.records[index]
        image = self.store.read(record.path)
        if self.augment is None:
            return Item(
                preprocess(image, self.preprocessing),
                self._ids[record.captions[0]],
                self.targets[index],
                index,
            )
        drawn = int(torch.randint(len(record.captions), ()))
        return Item(self.augment(image), self._ids[record.captions[drawn]], self.targets[index], index)

    def key(self, index: int) -> str:
        """The image's path below the data's root; whole where two roots have one of its name."""
        return self._names[index]

    def caption(self, index: int) -> str:
        """The caption that a sample is scored by."""
        return self.records[index].captions[0]

    def sample(self, index: int) -> Sample:
        """The image as it is on disk and its caption, with its target."""
        record = self.records[index]
        data = {IMAGE: self.store.read(record.path), TEXT: record.captions[0]}
        return Sample(self._names[index], data, self.targets[index])


def _numbered(texts: object) -> dict[str, int]:
    """A number for each distinct text, in order."""
    return {text: number for number, text in enumerate(dict.fromkeys(texts))}  # type: ignore[call-overload]


def collate_pairs(items: Sequence[Item]) -> Batch[PairTargets]:
    """Joins items to a batch; pixels become (N, 3, H, W) in channels-last memory, without a copy."""
    pixels = torch.from_numpy(np.stack([item.pixels for item in items])).permute(0, 3, 1, 2)
    ids = torch.from_numpy(np.stack([item.ids for item in items]))
    targets = PairTargets(torch.tensor([list(item.target) for item in items], dtype=torch.int64))
    return Batch({IMAGE: pixels, TEXT: ids}, targets, torch.tensor([item.index for item in items]))
