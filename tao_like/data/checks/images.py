"""Checks of labelled images: a quick one before every training, a full one on request."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median_low

from tao_like.data.checks.duplicates import Fingerprint, fingerprint, near_duplicates
from tao_like.data.checks.findings import CheckReport, Finding, Level, SizeSummary
from tao_like.data.images.files import identical_files, read_header
from tao_like.data.images.sample import ImageRecord
from tao_like.data.threads import in_threads
from tao_like.errors import DatasetError
from tao_like.runtime.inputs.image import Window, read_image
from tao_like.runtime.inputs.image.big_images import BigImages, check_pixels
from tao_like.runtime.inputs.shards import file_exists, file_status

SplitRecords = Mapping[str, Sequence[ImageRecord]]

TINY_SIDE = 16
EXTREME_RATIO = 4.0
FEW_IMAGES = 10
IMBALANCE = 10.0
_REPLACE = "replace or remove"
_FAULTS = {
    "missing": f"not there; {_REPLACE}",
    "empty": f"without content; {_REPLACE}",
    "corrupt": f"that cannot be read; {_REPLACE}",
    "too_large": "of more pixels than are read at once",
}
UNREADABLE = tuple(_FAULTS)
"""Codes of findings about files whose pixels cannot be had."""


@dataclass(frozen=True)
class _Seen:
    """What a look at one file gave: its upright size, or the kind of its fault and what is wrong with it."""

    width: int = 0
    height: int = 0
    is_grey: bool = False
    fingerprint: Fingerprint | None = None
    fault: str = ""
    problem: str = ""


@dataclass(frozen=True)
class _Placed:
    """A record and its split."""

    split: str
    record: ImageRecord

    @property
    def path(self) -> str:
        return str(self.record.path)


def check_images(
    splits: SplitRecords,
    classes: Sequence[str],
    *,
    full: bool,
    multi_label: bool = False,
    remedy: str = "",
    on_progress: Callable[[int, int], None] | None = None,
    window: Window | None = None,
    big: BigImages = BigImages.REFUSED,
) -> CheckReport:
    """Looks for what would stop or spoil a training.

    Every file is there, not empty and has the head of an image; labels are known; classes have images in
    every split; no file is in two splits or has two labels (by content). A full check decodes the images and
    looks for those that look the same too.

    Args:
        splits: Images of ``train``, ``val``, ``test``, or some of them.
        classes: Class names in the order of the outputs.
        full: Whether the images are decoded.
        multi_label: Whether images may have several labels, or none.
        remedy: The key of the task that makes up for rare classes, where it has one.
        on_progress: Called with the number of images decoded and of all, in the calling thread.
        window: Values of 16-bit images that become black and white.
        big: What becomes of images beyond the limit.
    """
    placed = [_Placed(name, record) for name, records in splits.items() for record in records]
    paths = list(dict.fromkeys(entry.record.path for entry in placed))
    if full:
        seen = _decode_all(paths, on_progress, partial(_decode, window=window, big=big))
    else:
        seen = {path: _header(path, big) for path in paths}
    same = identical_files(Path(entry.path) for entry in placed)
    findings = [
        *_class_findings(splits, classes, multi_label, remedy),
        *_file_findings(seen),
        *_copy_findings(placed, same),
        *(_look_alike_findings(placed, same, seen) if full else ()),
        *_image_findings(seen),
    ]
    return _report(findings, splits, classes, seen, full=full)


def _header(path: Path, big: BigImages) -> _Seen:
    try:
        header = read_header(path)
    except DatasetError as error:
        return _Seen(fault=_fault(path), problem=str(error))
    try:
        check_pixels((header.width, header.height), big)
    except DatasetError as error:
        return _Seen(fault="too_large", problem=f"{path}: {error}")
    return _Seen(header.width, header.height, header.is_grey)


def _decode(path: Path, window: Window | None, big: BigImages) -> _Seen:
    head = _header(path, big)
    if head.fault == "too_large":
        return head
    try:
        image = read_image(path, window, big)
    except DatasetError as error:
        return _Seen(fault=_fault(path), problem=str(error))
    look = fingerprint(image)
    return _Seen(image.width, image.height, look.is_grey, look)


def _fault(path: Path) -> str:
    if not file_exists(path):
        return "missing"
    return "corrupt" if file_status(path).size else "empty"


def _decode_all(
    paths: Sequence[Path], on_progress: Callable[[int, int], None] | None, decode: Callable[[Path], _Seen]
) -> dict[Path, _Seen]:
    seen: dict[Path, _Seen] = {}
    for path, look in zip(paths, in_threads(decode, paths), strict=True):
        seen[path] = look
        if on_progress is not None:
            on_progress(len(seen), len(paths))
    return seen


def _file_findings(seen: Mapping[Path, _Seen]) -> Iterator[Finding]:
    for fault, what in _FAULTS.items():
        problems = tuple(look.problem for look in seen.values() if look.fault == fault)
        if problems:
            yield Finding("error", fault, f"{_files(len(problems))} {what}:", problems)


def _class_findings(
    splits: SplitRecords, classes: Sequence[str], multi_label: bool, remedy: str
) -> Iterator[Finding]:
    if len(classes) < (1 if multi_label else 2):
        named = f"only the class {classes[0]!r}" if classes else "no class"
        yield Finding("error", "one_class", f"the data has {named}; a classifier needs at least two")
    by_plain: dict[str, list[str]] = {}
    for label in classes:
        by_plain.setdefault(" ".join(label.casefold().split()), []).append(label)
    for alike in (names for names in by_plain.values() if len(names) > 1):
        yield Finding(
            "warning",
            "alike_classes",
            f"the classes {' and '.join(map(repr, alike))} differ in capitals or blanks alone; if they are "
            "one, give them one name",
        )
    for name, records in splits.items():
        if not records:
            level: Level = "error" if name == "train" else "warning"
            yield Finding(level, "empty_split", f"the split {name} has no images")
        unknown = [record for record in records if not set(record.labels) <= set(classes)]
        if unknown:
            labels = sorted({label for record in unknown for label in record.labels} - set(classes))
            yield Finding(
                "error",
                "unknown_label",
                f"{_files(len(unknown))} of {name} with a label that is not among the classes: "
                f"{_some(labels)}; the classes are {_some(classes)}. Correct the labels, or take the files "
                "away",
                tuple(str(record.path) for record in unknown),
            )
        counts = _counts(records)
        missing = [label for label in classes if not counts[label]]
        if records and missing:
            yield Finding("warning", "class_missing", f"no images in {name} of: {_some(missing)}")
    yield from _balance_findings(_counts(splits.get("train", ())), classes, remedy)


def _balance_findings(counts: Mapping[str, int], classes: Sequence[str], remedy: str) -> Iterator[Finding]:
    present = {label: counts[label] for label in classes if counts[label]}
    few = [f"{label} ({count})" for label, count in present.items() if count < FEW_IMAGES]
    if few:
        yield Finding("warning", "few_pictures", f"fewer than {FEW_IMAGES} images to train on: {_some(few)}")
    if present:
        most, least = max(present, key=present.__getitem__), min(present, key=present.__getitem__)
        ratio = present[most] / present[least]
        if ratio >= IMBALANCE:
            yield Finding(
                "warning",
                "imbalance",
                f"{most!r} has {ratio:.0f} times as many training images as {least!r} "
                f"({present[most]} and {present[least]})" + (f"; {remedy} makes up for it" if remedy else ""),
            )


def _copy_findings(placed: Sequence[_Placed], same: Iterable[Sequence[int]]) -> Iterator[Finding]:
    """What copies of a file mean: in two splits, under two labels, or merely twice."""
    groups = [[placed[index] for index in group] for group in same]
    # The same path in two splits is found here too, as its content is the same.
    yield from _group_findings(groups, "same_picture", "identical files")


def _look_alike_findings(
    placed: Sequence[_Placed], same: Iterable[Sequence[int]], seen: Mapping[Path, _Seen]
) -> Iterator[Finding]:
    """As for copies, for images that merely look the same; of equal files one stands for all."""
    copies = {index for group in same for index in group[1:]}
    looks: list[Fingerprint] = []
    shown: list[_Placed] = []
    for index, entry in enumerate(placed):
        look = seen[entry.record.path].fingerprint
        if look is not None and index not in copies:
            looks.append(look)
            shown.append(entry)
    groups = [[shown[index] for index in group] for group in near_duplicates(looks)]
    yield from _group_findings(groups, "similar_picture", "images that look the same")


def _group_findings(groups: Iterable[Sequence[_Placed]], code: str, what: str) -> Iterator[Finding]:
    crossing, contradictory, repeated = [], [], []
    for group in groups:
        paths = tuple(entry.path for entry in group)
        crosses = len({entry.split for entry in group}) > 1
        contradicts = len({frozenset(entry.record.labels) for entry in group}) > 1
        if crosses:
            crossing.append(paths)
        if contradicts:
            contradictory.append(tuple(f"{e.path} ({', '.join(e.record.labels)})" for e in group))
        if not (crosses or contradicts):
            repeated.append(paths)
    if crossing:
        yield Finding(
            "warning",
            f"{code}_in_splits",
            f"{_sets(len(crossing))} of {what}, spread over splits; scores on them will be too good:",
            groups=tuple(crossing),
        )
    if contradictory:
        yield Finding(
            "warning",
            f"{code}_two_labels",
            f"{_sets(len(contradictory))} of {what}, under different labels; one is likely wrong:",
            groups=tuple(contradictory),
        )
    if repeated:
        yield Finding(
            "info",
            f"{code}_repeated",
            f"{_sets(len(repeated))} of {what}, within a split:",
            groups=tuple(repeated),
        )


def _image_findings(seen: Mapping[Path, _Seen]) -> Iterator[Finding]:
    readable = {path: look for path, look in seen.items() if not look.problem}
    tiny = tuple(str(path) for path, look in readable.items() if min(look.width, look.height) < TINY_SIDE)
    if tiny:
        yield Finding("warning", "tiny", f"{_files(len(tiny))} with a side below {TINY_SIDE} pixels:", tiny)
    long = tuple(
        f"{path} ({look.width} x {look.height})"
        for path, look in readable.items()
        if max(look.width, look.height) > EXTREME_RATIO * min(look.width, look.height)
    )
    if long:
        yield Finding(
            "warning",
            "extreme_shape",
            f"{_files(len(long))} with one side more than {EXTREME_RATIO:g} times the other; "
            "dataset.resize=crop keeps only their middle, letterbox keeps all:",
            long,
        )
    grey = sum(look.is_grey for look in readable.values())
    if grey:
        fraction = f"{grey} of {len(readable)}" if grey < len(readable) else "all"
        yield Finding("info", "grey", f"grey images: {fraction}")


def _counts(records: Iterable[ImageRecord]) -> Counter[str]:
    return Counter(label for record in records for label in record.labels)


def _report(
    findings: Sequence[Finding],
    splits: SplitRecords,
    classes: Sequence[str],
    seen: Mapping[Path, _Seen],
    *,
    full: bool,
) -> CheckReport:
    counted = {name: _counts(records) for name, records in splits.items()}
    readable = [look for look in seen.values() if not look.problem]
    sizes = grey_fraction = None
    if readable:
        sizes = SizeSummary(
            _spread([look.width for look in readable]), _spread([look.height for look in readable])
        )
        grey_fraction = sum(look.is_grey for look in readable) / len(readable)
    return CheckReport(
        findings=tuple(findings),
        classes=tuple(classes),
        counts={name: {label: counts[label] for label in classes} for name, counts in counted.items()},
        images={name: len(records) for name, records in splits.items()},
        sizes=sizes,
        grey_fraction=grey_fraction,
        full=full,
    )


def _spread(values: Sequence[int]) -> tuple[int, int, int]:
    return min(values), median_low(values), max(values)


def _files(count: int) -> str:
    return "1 file" if count == 1 else f"{count} files"


def _sets(count: int) -> str:
    return "1 set" if count == 1 else f"{count} sets"


def _some(names: Sequence[str], limit: int = 10) -> str:
    """Names in a line, the first few."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
