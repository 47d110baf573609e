"""Skeleton sequences as a dataset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from tao_like.contract.task import Batch, Sample, Split
from tao_like.runtime.inputs.skeleton import SkeletonPreparation, prepare_skeleton
from tao_like.tasks.pose_classification.augmentation import Augmentation
from tao_like.tasks.pose_classification.source import LabelledSkeletons


@dataclass(frozen=True)
class Item:
    """A prepared sequence.

    Attributes:
        joints: (C, T, V, M) float32.
        target: class number.
        index: of the sequence in its dataset.
    """

    joints: npt.NDArray[np.float32]
    target: int
    index: int


class SkeletonDataset:
    """The sequences of a split.

    Args:
        skeletons: all splits.
        split: the one.
        preparation: how sequences become inputs.
        augment: what changes training sequences; None: prepared as for evaluation.
    """

    def __init__(
        self,
        skeletons: LabelledSkeletons,
        split: Split,
        preparation: SkeletonPreparation,
        augment: Augmentation | None = None,
    ) -> None:
        self.preparation = preparation
        self.augment = augment
        self._data = skeletons.data(split)
        self.targets = [skeletons.target(split, index) for index in range(len(self._data))]

    def __len__(self) -> int:
        return len(self._data)

    def __getitem__(self, index: int) -> Item:
        sequence = self._data.sequence(index)
        if self.augment is None:
            return Item(prepare_skeleton(sequence, self.preparation), self.targets[index], index)
        return Item(self.augment(sequence), self.targets[index], index)

    def sample(self, index: int) -> Sample:
        """The sequence as it is on disk, with its class number."""
        return Sample(self._data.name(index), self._data.sequence(index), self.targets[index])


def collate_items(items: Sequence[Item]) -> Batch:
    """Joins items to a batch: joints (N, C, T, V, M), class numbers (N,)."""
    return Batch(
        torch.from_numpy(np.stack([item.joints for item in items])),
        torch.tensor([item.target for item in items]),
        torch.tensor([item.index for item in items]),
    )
