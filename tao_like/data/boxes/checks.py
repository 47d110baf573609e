"""Checks of boxes: those that cannot be used, and what the usable ones are like."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tao_like.data.boxes.annotation import Box, BoxRecord, fault_of
from tao_like.data.checks.findings import Finding, Level
from tao_like.data.images.files import read_header
from tao_like.errors import DatasetError

_FAULTS: Mapping[str, tuple[Level, str]] = {
    "empty": ("warning", "without an area; left out"),
    "outside": ("warning", "wholly outside of its image; left out"),
    "partly_outside": ("info", "partly outside of its image; cut off at the border"),
    "repeated": (
        "warning",
        "with the class and corners of another one on the image; all are trained on and scored, and one "
        "alone can be found. Take the others out",
    ),
    "unknown_class": ("warning", "of a class that the network does not know; left out"),
}


_SIZE_FAULTS = {
    "nonsense": "whose annotation states no size that an image can have; the image's own is used",
    "swapped": "whose annotation states width and height the other way round, so the boxes may be those of a "
    "image that was not turned upright; they are read in pixels of the upright image",
    "other": "of another size than the annotation states, so the boxes may be elsewhere; they are read in "
    "pixels of the image as it is. Where it was scaled, scale its boxes too",
}


@dataclass
class BoxReport:
    """What was found.

    Attributes:
        findings: for the user.
        summary: counts and sizes, ready for JSON.
    """

    findings: list[Finding] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)


@dataclass
class _Counts:
    """Of one split."""

    boxes: Counter[str] = field(default_factory=Counter)
    sides: list[float] = field(default_factory=list)
    on_image: list[int] = field(default_factory=list)
    crowds: int = 0
    ignored: int = 0


def check_boxes(splits: Mapping[str, Sequence[BoxRecord]], classes: Sequence[str]) -> BoxReport:
    """Looks at every box, and holds the size that an annotation states against the image's own.

    Args:
        splits: records of each split.
        classes: names that the network knows.
    """
    known = set(classes)
    faults: defaultdict[str, list[str]] = defaultdict(list)
    sizes = SizeFaults()
    counts = {name: _Counts() for name in splits}
    for name, records in splits.items():
        for record in records:
            size = sizes.size_of(record)
            if size is not None:
                _count(record, size, known, counts[name], faults)
    report = BoxReport(summary={name: _summary(count, classes) for name, count in counts.items()})
    report.findings += _fault_findings(faults)
    report.findings += sizes.findings()
    report.findings += _count_findings(counts)
    return report


class SizeFaults:
    """Images of another size than their annotations state, told apart by what is wrong."""

    def __init__(self) -> None:
        self._found: defaultdict[str, list[str]] = defaultdict(list)

    def size_of(self, record: BoxRecord) -> tuple[int, int] | None:
        """Width and height of an image; None where it cannot be read, which other checks name."""
        try:
            header = read_header(record.path)
        except DatasetError:
            return None
        size, stated = (header.width, header.height), (record.width, record.height)
        if any(stated) and stated != size:
            told = f"{record.path}: {stated[0]} x {stated[1]}, is {size[0]} x {size[1]}"
            self._found[_size_fault(stated, size)].append(told)
        return size

    def findings(self) -> Iterator[Finding]:
        """A finding for each kind of fault."""
        for fault, files in self._found.items():
            images = _counted(len(files), "image")
            yield Finding("warning", "other_size", f"{images} {_SIZE_FAULTS[fault]}", tuple(files))


def _size_fault(stated: tuple[int, int], size: tuple[int, int]) -> str:
    if min(stated) <= 0:
        return "nonsense"
    return "swapped" if stated == size[::-1] else "other"


def _count(
    record: BoxRecord,
    size: tuple[int, int],
    known: set[str],
    counts: _Counts,
    faults: defaultdict[str, list[str]],
) -> None:
    usable = 0
    seen: set[tuple[Any, ...]] = set()
    for box in record.boxes:
        fault = "" if box.ignore else fault_of(box, *size)
        if not fault and not box.ignore and box.label not in known:
            fault = "unknown_class"
        if fault:
            faults[fault].append(_told(record, box))
        if fault in ("empty", "outside", "unknown_class"):
            continue
        counts.crowds += box.crowd
        counts.ignored += box.ignore
        if not (box.crowd or box.ignore):
            usable += 1
            if box[:5] in seen:
                faults["repeated"].append(_told(record, box))
            seen.add(box[:5])
            counts.boxes[box.label] += 1
            counts.sides.append(float(np.sqrt((box.right - box.left) * (box.bottom - box.top))))
    counts.on_image.append(usable)


def _told(record: BoxRecord, box: Box) -> str:
    """A box in a line, in the numbers that Python's pixels have: from 0, the end not included."""
    corners = ", ".join(f"{value:g}" for value in box[1:5])
    return f"{record.path}: {box.label} ({corners})"


def _fault_findings(faults: Mapping[str, list[str]]) -> Iterator[Finding]:
    for fault, (level, what) in _FAULTS.items():
        if faults.get(fault):
            code = "unknown_class" if fault == "unknown_class" else f"{fault}_box"
            yield Finding(
                level, code, f"{_counted(len(faults[fault]), 'box', 'boxes')} {what}", tuple(faults[fault])
            )


def _count_findings(counts: Mapping[str, _Counts]) -> Iterator[Finding]:
    for name, count in counts.items():
        if not count.boxes and count.on_image:
            level: Level = "error" if name == "train" else "warning"
            yield Finding(level, "no_boxes", f"the split {name} has no box that can be used")
        elif empty := count.on_image.count(0):
            yield Finding("info", "empty_pictures", f"{_counted(empty, 'image')} of {name} without a box")
        if count.crowds or count.ignored:
            yield Finding(
                "info",
                "not_scored",
                f"{name} has {_counted(count.crowds, 'crowd')} and {_counted(count.ignored, 'region')} to "
                "ignore: neither trained on nor held against a prediction",
            )


def _summary(counts: _Counts, classes: Sequence[str]) -> dict[str, Any]:
    sides = np.percentile(counts.sides, (5, 50, 95)).round(1).tolist() if counts.sides else None
    return {
        "boxes": sum(counts.boxes.values()),
        "per_class": {label: counts.boxes[label] for label in classes},
        "most_on_a_picture": max(counts.on_image, default=0),
        "pictures_without_boxes": counts.on_image.count(0),
        "crowds": counts.crowds,
        "ignored": counts.ignored,
        "side_percentiles_5_50_95": sides,
    }


def _counted(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"
