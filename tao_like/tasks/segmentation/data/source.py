"""Which photos and masks each split has, and what the masks' values mean."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
from typing_extensions import override

from tao_like.contract.sample import SPLITS, Split
from tao_like.data.boxes.formats.coco import coco_classes
from tao_like.data.checks.findings import Finding
from tao_like.data.images.files import find_images
from tao_like.data.images.readers import read_class_list
from tao_like.data.masks.counting import count_values
from tao_like.data.masks.record import MaskRecord
from tao_like.data.masks.sources import MaskSource, read_masks
from tao_like.data.masks.values import (
    IGNORE,
    MaskCoding,
    PaletteEntry,
    coding_of_names,
    coding_of_palette,
    remapped,
)
from tao_like.errors import DatasetError, SpecError
from tao_like.tasks.common.split_source import SplitSource
from tao_like.tasks.segmentation.spec_blocks.data import DatasetSpec, MaskDataSpec

BACKGROUND = "background"
CLASSES_FILE = "classes.txt"
LOOKED_AT = 50
"""Training masks by which 0/255 masks are told."""


class LabelledMasks(SplitSource[MaskRecord]):
    """Photos and their masks; see ``SplitSource``."""

    target_words: ClassVar[str] = "mask in dataset.train_dataset"

    def __init__(
        self, spec: DatasetSpec, stored_split: dict[str, Any] | None, classes: list[str] | None
    ) -> None:
        super().__init__(spec, stored_split, classes)
        self.spec = spec
        self._coding: MaskCoding | None = None
        self.is_norm = False

    @override
    def named(self, split: Split) -> MaskSource | None:
        """What the spec gives for a split."""
        given: MaskDataSpec = getattr(self.spec, f"{split}_dataset")
        if given.is_given:
            return _source(given)
        return self._below_root(split)

    def _below_root(self, split: Split) -> MaskSource | None:
        """`images/<split>` and `masks/<split>` of root_dir; training data may lie in `images` itself."""
        if not self.spec.root_dir:
            return None
        root = Path(self.spec.root_dir)
        names = {
            "train": self.spec.train_split,
            "val": self.spec.validation_split,
            "test": self.spec.test_split,
        }
        images, masks = root / "images" / names[split], root / "masks" / names[split]
        if images.is_dir() or masks.is_dir():
            return MaskSource(images, masks)
        if split != "train":
            return None
        has_splits = any((root / "images" / name).is_dir() for name in names.values())
        return MaskSource(images, masks) if has_splits else MaskSource(root / "images", root / "masks")

    @override
    def roots(self, split: Split) -> list[Path]:
        source = self.named(split)
        return [source.root] if source else []

    @override
    def read(self, split: Split) -> list[MaskRecord]:
        source = self.named(split)
        if source is not None:
            key = "dataset.root_dir" if self.spec.root_dir else f"dataset.{split}_dataset"
            return read_masks(source, key)
        if split == "train":
            raise SpecError("dataset.train_dataset is not given; it names photos and their masks")
        return []

    @override
    def found_classes(self) -> list[str]:
        return list(self.own_coding.classes)

    @override
    def labels_text(self, record: MaskRecord) -> tuple[str, ...]:
        if record.mask is None:
            return tuple(f"{region.label} {region.area!r}" for region in record.regions)
        size = record.mask.stat().st_size if record.mask.is_file() else 0
        return (record.mask.name, str(size))

    @property
    def coding(self) -> MaskCoding:
        """What values mean, with the classes in the order of the outputs. Raises DatasetError, SpecError."""
        return remapped(self.own_coding, self.classes)

    @property
    def own_coding(self) -> MaskCoding:
        """What values mean by the spec and the data alone. Raises DatasetError, SpecError."""
        if self._coding is None:
            self._coding = self._found_coding()
        return self._coding

    @override
    def folders(self, split: Split) -> list[tuple[Path, bool]]:
        source = self.named(split)
        if source is None or source.images_dir is None or source.images_list or source.json_file:
            return []
        return [(source.images_dir, False)]

    @override
    def findings(self) -> list[Finding]:
        """What was decided of the masks, and what is not used."""
        found = super().findings()
        if self._coding is not None and self.is_norm:
            found.append(
                Finding(
                    "info",
                    "binary_masks",
                    "the masks hold 0 and 255 alone; 255 is taken for the second class, "
                    f"{self._coding.classes[1]!r}, not for pixels of no class (dataset.label_transform)",
                )
            )
        return found

    def _reference(self) -> Split:
        """The split whose masks say what there is."""
        return next((split for split in SPLITS if self.has(split)), "train")

    def _found_coding(self) -> MaskCoding:
        spec = self.spec
        if spec.palette:
            entries = palette_entries(spec)
            two = len({entry.mapping_class for entry in entries}) == 2
            self.is_norm = self._norm(two)
            return coding_of_palette(entries, spec.ignore_label, self.is_norm)
        source = self.named(self._reference())
        if source is not None and source.json_file is not None and source.json_file.suffix.lower() == ".json":
            return self._of_categories(source.json_file)
        names = self._stated_names(source)
        if names is not None:
            self.is_norm = self._norm(len(names) == 2)
            return coding_of_names(names, spec.ignore_label, self.is_norm)
        return self._of_values()

    def _stated_names(self, source: MaskSource | None) -> list[str] | None:
        """Names of classes_file, or of classes.txt beside the masks; None: there is none."""
        if self.spec.classes_file:
            return read_class_list(Path(self.spec.classes_file), numbered=True)
        for folder in _around(source):
            if (folder / CLASSES_FILE).is_file():
                return read_class_list(folder / CLASSES_FILE, numbered=True)
        return None

    def _of_categories(self, json_file: Path) -> MaskCoding:
        """Classes of a COCO file, those that have regions; what none covers is the background."""
        found = {region.label for record in self.records(self._reference()) for region in record.regions}
        names = [name for name in coco_classes(json_file) if name in found and name != BACKGROUND]
        return coding_of_names([BACKGROUND, *names], self.spec.ignore_label, False)

    def _of_values(self) -> MaskCoding:
        """Classes by the values that the masks have."""
        spec = self.spec
        if spec.num_classes is not None:
            self.is_norm = self._norm(spec.num_classes == 2)
            names = [f"class_{number}" for number in range(spec.num_classes)]
            return coding_of_names(names, spec.ignore_label, self.is_norm)
        records = self.records(self._reference())
        counted = count_values(records)
        if counted.faults:
            raise DatasetError(next(iter(counted.faults.values())))
        if counted.colors:
            raise DatasetError(
                f"{len(counted.colors)} masks hold colors, such as {counted.colors[0]}; dataset.palette says "
                "what each color means (`tao-like segmentation init` writes it)"
            )
        values = sorted(counted.pixels)
        if spec.label_transform != "None" and set(values) == {0, IGNORE}:
            self.is_norm = True
            return coding_of_names([BACKGROUND, "foreground"], spec.ignore_label, True)
        values = [value for value in values if value != spec.ignore_label]
        if not values:
            raise DatasetError(
                f"no pixel of the {self._reference()} masks has a class: all are {spec.ignore_label}, which "
                "is dataset.ignore_label. Name what the value means in dataset.palette, or correct the masks"
            )
        of_value = {value: number for number, value in enumerate(values)}
        classes = tuple(f"class_{value}" for value in values)
        return MaskCoding(classes, of_value, ignored=frozenset({spec.ignore_label}))

    def _norm(self, two_classes: bool) -> bool:
        """Whether masks hold 255 in the place of 1."""
        setting = self.spec.label_transform
        if setting != "auto":
            return setting == "norm"
        if not two_classes:
            return False
        records = self.records(self._reference())
        chosen = records[:: max(1, len(records) // LOOKED_AT)]
        return set(count_values(chosen).pixels) == {0, IGNORE}


def palette_entries(spec: DatasetSpec) -> list[PaletteEntry]:
    """The palette of a spec."""
    return [
        PaletteEntry(entry.label_id, entry.seg_class or entry.class_name, entry.class_name, tuple(entry.rgb))
        for entry in spec.palette
    ]


def palette_weights(spec: DatasetSpec, classes: Sequence[str]) -> list[float] | None:
    """The class weights that a palette states; None: all are 1."""
    weights = dict.fromkeys(classes, 1.0)
    for entry in spec.palette:
        weights[entry.class_name] = entry.class_weight
    found = [weights[name] for name in classes]
    return None if np.allclose(found, 1.0) else found


def prediction_files(spec: DatasetSpec) -> list[Path]:
    """The photos of root_dir for an inference; none is fine."""
    if not spec.root_dir:
        return []
    folder = Path(spec.root_dir) / "images" / spec.predict_split
    return list(find_images(folder)) if folder.is_dir() else []


def _source(given: MaskDataSpec) -> MaskSource:
    def path(text: str | None) -> Path | None:
        return Path(text) if text else None

    return MaskSource(
        path(given.images_dir),
        path(given.masks_dir),
        path(given.images_list),
        path(given.masks_list),
        path(given.json_file),
        given.mask_suffix,
    )


def _around(source: MaskSource | None) -> list[Path]:
    """The folders in which a list of classes may lie."""
    if source is None:
        return []
    start = source.masks_dir or source.root
    folders = [start, start.parent, start.parent.parent]
    return cast("list[Path]", list(dict.fromkeys(folders)))
