"""Skeleton sequences as a dataset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from tao_like.contract.batch import Batch
from tao_like.contract.sample import Sample, Split
from tao_like.runtime.inputs.skeleton import SkeletonPreprocessing, preprocess_skeleton
from tao_like.tasks.pose_classification.data.augmentation import Augmentation
from tao_like.tasks.pose_classification.data.skeleton_input import JOINTS
from tao_like.tasks.pose_classification.data.source import LabelledSkeletons


@dataclass(frozen=True)
class Item:
    """A preprocessed sequence.

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
        preprocessing: how sequences become inputs.
        augment: what changes training sequences; None: preprocessed as for evaluation.
    """

    def __init__(
        self,
        skeletons: LabelledSkeletons,
        split: Split,
        preprocessing: SkeletonPreprocessing,
        augment: Augmentation | None = None,
    ) -> None:
        self.preprocessing = preprocessing
        self.augment = augment
        self._data = skeletons.data(split)
        self.targets = [skeletons.target(split, index) for index in range(len(self._data))]

    def __len__(self) -> int:
        return len(self._data)

    def __getitem__(self, index: int) -> Item:
        sequence = self._data.sequence(index)
        if self.augment is None:
            return Item(preprocess_skeleton(sequence, self.preprocessing), self.targets[index], index)
        return Item(self.augment(sequence), self.targets[index], index)

    def key(self, index: int) -> str:
        """The name of a sequence."""
        return self._data.name(index)

    def sample(self, index: int) -> Sample:
        """The sequence as it is on disk, with its class number."""
        return Sample(self._data.name(index), self._data.sequence(index), self.targets[index])


def collate_sequences(items: Sequence[Item]) -> Batch[torch.Tensor]:
    """Joins items to a batch: joints (N, C, T, V, M), class numbers (N,)."""
    return Batch(
        {JOINTS: torch.from_numpy(np.stack([item.joints for item in items]))},
        torch.tensor([item.target for item in items]),
        torch.tensor([item.index for item in items]),
    )
