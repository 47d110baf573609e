"""The images and captions of each split, as the spec names them or as a bundle has stored them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from typing_extensions import override

from tao_like.config.blocks.captions import CaptionDataSpec
from tao_like.contract.sample import SPLITS, Split
from tao_like.data.captions.reading import CaptionSource, ReadCaptions
from tao_like.data.captions.record import CaptionRecord
from tao_like.data.checks.findings import Finding
from tao_like.data.images.readers import read_class_list
from tao_like.errors import SpecError
from tao_like.tasks.clip.spec import DatasetSpec
from tao_like.tasks.common.captions.sources import caption_sources, read_sources
from tao_like.tasks.common.split_source import SplitSource


class CaptionedImages(SplitSource[CaptionRecord]):
    """Images with captions; see ``SplitSource``. A model's classes may be others than the data's."""

    target_words: ClassVar[str] = "caption in dataset.train_dataset"

    def __init__(
        self, spec: DatasetSpec, stored_split: dict[str, Any] | None, classes: list[str] | None
    ) -> None:
        super().__init__(spec, stored_split, classes)
        self.spec = spec
        self._read: dict[Split, ReadCaptions] = {}

    @override
    def named(self, split: Split) -> CaptionDataSpec | None:
        """The block of a split that the spec gives data for."""
        block: CaptionDataSpec = getattr(self.spec, f"{split}_dataset")
        return block if block.is_given else None

    @override
    def roots(self, split: Split) -> list[Path]:
        block = self.named(split)
        return [] if block is None else [source.root for source in self._sources(split, block)]

    @override
    def found_classes(self) -> list[str]:
        """The names of a file, else the labels of all splits, sorted; empty where there are no labels."""
        if self.spec.classes_file:
            return read_class_list(Path(self.spec.classes_file))
        splits = [split for split in SPLITS if self.has(split)]
        return sorted(
            {label for split in splits for record in self.records(split) for label in record.labels}
        )

    @override
    def labels_text(self, record: CaptionRecord) -> tuple[str, ...]:
        return (*record.labels, *record.captions)

    @override
    def read(self, split: Split) -> list[CaptionRecord]:
        block = self.named(split)
        if block is None:
            if split == "train":
                raise SpecError(
                    "dataset.train_dataset names no data; give images_dir (images with text files, or "
                    "class folders) or captions_file"
                )
            return []
        self._read[split] = read_sources(self._sources(split, block))
        return self._read[split].records

    @override
    def folders(self, split: Split) -> list[tuple[Path, bool]]:
        block = self.named(split)
        if block is None or not block.images_dir or block.captions_file:
            return []
        return [(Path(block.images_dir), all(record.labels for record in self.records(split)))]

    @override
    def findings(self) -> list[Finding]:
        """What was noticed in reading."""
        return super().findings() + [
            finding for split in SPLITS if split in self._read for finding in self._read[split].findings
        ]

    def _sources(self, split: Split, block: CaptionDataSpec) -> list[CaptionSource]:
        key = f"dataset.{split}_dataset"
        return caption_sources(block, key, self.spec.templates, training=split == "train")
