"""Images and their objects with masks as a dataset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from typing_extensions import override

from tao_like.contract.batch import Batch
from tao_like.contract.sample import Sample
from tao_like.data.masks.instances import usable_instances
from tao_like.data.masks.runs import Runs, encode_mask
from tao_like.tasks.common.augmentation.annotations import Annotations, LabeledImage
from tao_like.tasks.common.augmentation.placing import Preprocess
from tao_like.tasks.detection.data.dataset import (
    DetectionDataset,
    DetectionTargets,
    GroundTruth,
    Item,
    collate_items,
)


@dataclass(frozen=True)
class InstanceTarget(GroundTruth):
    """What is on an image, in its own pixels: what predictions are held against.

    Attributes:
        masks: (N, H, W) of the objects of ``arrays``; None where ``runs`` has them.
        runs: the same as COCO's runs, which are small; empty in training, where nothing is scored.
    """

    masks: npt.NDArray[np.uint8] | None = None
    runs: tuple[Runs, ...] = ()


@dataclass(frozen=True)
class InstanceTargets(DetectionTargets):
    """The targets of a batch.

    Attributes:
        masks: of each image (G, H, W) of 0 and 1, at the input's size.
    """

    masks: list[Tensor]


@dataclass(frozen=True)
class InstanceItem(Item):
    """A preprocessed image.

    Attributes:
        masks: (G, H, W) of 0 and 1, at the input's size.
    """

    masks: npt.NDArray[np.uint8]


class InstanceDataset(DetectionDataset):
    """Records as preprocessed images and objects. Arguments: ``DetectionDataset``."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.place = Preprocess(self.preprocessing)

    @override
    def __getitem__(self, index: int) -> InstanceItem:
        sample = self.sample(index)
        annotated: InstanceTarget = sample.target
        assert annotated.masks is not None, "a sample has them"
        if self.augment is None:
            plain = True
            changed = self.place(self.labeled(sample))
            runs = tuple(encode_mask(mask) for mask in annotated.masks)
        else:
            plain, runs = self.epoch >= self.strong_epochs, ()
            changed = self.augment(self.labeled(sample), self._another, strong=not plain)
        target = changed.target
        assert isinstance(target, Annotations)
        assert target.masks is not None
        return InstanceItem(
            np.array(changed.image),
            target.boxes.numpy(),
            target.labels.numpy(),
            replace(annotated, masks=None, runs=runs),
            index,
            self.epoch,
            plain,
            target.masks.numpy(),
        )

    @override
    def labeled(self, sample: Sample) -> LabeledImage:
        """What a network is to learn of a sample: without crowds, regions to ignore and mere boxes."""
        annotated: InstanceTarget = sample.target
        assert annotated.masks is not None, "a sample has them"
        learnt = annotated.arrays.select(~annotated.arrays.crowd)
        masks = annotated.masks[~annotated.arrays.crowd]
        return LabeledImage(
            sample.data, Annotations.of(learnt.boxes, learnt.labels, sample.data.size, masks=masks)
        )

    @override
    def sample(self, index: int) -> Sample:
        record = self.records[index]
        image = self.store.read(record.path)
        where = f"{record.source}: {record.name}" if record.source else str(record.path)
        arrays, masks = usable_instances(record.boxes, self.numbers, image.width, image.height, where)
        return Sample(
            self.names[index], image, InstanceTarget(arrays, image.width, image.height, masks=masks)
        )


def collate_instances(items: Sequence[InstanceItem]) -> Batch[InstanceTargets]:
    """Joins items to a batch."""
    batch = collate_items(items)
    targets = InstanceTargets(**vars(batch.targets), masks=[torch.from_numpy(item.masks) for item in items])
    return Batch(batch.inputs, targets, batch.indices)
