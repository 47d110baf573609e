"""The pictures of each split, as the spec names them or as a bundle has stored them."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from tao_like.datasets.records import ImageRecord, class_names, read_class_folders, read_csv
from tao_like.datasets.split import split_records
from tao_like.datasets.stored_split import split_from_dict, split_to_dict
from tao_like.errors import DatasetError, SpecError
from tao_like.tasks.base import Split
from tao_like.tasks.classification.spec import DataPathSpec, DatasetSpec

SPLITS: tuple[Split, ...] = ("train", "val", "test")


class LabelledImages:
    """Records of every split, read once.

    Args:
        spec: the dataset block.
        stored_split: the division that a bundle was trained on; the spec's own is not drawn again then.
        classes: class names of a bundle; None: found in the training data.
    """

    def __init__(
        self, spec: DatasetSpec, stored_split: dict[str, Any] | None, classes: list[str] | None
    ) -> None:
        self.spec = spec
        self._stored_split = stored_split
        self._given_classes = classes
        self._records: dict[Split, list[ImageRecord]] = {}
        self._classes: list[str] | None = None
        self.notes: list[str] = []

    def named(self, split: Split) -> DataPathSpec | None:
        """The block of a split that the spec gives data for."""
        block: DataPathSpec = getattr(self.spec, f"{split}_dataset")
        return block if block.images_dir or block.csv_file else None

    def is_divided(self, split: Split) -> bool:
        """Whether this split is cut out of the training data."""
        if split == "train" or self.named(split) or not self.named("train"):
            return False
        share = self.spec.split.val if split == "val" else self.spec.split.test
        return share > 0 and not (split == "test" and self.named("val"))

    def has(self, split: Split) -> bool:
        """Whether there is data for a split."""
        return self.named(split) is not None or self.is_divided(split)

    def records(self, split: Split) -> list[ImageRecord]:
        """The records of a split; empty where the spec gives none. Raises DatasetError, SpecError."""
        if split not in self._records:
            if self.divides() and (split == "train" or self.is_divided(split)):
                self._records |= self._divided(split)
            else:
                block = self.named(split)
                self._records[split] = self._read_block(block, split) if block else []
        return self._records[split]

    @property
    def classes(self) -> list[str]:
        """Class names in the order of the outputs. Raises DatasetError."""
        if self._given_classes is not None:
            return self._given_classes
        if self._classes is None:
            file = self.spec.classes_file
            names = class_names(self.records("train"), Path(file) if file else None)
            if self.spec.num_classes not in (None, len(names)):
                raise DatasetError(
                    f"dataset.num_classes is {self.spec.num_classes}, and the data has {len(names)} classes "
                    f"({', '.join(names[:10])}{', ...' if len(names) > 10 else ''}); correct or remove it"
                )
            self._classes = names
        return self._classes

    def split_record(self) -> dict[str, Any]:
        """The files of each split, for the bundle."""
        return split_to_dict({split: self.records(split) for split in SPLITS})

    def fingerprint(self, split: Split) -> str:
        """A hash of the names and labels of a split's pictures, in order."""
        digest = hashlib.sha256()
        for record in self.records(split):
            digest.update("\0".join((record.name, *record.labels, "\n")).encode("utf-8", "surrogateescape"))
        return digest.hexdigest()

    def divides(self) -> bool:
        """Whether validation or test data is cut out of the training data."""
        return self.is_divided("val") or self.is_divided("test")

    def _divided(self, split: Split) -> dict[Split, list[ImageRecord]]:
        """The training data divided: as a bundle has stored it (this split alone), else as drawn (all)."""
        block = self.named("train")
        if block is None:
            raise SpecError(
                "dataset.train_dataset.images_dir is not given; name the folder of the training pictures"
            )
        if self._stored_split is not None:
            root = Path(block.images_dir) if block.images_dir else Path(str(block.csv_file)).parent
            found = split_from_dict(self._stored_split, root, splits=[split])
            self.notes += found.notes()
            return {split: found.records[split]}
        shares = {name: getattr(self.spec.split, name) * self.is_divided(name) for name in ("val", "test")}
        divided = split_records(
            self._read_block(block, "train"),
            **shares,
            seed=self.spec.split.seed,
            group_by=self.spec.split.group_by,
        )
        return {name: divided[name] for name in SPLITS if name == "train" or self.is_divided(name)}

    def _read_block(self, block: DataPathSpec, split: Split) -> list[ImageRecord]:
        key = f"dataset.{split}_dataset"
        if block.csv_file:
            images_dir = Path(block.images_dir) if block.images_dir else None
            return read_csv(
                Path(block.csv_file),
                images_dir,
                multi_label=self.spec.multi_label,
                split=split,
            )
        if self.spec.multi_label:
            raise SpecError(
                f"{key}.images_dir={block.images_dir} has one label a picture, by its folder; with "
                f"dataset.multi_label=true give {key}.csv_file, whose column `label` has labels joined by ';'"
            )
        return read_class_folders(
            Path(str(block.images_dir)), training=split == "train", key=f"{key}.images_dir"
        )
