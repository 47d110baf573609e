"""Dividing images into training, validation and test data."""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tao_like.data.checks.grouping import Groups
from tao_like.data.images.files import identical_files, label_text
from tao_like.data.images.sample import ImageRecord
from tao_like.errors import SpecError

SPLITS = ("train", "val", "test")
GROUP_WORDS = ("none", "folder", "column")

# Splits that lag by less than this fraction of a unit's own size are alike. Half keeps counts within about
# one.
_ALIKE = 0.5
# What images without a label count as, so that they are spread like a class.
_UNLABELLED = ("",)


@dataclass
class _Unit:
    """Images that stay together."""

    records: list[ImageRecord]
    rank: str
    labels: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        for record in self.records:
            self.labels.update(record.labels or _UNLABELLED)

    def __len__(self) -> int:
        return len(self.records)


def split_records(
    records: Iterable[ImageRecord], *, val: float, test: float, seed: int = 0, group_by: str = "none"
) -> dict[str, list[ImageRecord]]:
    """Divides images so that each split has about the same mix of labels.

    Files with the same bytes stay together, and so do images of one group. Every class has at least one
    image in ``train``. The result depends on keys, labels, groups and the seed alone: neither on the order
    of the records nor on where the folder lies.

    Groups are dealt out first, the largest first, then images that stand alone even things out. Without
    groups and duplicates, the images of each class come out within two of what its share says.

    Args:
        records: The images; their keys must differ.
        val: Fraction for validation, 0 to below 1; 0: no such images.
        test: Fraction for the test, 0 to below 1.
        seed: Another seed gives another division.
        group_by: ``none``; ``folder``: images in the same folder below the class folder stay together, also
            across classes (``sick/patient3`` and ``healthy/patient3`` are one group); ``column``: by the
            records' ``group``; or a regular expression with one group in parentheses, searched in the key.

    Returns:
        ``train``, ``val`` and ``test``, each in the order of the keys.

    Raises:
        SpecError: Shares or ``group_by`` make no sense, or leave a split or a class's training part empty.
    """
    fractions = _fractions(val, test)
    ordered = sorted(records, key=_place)
    units = _units(ordered, _group_function(group_by, ordered), seed)
    divided = _assign(units, fractions)
    _cover_classes(divided)
    _fill_empty_splits(divided, fractions, group_by)
    return {
        name: sorted((record for unit in divided[name] for record in unit.records), key=_place)
        for name in SPLITS
    }


def check_group_by(group_by: str) -> re.Pattern[str] | None:
    """Compiles ``dataset.split.group_by`` when it is a regular expression; None for a word.

    Raises:
        SpecError: It does not compile, or has not exactly one group.
    """
    if group_by in GROUP_WORDS:
        return None
    rule = "give none, folder, column, or a regular expression with one group, such as (patient\\d+)"
    key = "dataset.split.group_by"
    try:
        pattern = re.compile(group_by)
    except re.error as error:
        raise SpecError(f"{key}: {group_by!r} is no regular expression ({error}); {rule}") from error
    if pattern.groups != 1:
        raise SpecError(f"{key}: {group_by!r} has {pattern.groups} groups; {rule}")
    return pattern


def _place(record: ImageRecord) -> tuple[str, Path]:
    return record.name, record.path


def _fractions(val: float, test: float) -> dict[str, float]:
    for key, fraction in (("val", val), ("test", test)):
        if not 0 <= fraction < 1:
            raise SpecError(f"dataset.split.{key}: {fraction} is not allowed; it must be from 0 to below 1")
    if val + test >= 1:
        raise SpecError(f"dataset.split: val={val:g} and test={test:g} leave nothing to train on")
    fractions = {"train": 1 - val - test, "val": val, "test": test}
    return {name: fraction for name, fraction in fractions.items() if fraction > 0}


def _group_function(group_by: str, records: Sequence[ImageRecord]) -> Callable[[ImageRecord], str]:
    """What tells a record's group; an empty group means that the image stands alone."""
    pattern = check_group_by(group_by)
    if group_by == "none":
        return lambda record: ""
    if group_by == "folder":
        group, reason = _folder, "there are no folders below the class folders"
    elif pattern is not None:
        group, reason = partial(_matched, pattern), "the expression matches no path"
    else:
        group, reason = _given, "no image has one in the CSV's column"
    if records and not any(map(group, records)):
        raise SpecError(
            f"dataset.split.group_by: {group_by!r} finds no groups; {reason} "
            f"(the first of {len(records)} is {records[0].name})"
        )
    return group


def _given(record: ImageRecord) -> str:
    return record.group


def _matched(pattern: re.Pattern[str], record: ImageRecord) -> str:
    match = pattern.search(record.name)
    return (match.group(1) or "") if match else ""


def _folder(record: ImageRecord) -> str:
    """Folder of an image, without the class folder that it lies in."""
    folders = record.name.split("/")[:-1]
    if folders and record.labels == (label_text(folders[0]),):
        folders = folders[1:]
    return "/".join(folders)


def _units(records: Sequence[ImageRecord], group: Callable[[ImageRecord], str], seed: int) -> list[_Unit]:
    """Joins records of one group or of equal content, also in chains of both."""
    groups = Groups(len(records))
    together: defaultdict[str, list[int]] = defaultdict(list)
    for index, record in enumerate(records):
        if name := group(record):
            together[name].append(index)
    for members in [*together.values(), *identical_files(record.path for record in records)]:
        for other in members[1:]:
            groups.join(members[0], other)
    joined = ([records[index] for index in members] for members in groups.members())
    return [_Unit(members, _rank(members[0].name, seed)) for members in joined]


def _rank(name: str, seed: int) -> str:
    """What orders units at random, yet the same on every machine and for every order of the records."""
    return hashlib.sha1(os.fsencode(f"{seed}:{name}"), usedforsecurity=False).hexdigest()


def _assign(units: Sequence[_Unit], fractions: Mapping[str, float]) -> dict[str, list[_Unit]]:
    """Deals the units out, the largest first, each to the split that lags most behind its share.

    What counts is the sum over the unit's labels of squared distances from the fraction of what has been
    dealt so far, each divided by how frequent the label is. Where that hardly differs between splits, the
    split with too few images in all gets the unit. Measuring against what has been dealt, not against the
    final counts, keeps a rare label from following the frequent ones that it appears with.
    """
    frequency: Counter[str] = Counter()
    for unit in units:
        frequency.update(unit.labels)
    dealt: Counter[str] = Counter()
    dealt_images = 0
    got: dict[str, Counter[str]] = {name: Counter() for name in fractions}
    divided: dict[str, list[_Unit]] = {name: [] for name in SPLITS}
    images = dict.fromkeys(fractions, 0)
    for unit in sorted(units, key=lambda unit: (-len(unit), unit.rank)):
        dealt.update(unit.labels)
        dealt_images += len(unit)
        weights = {label: count / frequency[label] for label, count in unit.labels.items()}
        lag = {
            name: sum(
                weight * (fraction * dealt[label] - got[name][label]) for label, weight in weights.items()
            )
            for name, fraction in fractions.items()
        }
        enough = max(lag.values()) - _ALIKE * sum(
            weight * unit.labels[label] for label, weight in weights.items()
        )
        best = max(
            (name for name in fractions if lag[name] >= enough),
            key=lambda name: fractions[name] * dealt_images - images[name],
        )
        divided[best].append(unit)
        got[best].update(unit.labels)
        images[best] += len(unit)
    return divided


def _cover_classes(divided: dict[str, list[_Unit]]) -> None:
    """Moves units to train until every class has an image there, the smallest units first."""
    covered = {label for unit in divided["train"] for label in unit.labels}
    elsewhere = sorted(
        ((len(unit), unit.rank, name, unit) for name in ("val", "test") for unit in divided[name]),
        key=lambda entry: entry[:3],
    )
    for _, _, name, unit in elsewhere:
        if any(label not in covered for label in unit.labels):
            divided[name].remove(unit)
            divided["train"].append(unit)
            covered.update(unit.labels)


def _fill_empty_splits(
    divided: dict[str, list[_Unit]], fractions: Mapping[str, float], group_by: str
) -> None:
    """Gives a wanted split that came out empty the smallest unit that train can spare."""
    for name in fractions:
        if divided[name]:
            continue
        carriers = Counter(label for unit in divided["train"] for label in unit.labels)
        spare = [
            unit
            for unit in divided["train"]
            if len(divided["train"]) > 1 and all(carriers[label] > 1 for label in unit.labels)
        ]
        if not spare:
            raise _too_few(divided, name, group_by)
        chosen = min(spare, key=lambda unit: (len(unit), unit.rank))
        divided["train"].remove(chosen)
        divided[name].append(chosen)


def _too_few(divided: Mapping[str, Sequence[_Unit]], name: str, group_by: str) -> SpecError:
    units = [unit for split in divided.values() for unit in split]
    images = sum(map(len, units))
    if len(units) < images and group_by != "none":
        what = f"dataset.split.group_by={group_by} joins {images} images into {len(units)} groups, and"
        remedy = "use finer groups, or"
    else:
        what = f"{images} images ({len(units)} different) are too few:"
        remedy = "add images, or"
    return SpecError(
        f"dataset.split.{name}: {what} none is left for {name} when every class keeps one to train on; "
        f"{remedy} set dataset.split.{name}=0"
    )
