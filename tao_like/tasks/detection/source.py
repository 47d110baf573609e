"""Which pictures and boxes each split has, by what the spec says and what a bundle has stored."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, cast

from tao_like.datasets.box_record import BoxRecord
from tao_like.datasets.box_sources import BoxSource, read_boxes, stated_classes
from tao_like.datasets.records import class_names
from tao_like.datasets.sources import image_sources
from tao_like.datasets.split import split_records
from tao_like.datasets.stored_split import split_from_dict, split_to_dict
from tao_like.errors import DatasetError, SpecError
from tao_like.tasks.base import Split
from tao_like.tasks.detection.spec import DatasetSpec, DataSourceSpec
from tao_like.tasks.detection.stage_spec import InferDataSourcesSpec

SPLITS: tuple[Split, ...] = ("train", "val", "test")


class LabelledBoxes:
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
        self._records: dict[Split, list[BoxRecord]] = {}
        self._classes: list[str] | None = None
        self.notes: list[str] = []

    def named(self, split: Split) -> list[DataSourceSpec]:
        """The sources that the spec gives for a split."""
        sources: list[DataSourceSpec] = getattr(self.spec, f"{split}_data_sources")
        return sources

    def is_divided(self, split: Split) -> bool:
        """Whether this split is cut out of the training data."""
        if split == "train" or self.named(split) or not self.named("train"):
            return False
        share = self.spec.split.val if split == "val" else self.spec.split.test
        return share > 0 and not (split == "test" and bool(self.named("val")))

    def has(self, split: Split) -> bool:
        """Whether there is data for a split."""
        return bool(self.named(split)) or self.is_divided(split)

    def divides(self) -> bool:
        """Whether validation or test data is cut out of the training data."""
        return self.is_divided("val") or self.is_divided("test")

    def records(self, split: Split) -> list[BoxRecord]:
        """The records of a split; empty where the spec gives none. Raises DatasetError, SpecError."""
        if split not in self._records:
            if self.divides() and (split == "train" or self.is_divided(split)):
                self._records |= self._divided(split)
            else:
                self._records[split] = self._read(split)
        return self._records[split]

    @property
    def classes(self) -> list[str]:
        """Class names in the order of the outputs. Raises DatasetError."""
        if self._given_classes is not None:
            return self._given_classes
        if self._classes is None:
            names = self._found_classes()
            if self.spec.num_classes not in (None, len(names)):
                raise DatasetError(
                    f"dataset.num_classes is {self.spec.num_classes}, and the data has {len(names)} classes "
                    f"({', '.join(names[:10])}{', ...' if len(names) > 10 else ''}); correct or remove it"
                )
            self._classes = names
        return self._classes

    def _found_classes(self) -> list[str]:
        """In the order of classes_file, else as the sources state it, else sorted; those with boxes."""
        if self.spec.classes_file:
            # It may leave classes of the data out: their boxes are then not looked for.
            return class_names([], Path(self.spec.classes_file))
        found = set(class_names(self.records("train")))
        stated: dict[str, None] = {}
        for source in self.named("train"):
            stated |= dict.fromkeys(stated_classes(_source(source)))
        return [*(name for name in stated if name in found), *sorted(found - stated.keys())]

    def split_record(self) -> dict[str, Any]:
        """The files of each split, for the bundle."""
        return split_to_dict({split: self.records(split) for split in SPLITS})

    def fingerprint(self, split: Split) -> str:
        """A hash of the names and boxes of a split's pictures, in order."""
        digest = hashlib.sha256()
        for record in self.records(split):
            words = (record.name, *map(repr, record.boxes), "\n")
            digest.update("\0".join(words).encode("utf-8", "surrogateescape"))
        return digest.hexdigest()

    def _divided(self, split: Split) -> dict[Split, list[BoxRecord]]:
        """The training data divided: as a bundle has stored it (this split alone), else as drawn (all)."""
        records = self._read("train")
        if self._stored_split is not None:
            roots = [_root(source) for source in self.named("train")]
            found = split_from_dict(self._stored_split, roots, splits=[split])
            self.notes += found.notes()
            by_path = {record.path.resolve(): record for record in records}
            wanted = found.records[split]
            lost = [record.name for record in wanted if record.path.resolve() not in by_path]
            if lost:
                raise DatasetError(
                    f"{len(lost)} pictures of the stored split have no labels in dataset.train_data_sources, "
                    f"such as {lost[0]}; give the data that the model was trained from"
                )
            return {split: [by_path[record.path.resolve()] for record in wanted]}
        shares = {name: getattr(self.spec.split, name) * self.is_divided(name) for name in ("val", "test")}
        divided = split_records(
            records, **shares, seed=self.spec.split.seed, group_by=self.spec.split.group_by
        )
        return {
            name: cast("list[BoxRecord]", divided[name])
            for name in SPLITS
            if name == "train" or self.is_divided(name)
        }

    def records_of(self, split: Split, number: int) -> list[BoxRecord]:
        """The records of one of a split's sources, undivided. Raises DatasetError."""
        given = self.named(split)[number].image_dir
        if given and not Path(given).is_dir():
            raise DatasetError(f"dataset.{split}_data_sources[{number}].image_dir: {given} is not a folder")
        return read_boxes(_source(self.named(split)[number]), f"dataset.{split}_data_sources[{number}]")

    def _read(self, split: Split) -> list[BoxRecord]:
        records: list[BoxRecord] = []
        for number in range(len(self.named(split))):
            records += self.records_of(split, number)
        if records:
            return records
        if named := [_root(source) for source in self.named(split)]:
            raise DatasetError(f"dataset.{split}_data_sources names no picture: {named[0]} has none")
        if split == "train":
            raise SpecError("dataset.train_data_sources is not given; it names pictures and their boxes")
        return records


def inference_files(spec: InferDataSourcesSpec, classes: list[str]) -> list[Path]:
    """The pictures of `dataset.infer_data_sources`, folder by folder; none is fine.

    Raises:
        DatasetError: a folder is not there or has no pictures, or the class map is not the model's.
    """
    key = "dataset.infer_data_sources"
    if spec.classmap and (named := class_names([], Path(spec.classmap))) != classes:
        raise DatasetError(
            f"{key}.classmap: {spec.classmap} names {', '.join(named[:10])}, and the model knows "
            f"{', '.join(classes[:10])}, in this order; correct or remove it"
        )
    return [file for folder in spec.image_dir for file in image_sources(folder, f"{key}.image_dir")]


def _root(source: DataSourceSpec) -> Path:
    """What the names of a source's pictures start from."""
    return Path(source.image_dir) if source.image_dir else Path(str(source.json_file)).parent


def _source(spec: DataSourceSpec) -> BoxSource:
    def path(text: str | None) -> Path | None:
        return Path(text) if text else None

    return BoxSource(
        image_dir=path(spec.image_dir),
        json_file=path(spec.json_file),
        label_dir=path(spec.label_dir),
        format=spec.format,
        list_file=path(spec.list_file),
        classes_file=path(spec.classes_file),
    )
