"""Checks of masks: sizes, values, and what each split shows of each class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags

from tao_like.data.checks.findings import Finding
from tao_like.data.images.files import read_header
from tao_like.data.masks.counting import ValueCounts, count_values
from tao_like.data.masks.files import mask_size
from tao_like.data.masks.reading import read_class_map, size_message
from tao_like.data.masks.record import MaskRecord
from tao_like.data.masks.values import IGNORE, MaskCoding
from tao_like.data.threads import in_threads
from tao_like.errors import DatasetError
from tao_like.runtime.inputs.image import IMAGE_FORMATS
from tao_like.runtime.inputs.image.big_images import open_image

RARE_FRACTION = 0.005
"""A class with a smaller fraction of the pixels is called rare."""
_MOST_VALUES = 40


@dataclass
class MaskReport:
    """What a check of masks gave.

    Attributes:
        findings: errors first.
        summary: JSON-ready.
        pixels: of each split and class; only of a full check.
    """

    findings: list[Finding] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    pixels: dict[str, dict[str, int]] = field(default_factory=dict)


@dataclass(frozen=True)
class _Seen:
    """What a look at one mask gave: pixels of each class, and of none; or what is wrong with it."""

    pixels: tuple[int, ...] = ()
    ignored: int = 0
    fault: str = ""


def check_masks(splits: Mapping[str, Sequence[MaskRecord]], coding: MaskCoding, *, full: bool) -> MaskReport:
    """Looks for what would stop or spoil a training.

    Args:
        splits: photos of ``train``, ``val``, ``test``, or some of them.
        coding: what values mean.
        full: read all masks; else sizes alone are compared.
    """
    report = MaskReport(_class_findings(coding))
    everything = [record for records in splits.values() for record in records]
    report.findings += _size_findings(everything)
    if not full:
        return report
    for split, records in splits.items():
        values = count_values(records)
        seen = list(in_threads(partial(_look, coding=coding), records))
        report.findings += _fault_findings(records, seen)
        report.findings += _split_findings(split, records, seen, coding)
        report.summary[split] = _summary(values, seen, coding)
        report.pixels[split] = {
            name: sum(one.pixels[number] for one in seen if not one.fault)
            for number, name in enumerate(coding.classes)
        }
    report.findings.sort(key=lambda finding: ("error", "warning", "info").index(finding.level))
    return report


def _class_findings(coding: MaskCoding) -> list[Finding]:
    if len(coding.classes) > 1:
        return []
    message = (
        f"the masks have one class, {coding.classes[0]!r}, so there is nothing to tell apart; are they all "
        "of one value, or is a class missing in dataset.palette?"
    )
    return [Finding("warning", "one_class", message)]


def _size_findings(records: Sequence[MaskRecord]) -> Iterator[Finding]:
    """Masks of another size than their photos, and photos that EXIF turns without a change of size."""
    different, turned, unreadable = [], [], []
    for record in records:
        if record.mask is None:
            continue
        try:
            header = read_header(record.path)
        except DatasetError:
            continue  # the check of photos has words for it
        try:
            size = mask_size(record.mask)
        except DatasetError as error:
            unreadable.append(str(error))
            continue
        if size != (header.width, header.height):
            different.append(size_message(record, size, (header.width, header.height)))
        elif _orientation(record.path) not in (0, 1):
            turned.append(str(record.path))
    if unreadable:
        yield Finding("error", "corrupt_mask", f"{len(unreadable)} masks cannot be read:", tuple(unreadable))
    if different:
        yield Finding(
            "error",
            "mask_size",
            f"{len(different)} masks are not as large as their photos:",
            tuple(different),
        )
    if turned:
        yield Finding(
            "warning",
            "exif_turned",
            f"{len(turned)} photos are turned or mirrored by EXIF, and their masks have the size of the "
            "upright photo; look whether they fit:",
            tuple(turned),
        )


def _orientation(path: Path) -> int:
    try:
        with path.open("rb") as file, open_image(file, IMAGE_FORMATS) as image:
            return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # unreadable EXIF data raises almost anything, and the pixels are still good
        return 1


def _look(record: MaskRecord, coding: MaskCoding) -> _Seen:
    try:
        header = read_header(record.path)
        classes = read_class_map(record, coding, (header.width, header.height))
    except DatasetError as error:
        return _Seen(fault=str(error))
    counts = np.bincount(classes.ravel(), minlength=IGNORE + 1)
    return _Seen(tuple(counts[: len(coding.classes)].tolist()), int(counts[IGNORE]))


def _fault_findings(records: Sequence[MaskRecord], seen: Sequence[_Seen]) -> Iterator[Finding]:
    faults = tuple(
        one.fault
        for record, one in zip(records, seen, strict=True)
        if one.fault and " pixels, and its photo " not in one.fault and record.path.is_file()
    )
    if faults:
        yield Finding("error", "mask_values", f"{len(faults)} masks cannot be used:", faults)


def _split_findings(
    split: str, records: Sequence[MaskRecord], seen: Sequence[_Seen], coding: MaskCoding
) -> Iterator[Finding]:
    empty = tuple(
        str(record.mask or record.path)
        for record, one in zip(records, seen, strict=True)
        if not one.fault and not sum(one.pixels)
    )
    if empty:
        yield Finding(
            "warning", "all_ignored", f"{len(empty)} masks of {split} have no pixel with a class:", empty
        )
    readable = [one for one in seen if not one.fault]
    total = np.sum([one.pixels for one in readable], axis=0) if readable else np.zeros(len(coding.classes))
    missing = [name for name, count in zip(coding.classes, total, strict=True) if not count]
    if missing and readable:
        yield Finding("warning", "class_missing", f"no pixels in {split} of: {', '.join(missing[:20])}")
    rare = [
        f"{name} ({count / total.sum():.2%})"
        for name, count in zip(coding.classes, total, strict=True)
        if 0 < count < RARE_FRACTION * total.sum()
    ]
    if rare and split == "train":
        yield Finding(
            "info",
            "rare_class",
            f"classes with few pixels to train on: {', '.join(rare[:20])}; model.loss.type=ce_dice or "
            "model.loss.class_weights gives them more weight",
        )


def _summary(values: ValueCounts, seen: Sequence[_Seen], coding: MaskCoding) -> dict[str, Any]:
    """Fractions of every value and class."""
    readable = [one for one in seen if not one.fault]
    ignored = sum(one.ignored for one in readable)
    pixels = np.sum([one.pixels for one in readable], axis=0) if readable else np.zeros(len(coding.classes))
    whole = max(1, int(pixels.sum()) + ignored)
    return {
        "masks": len(seen),
        "values": _fractions(values.pixels),
        "colors": {str(list(color)): fraction for color, fraction in _fractions(values.color_pixels).items()},
        "classes": {
            name: {"pixels": int(count), "share": round(int(count) / whole, 6)}
            for name, count in zip(coding.classes, pixels, strict=True)
        },
        "ignored_share": round(ignored / whole, 6),
    }


def _fractions(counted: Counter[Any]) -> dict[Any, float]:
    """The commonest values with their fractions of all pixels."""
    total = max(1, sum(counted.values()))
    return {value: round(count / total, 6) for value, count in counted.most_common(_MOST_VALUES)}
