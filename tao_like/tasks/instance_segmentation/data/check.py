"""The check of outlines: objects without one, without a pixel, or with a damaged one."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from tao_like.contract.sample import Split
from tao_like.data.boxes.annotation import Box, BoxRecord
from tao_like.data.boxes.sizes import image_size
from tao_like.data.checks.findings import Finding, Level
from tao_like.data.masks.runs import area_of_runs
from tao_like.data.masks.segmentation import runs_of_segmentation
from tao_like.errors import DatasetError


def outline_findings(
    splits: Mapping[Split, Sequence[BoxRecord]], classes: Sequence[str], *, full: bool
) -> tuple[list[Finding], dict[str, int]]:
    """What is to say of the outlines of objects, and how many there are of each kind.

    Args:
        splits: the records of each.
        classes: names of the classes that count.
        full: look at every outline's pixels too.
    """
    known = set(classes)
    files: defaultdict[str, list[str]] = defaultdict(list)
    counts: Counter[str] = Counter(outlines=0)
    learnt = 0
    for split, records in splits.items():
        for record in records:
            for box in record.boxes:
                if not (box.label in known or box.ignore):
                    continue
                fault, told = _fault(box, record, full=full)
                if (box.ignore or box.crowd) and fault != "damaged_outline":
                    continue
                counts[fault or "outlines"] += 1
                learnt += split == "train" and not fault
                if fault and told not in files[fault][-1:]:
                    files[fault].append(told)
    findings = []
    if "train" in splits and not learnt:
        findings.append(
            Finding(
                "error",
                "no_outlines",
                "no object of the training data has an outline (a polygon or runs), so there is no mask to "
                "learn; for boxes alone use `tao-like detection`",
            )
        )
    for code, (level, words) in _WORDS.items():
        if counts[code]:
            of_objects = f"{counts[code]} object{'s' if counts[code] > 1 else ''}"
            findings.append(Finding(level, code, f"{of_objects} {words}", tuple(files[code])))
    return findings, dict(counts)


_WORDS: dict[str, tuple[Level, str]] = {
    "no_outline": (
        "warning",
        "with a box and no outline; neither trained on nor held against a prediction, as of crowds",
    ),
    "no_pixel": ("warning", "whose outline has no pixel in the image; left out"),
    "damaged_outline": ("error", "whose outline cannot be read"),
}


def _fault(box: Box, record: BoxRecord, *, full: bool) -> tuple[str, str]:
    """What is wrong with an object's outline, as the code of a finding (empty: nothing), and of which."""
    if not box.segmentation:
        return "no_outline", record.name
    if not full:
        return "", ""
    try:
        size = image_size(record)
    except DatasetError:
        return "", ""  # The check of images names it.
    try:
        runs = runs_of_segmentation(box.segmentation, *size, f"{record.name}: {box.label}")
    except DatasetError as error:
        return "damaged_outline", str(error)
    return ("", "") if area_of_runs(runs) else ("no_pixel", record.name)
