"""The check of skeleton data: values, joints, labels, and sequences in two splits."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np

from tao_like.contract.data import DataReport
from tao_like.contract.sample import SPLITS, Split
from tao_like.data.checks.contact_sheet import Tile, contact_sheet, in_rows
from tao_like.data.checks.findings import Finding, Level
from tao_like.data.skeletons.arrays import SkeletonData
from tao_like.data.skeletons.drawing import SkeletonView
from tao_like.data.skeletons.survey import bones_of, side_classes
from tao_like.tasks.pose_classification.data.dataset import SkeletonDataset
from tao_like.tasks.pose_classification.data.source import LabelledSkeletons

COLUMNS = 6
FEW = 10
QUICK = 2000
"""Sequences of a split that the quick check reads, about."""
IMBALANCE = 10


def check_pose_data(
    skeletons: LabelledSkeletons,
    train_data: Callable[[], SkeletonDataset],
    dimensions: Callable[[], int],
    max_figures: int,
    *,
    full: bool,
    on_progress: Callable[[int, int], None] | None,
) -> DataReport:
    """Reads the sequences of all splits; fully each of them, looks for copies, and draws some.

    Args:
        skeletons: of all splits.
        train_data: gives the training data without random changes, where it is drawn.
        dimensions: gives the number of channels that are coordinates.
        max_figures: so many sequences are drawn; 0: none.
        full: look at every sequence.
        on_progress: called with (done, total).
    """
    report = DataReport()
    splits = [split for split in SPLITS if skeletons.has(split)]
    skeletons.data("train")
    total, done = sum(len(skeletons.data(split)) for split in splits), 0
    hashes: dict[str, list[tuple[Split, str]]] = defaultdict(list)
    for split in splits:
        skeletons.check_known(split)
        data = skeletons.data(split)
        faults = _Faults(skeletons.layout.joints)
        # Before a training, of very many sequences some: the others are looked at when they are loaded.
        for index in range(0, len(data), 1 if full else max(1, len(data) // QUICK)):
            faults.look(data, index)
            if full:
                digest = hashlib.sha256(data.values[index].tobytes()).hexdigest()
                hashes[digest].append((split, data.name(index)))
            done += 1
            if on_progress:
                on_progress(done, total)
        report.findings += faults.findings(split, data)
        report.summary[split] = _summary(skeletons, split, data)
    report.findings += _imbalance(report.summary["train"]["classes"])
    report.findings += _copies(hashes)
    if not report.errors:
        report.findings += _order_of_joints(skeletons, dimensions())
        report.findings += _mirrored_sides(skeletons, dimensions())
    if full and max_figures and not report.errors:
        tiles = _tiles(train_data(), skeletons, max_figures)
        report.figures["contact_sheet"] = contact_sheet(in_rows(tiles, COLUMNS), tile=224)
    return report


class _Faults:
    """What is wrong with the sequences of a split."""

    def __init__(self, joints: tuple[str, ...]) -> None:
        self.joints = joints
        self.not_finite: list[str] = []
        self.empty: list[str] = []
        self.seen = np.zeros(len(joints), bool)
        self.looked_at = 0

    def look(self, data: SkeletonData, index: int) -> None:
        """Looks at one sequence."""
        values = np.asarray(data.values[index])
        self.looked_at += 1
        if not np.isfinite(values).all():
            self.not_finite.append(data.name(index))
        elif not values.any():
            self.empty.append(data.name(index))
        else:
            self.seen |= values.any(axis=(0, 1, 3))

    def findings(self, split: str, data: SkeletonData) -> list[Finding]:
        """Errors and warnings."""
        found = []
        if self.not_finite:
            message = f"{split}: sequences in {data.path} with values that are not numbers (NaN or infinite)"
            found.append(Finding("error", "corrupt", message, tuple(self.not_finite)))
        if self.empty:
            message = f"{split}: sequences in {data.path} in which nobody is seen"
            level: Level = "error" if len(self.empty) == self.looked_at else "warning"
            found.append(Finding(level, "empty", message, tuple(self.empty)))
        never = tuple(name for name, seen in zip(self.joints, self.seen, strict=True) if not seen)
        if never and self.seen.any():
            message = f"{split}: joints that are never seen; is model.graph_layout right?"
            found.append(Finding("warning", "missing_joints", message, never))
        return found


def _summary(skeletons: LabelledSkeletons, split: Split, data: SkeletonData) -> dict[str, Any]:
    names = skeletons.classes
    counts = Counter(names[skeletons.target(split, index)] for index in range(len(data)))
    _, channels, frames, joints, persons = data.values.shape
    shape = {"channels": channels, "frames": frames, "joints": joints, "persons": persons}
    return {"sequences": len(data), **shape, "classes": {name: counts[name] for name in names}}


def _imbalance(counts: dict[str, int]) -> list[Finding]:
    found = []
    few = [name for name, count in counts.items() if count < FEW]
    if few:
        message = f"classes with fewer than {FEW} training sequences: {', '.join(few[:10])}"
        found.append(Finding("warning", "few_samples", message))
    if max(counts.values()) > IMBALANCE * min(counts.values()):
        most, least = max(counts, key=lambda name: counts[name]), min(counts, key=lambda name: counts[name])
        message = f"{most} has {counts[most]} training sequences, {least} {counts[least]}"
        found.append(Finding("warning", "imbalance", message))
    return found


def _order_of_joints(skeletons: LabelledSkeletons, dimensions: int) -> list[Finding]:
    """Whether the bones of the layout are bones, as their lengths tell."""
    layout, data = skeletons.layout, skeletons.data("train")
    bones = bones_of(data, layout, dimensions)
    if bones is None or bones.is_plausible:
        return []
    message = (
        f"the bones of model.graph_layout={layout.name} are {bones.ratio:.1f} times as long in {data.path} "
        "as the shortest way to join all joints: the joints stand in another order. Choose the layout that "
        "fits, or describe the data's own with model.graph_layout=custom; these joints are near each other: "
        + " ".join(f"{one}-{other}" for one, other in bones.edges)
    )
    return [Finding("warning", "joint_order", message)]


def _mirrored_sides(skeletons: LabelledSkeletons, dimensions: int) -> list[Finding]:
    """Classes that a mirror image changes, where training mirrors."""
    mirror_prob = skeletons.spec.augmentation.mirror_prob
    if not mirror_prob:
        return []
    data = skeletons.data("train")
    names = list(data.labels.classes) or skeletons.classes
    sided = side_classes(data, names, skeletons.layout, dimensions)
    if not sided:
        return []
    message = (
        f"dataset.augmentation.mirror_prob={mirror_prob:g} swaps left and "
        f"right, which make different classes here; set it to 0: {', '.join(sided[:10])}"
    )
    return [Finding("warning", "mirrored_sides", message)]


def _copies(hashes: dict[str, list[tuple[Split, str]]]) -> list[Finding]:
    """The same sequence in two splits."""
    groups = tuple(
        tuple(f"{split}: {name}" for split, name in group)
        for group in hashes.values()
        if len({split for split, _ in group}) > 1
    )
    if not groups:
        return []
    message = f"{len(groups)} sequences are in two splits, so the metrics will be too good"
    return [Finding("warning", "same_sequence_in_splits", message, groups=groups)]


def _tiles(dataset: SkeletonDataset, skeletons: LabelledSkeletons, limit: int) -> list[Tile]:
    """Training sequences, as many of each class."""
    each = max(1, limit // len(skeletons.classes))
    tiles = []
    for label, name in enumerate(skeletons.classes):
        members = [index for index, target in enumerate(dataset.targets) if target == label]
        for number in range(min(each, len(members))):
            sample = dataset.sample(members[number * len(members) // min(each, len(members))])
            view = SkeletonView(sample.data, skeletons.layout, dataset.preprocessing.dimensions)
            tiles.append(Tile(view.image(), f"{name}\n{sample.key}"))
    return tiles
