"""Which images and boxes each split has, by what the spec says and what a bundle has stored."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from typing_extensions import override

from tao_like.contract.sample import Split
from tao_like.data.boxes.annotation import BoxRecord, box_text
from tao_like.data.boxes.notes import Notes
from tao_like.data.boxes.sources import BoxSource, read_boxes, settled, stated_classes
from tao_like.data.checks.findings import Finding
from tao_like.data.images.readers import class_names
from tao_like.data.inference_files import image_sources
from tao_like.errors import DatasetError, SpecError
from tao_like.tasks.common.split_source import SplitSource
from tao_like.tasks.detection.spec import DatasetSpec, DataSourceSpec
from tao_like.tasks.detection.spec_blocks.stages import InferDataSourcesSpec


class LabelledBoxes(SplitSource[BoxRecord]):
    """Images and their boxes, of any number of sources; see ``SplitSource``."""

    target_words: ClassVar[str] = "labels in dataset.train_data_sources"
    keep_segmentation: ClassVar[bool] = False
    """Whether outlines of objects are kept."""

    def __init__(
        self, spec: DatasetSpec, stored_split: dict[str, Any] | None, classes: list[str] | None
    ) -> None:
        super().__init__(spec, stored_split, classes)
        self.spec = spec
        self._settled: dict[tuple[Split, int], tuple[BoxSource, Notes]] = {}

    @override
    def named(self, split: Split) -> list[DataSourceSpec]:
        """The sources that the spec gives for a split."""
        sources: list[DataSourceSpec] = getattr(self.spec, f"{split}_data_sources")
        return sources

    @override
    def found_classes(self) -> list[str]:
        """In the order of classes_file, else as the sources state it, else sorted; those with boxes."""
        if self.spec.classes_file:
            # It may leave classes of the data out: their boxes are then not looked for.
            return class_names([], Path(self.spec.classes_file))
        found = set(class_names(self.records("train")))
        stated: dict[str, None] = {}
        for number in range(len(self.named("train"))):
            stated |= dict.fromkeys(stated_classes(self.settled_source("train", number)[0]))
        return [*(name for name in stated if name in found), *sorted(found - stated.keys())]

    @override
    def labels_text(self, record: BoxRecord) -> tuple[str, ...]:
        return tuple(map(box_text, record.boxes))

    @override
    def roots(self, split: Split) -> list[Path]:
        return [self.root_of(given) for given in self.named(split)]

    def root_of(self, given: DataSourceSpec) -> Path:
        """What the names of a source's images start from."""
        return (
            Path(given.image_dir)
            if given.image_dir
            else Path(str(given.json_file or given.label_file)).parent
        )

    def box_source(self, given: DataSourceSpec) -> BoxSource:
        """A source as the readers take it."""
        return BoxSource(
            image_dir=path_of(given.image_dir),
            json_file=path_of(given.json_file),
            label_dir=path_of(given.label_dir),
            format=given.format,
            list_file=path_of(given.list_file),
            classes_file=path_of(given.classes_file),
            label_file=path_of(given.label_file),
        )

    def key_of(self, split: Split, number: int) -> str:
        """The key of the spec that names a source."""
        return f"dataset.{split}_data_sources[{number}]"

    def records_of(self, split: Split, number: int) -> list[BoxRecord]:
        """The records of one of a split's sources, undivided. Raises DatasetError."""
        given = self.box_source(self.named(split)[number]).image_dir
        if given and not given.is_dir():
            raise DatasetError(f"{self.key_of(split, number)}.image_dir: {given} is not a folder")
        source, notes = self.settled_source(split, number)
        return read_boxes(
            source,
            self.key_of(split, number),
            notes,
            self.unreadable,
            keep_segmentation=self.keep_segmentation,
        )

    @override
    def findings(self) -> list[Finding]:
        """What the readers decided and noticed in the sources read so far, each with its key in front."""
        return super().findings() + [
            replace(finding, message=f"{self.key_of(split, number)}: {finding.message}")
            for (split, number), (_, notes) in sorted(self._settled.items())
            for finding in notes.findings()
        ]

    def settled_source(self, split: Split, number: int) -> tuple[BoxSource, Notes]:
        """A source with its format decided, and what was noticed. Raises DatasetError."""
        if (split, number) not in self._settled:
            notes = Notes()
            try:
                source = settled(self.box_source(self.named(split)[number]), notes)
            except DatasetError as error:
                raise DatasetError(f"{self.key_of(split, number)}: {error}") from error
            self._settled[split, number] = (source, notes)
        return self._settled[split, number]

    @override
    def read(self, split: Split) -> list[BoxRecord]:
        records: list[BoxRecord] = []
        for number in range(len(self.named(split))):
            records += self.records_of(split, number)
        if records:
            return records
        if named := self.roots(split):
            raise DatasetError(f"dataset.{split}_data_sources names no image: {named[0]} has none")
        if split == "train":
            raise SpecError("dataset.train_data_sources is not given; it names images and their boxes")
        return records


def inference_files(spec: InferDataSourcesSpec, classes: list[str]) -> list[Path]:
    """The images of `dataset.infer_data_sources`, folder by folder; none is fine.

    Raises:
        DatasetError: a folder is not there or has no images, or the class map is not the model's.
    """
    key = "dataset.infer_data_sources"
    if spec.classmap and (named := class_names([], Path(spec.classmap))) != classes:
        raise DatasetError(
            f"{key}.classmap: {spec.classmap} names {', '.join(named[:10])}, and the model knows "
            f"{', '.join(classes[:10])}, in this order; correct or remove it"
        )
    return [file for folder in spec.image_dir for file in image_sources(folder, f"{key}.image_dir")]


def path_of(text: str | None) -> Path | None:
    """The path that a spec gives, if it does."""
    return Path(text) if text else None
