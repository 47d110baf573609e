"""The images of each split, as the spec names them or as a bundle has stored them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from typing_extensions import override

from tao_like.contract.sample import SPLITS as SPLITS
from tao_like.contract.sample import Split
from tao_like.data.images.class_folders import read_class_folders
from tao_like.data.images.csv_lists import AUTO, NO_SEPARATOR, label_separators, read_csv
from tao_like.data.images.readers import class_names
from tao_like.data.images.sample import ImageRecord
from tao_like.data.splits.stored import FoundSplit, split_from_dict
from tao_like.errors import SpecError
from tao_like.tasks.classification.spec import DataPathSpec, DatasetSpec
from tao_like.tasks.common.split_source import SplitSource


class LabelledImages(SplitSource[ImageRecord]):
    """Images and their labels, of class folders or CSV files; see ``SplitSource``."""

    def __init__(
        self, spec: DatasetSpec, stored_split: dict[str, Any] | None, classes: list[str] | None
    ) -> None:
        super().__init__(spec, stored_split, classes)
        self.spec = spec

    @override
    def named(self, split: Split) -> DataPathSpec | None:
        """The block of a split that the spec gives data for."""
        block: DataPathSpec = getattr(self.spec, f"{split}_dataset")
        return block if block.images_dir or block.csv_file else None

    @override
    def found_classes(self) -> list[str]:
        file = self.spec.classes_file
        return class_names(self.records("train"), Path(file) if file else None)

    @override
    def labels_text(self, record: ImageRecord) -> tuple[str, ...]:
        return record.labels

    @override
    def read_stored(self, split: Split, stored: dict[str, Any]) -> tuple[list[ImageRecord], FoundSplit]:
        block = self.named("train")
        assert block is not None
        root = Path(block.images_dir) if block.images_dir else Path(str(block.csv_file)).parent
        found = split_from_dict(stored, root, splits=[split])
        return found.records[split], found

    def _separators(self) -> str | None:
        """Marks between labels: as the spec says, else as the training file has them, in all splits."""
        given, block = self.spec.label_separator, self.named("train")
        if given != AUTO:
            return "" if given == NO_SEPARATOR else given
        return label_separators(block.csv_file) if block is not None and block.csv_file else None

    @override
    def folders(self, split: Split) -> list[tuple[Path, bool]]:
        block = self.named(split)
        return [(Path(block.images_dir), True)] if block and block.images_dir and not block.csv_file else []

    @override
    def read(self, split: Split) -> list[ImageRecord]:
        block = self.named(split)
        if block is None:
            return []
        key = f"dataset.{split}_dataset"
        if block.csv_file:
            images_dir = Path(block.images_dir) if block.images_dir else None
            return read_csv(
                Path(block.csv_file),
                images_dir,
                multi_label=self.spec.multi_label,
                split=split,
                separators=self._separators(),
            )
        if self.spec.multi_label:
            raise SpecError(
                f"{key}.images_dir={block.images_dir} has one label an image, by its folder; with "
                f"dataset.multi_label=true give {key}.csv_file, whose column `label` has labels joined by ';'"
            )
        return read_class_folders(
            Path(str(block.images_dir)), training=split == "train", key=f"{key}.images_dir"
        )
