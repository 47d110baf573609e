"""Which sequences each split has, and what their classes are called."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tao_like.contract.sample import SPLITS, Split
from tao_like.data.skeletons.arrays import SkeletonData, SkeletonLabels, read_skeleton_data
from tao_like.data.skeletons.layouts import Layout
from tao_like.errors import DatasetError, SpecError
from tao_like.tasks.common.split_data import check_num_classes, fingerprint_of
from tao_like.tasks.pose_classification.spec import DatasetSpec, SkeletonDatasetSpec, Spec, chosen_layout


class LabelledSkeletons:
    """The sequences of every split, opened once.

    Args:
        spec: the whole spec.
        classes: class names of a trained model; None: found in the training data.
    """

    def __init__(self, spec: Spec, classes: list[str] | None) -> None:
        self.spec: DatasetSpec = spec.dataset
        self.channels = spec.model.input_channels
        self.layout: Layout = chosen_layout(spec.model)
        self._given_classes = classes
        self._classes: list[str] | None = None
        self._data: dict[Split, SkeletonData] = {}

    def named(self, split: Split) -> SkeletonDatasetSpec:
        """The block of a split."""
        block: SkeletonDatasetSpec = getattr(self.spec, f"{split}_dataset")
        return block

    def has(self, split: Split) -> bool:
        """Whether there is data for a split."""
        return bool(self.named(split).data_path)

    def count(self, split: Split) -> int:
        """Sequences of a split. Raises DatasetError, SpecError."""
        return len(self.data(split))

    def data(self, split: Split) -> SkeletonData:
        """The sequences of a split. Raises DatasetError, SpecError."""
        if split not in self._data:
            block, key = self.named(split), f"dataset.{split}_dataset"
            if not block.data_path:
                raise SpecError(f"{key}.data_path is not given; it names the array of the sequences")
            if not block.label_path:
                raise SpecError(f"{key}.label_path is not given; it names the labels of {block.data_path}")
            data = read_skeleton_data(
                Path(block.data_path),
                Path(block.label_path),
                channels=self.channels,
                joints=len(self.layout.joints),
                key=key,
            )
            if split == "train":
                classes = self._given_classes or self._found_classes(data.labels, block.label_path)
                _check_samples(data.labels, classes, block.label_path)
                self._classes = classes
            self._data[split] = data
        return self._data[split]

    @property
    def classes(self) -> list[str]:
        """Class names in the order of the outputs. Raises DatasetError."""
        if self._given_classes is not None:
            return self._given_classes
        if self._classes is None:
            self.data("train")
        assert self._classes is not None
        return self._classes

    def _found_classes(self, labels: SkeletonLabels, path: str) -> list[str]:
        """By label_map, else as the file says, else the numbers."""
        if self.spec.label_map:
            names = sorted(self.spec.label_map, key=lambda name: self.spec.label_map[name])
        else:
            count = max(self.spec.num_classes or 0, max(labels.labels) + 1)
            names = list(labels.classes) or [str(number) for number in range(count)]
        check_num_classes(self.spec.num_classes, names)
        if len(names) < 2:
            raise DatasetError(f"{path} has one class, {names[0]!r}; a classifier needs at least two")
        if max(labels.labels) >= len(names):
            raise DatasetError(
                f"{path} has the label {max(labels.labels)}, and dataset.label_map names {len(names)} "
                "classes from 0"
            )
        return names

    def check_known(self, split: Split) -> None:
        """Raises a DatasetError where a split has a class that the network does not know, by name or
        number.
        """
        labels = self.data(split).labels
        names, known = labels.classes, self.classes
        unknown = [name for name in names if name not in known]
        if unknown or max(labels.labels) >= len(names or known):
            told = ", ".join(unknown) or str(max(labels.labels))
            raise DatasetError(
                f"the split `{split}` ({self.named(split).label_path}) has classes that the network does "
                "not know: "
                f"{told}; it knows {', '.join(known[:10])}. Correct the labels, or train on these classes too"
            )

    def target(self, split: Split, index: int) -> int:
        """The class number of a sequence, in the order of the network's outputs."""
        labels = self.data(split).labels
        number = labels.labels[index]
        # Another file may have the classes in another order.
        return self.classes.index(labels.classes[number]) if labels.classes else number

    def split_record(self) -> dict[str, Any]:
        """What each split consists of, for the bundle."""
        return {
            split: {
                "file": Path(str(self.named(split).data_path)).name,
                "sequences": len(self.data(split)),
                "labels_sha256": self.fingerprint(split),
            }
            for split in SPLITS
            if self.has(split)
        }

    def fingerprint(self, split: Split) -> str:
        """A hash of the names and classes of a split's sequences, in order."""
        data = self.data(split)
        return fingerprint_of(
            (data.name(index), self.classes[self.target(split, index)]) for index in range(len(data))
        )


def _check_samples(labels: SkeletonLabels, classes: list[str], path: str) -> None:
    """Raises a DatasetError where a class has no sequence to learn from."""
    seen = {labels.classes[number] if labels.classes else classes[number] for number in set(labels.labels)}
    if empty := [name for name in classes if name not in seen]:
        raise DatasetError(
            f"{path} has no sequence of the class {', '.join(empty[:10])}; add some or take the class out"
        )
