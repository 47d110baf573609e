"""The check of LiDAR data: files, boxes, points in them, anchors against what is there."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tao_like.contract.data import DataReport
from tao_like.contract.sample import SPLITS, Split
from tao_like.data.checks.contact_sheet import Tile, contact_sheet, in_rows, spread
from tao_like.data.checks.findings import Finding
from tao_like.data.images.files import identical_files
from tao_like.data.lidar.frame import LidarRecord, frame_objects, points_of
from tao_like.data.lidar.sources import unread_files
from tao_like.errors import DatasetError
from tao_like.plots.classes import class_color
from tao_like.runtime.geometry.boxes3d import points_inside
from tao_like.runtime.inputs.points import (
    HOW_TO_CONVERT,
    Frame,
    PointsPreprocessing,
    WrongEchoes,
    preprocess_points,
    read_frame,
)
from tao_like.tasks.common.boxes.box_predictions import DrawnBox
from tao_like.tasks.pointpillars.data.dataset import FrameDataset
from tao_like.tasks.pointpillars.data.source import LabelledFrames
from tao_like.tasks.pointpillars.draw import draw_frame
from tao_like.tasks.pointpillars.metrics.scoring import DISTANCES
from tao_like.tasks.pointpillars.spec import Spec

COLUMNS = 3
FAR_HEIGHT = 1.0
"""Metres between the objects' middle height and the anchors' from which on the anchors are wrong."""
FAR_SIZE = 1.5
"""The same for sizes, as a factor."""
STRONG_ECHO = 1.5
"""Strengths above this were not brought to 0 to 1."""
MANY_LEFT_OUT = 0.1
"""Part of the points without finite numbers from which on something is wrong with the sensor or the files."""


@dataclass(frozen=True)
class CheckedFrames:
    """What a check looks at.

    Attributes:
        frames: of all splits.
        classes: class names in the order of the numbers.
        preprocessing: how frames become inputs.
        spec: of the checked.
        dataset: gives the frames of a split, where they are drawn.
    """

    frames: LabelledFrames
    classes: list[str]
    preprocessing: PointsPreprocessing
    spec: Spec
    dataset: Callable[[Split], FrameDataset]


class _Survey:
    """What is seen on the way through the frames of a split."""

    def __init__(self, checked: CheckedFrames) -> None:
        self.checked = checked
        self.unreadable: list[str] = []
        self.without_points: list[str] = []
        self.echo = 0.0
        self.wrong_echoes: list[str] = []
        self.left_out, self.read_points = 0, 0
        self.with_left_out: list[str] = []
        self.boxes: dict[str, list[np.ndarray]] = {name: [] for name in checked.classes}
        self.points: dict[str, list[int]] = {name: [] for name in checked.classes}
        self.outside = Counter[str]()

    def read(self, record: LidarRecord) -> None:
        """Opens a frame and counts the points of its boxes."""
        checked = self.checked
        try:
            frame = self._frame(record)
            points = points_of(record, frame.points)
        except DatasetError as error:
            self.unreadable.append(str(error))
            return
        self.left_out += frame.left_out
        self.read_points += frame.left_out + len(frame.points)
        if frame.left_out:
            self.with_left_out.append(f"{record.name} ({frame.left_out})")
        self.echo = max(self.echo, float(points[:, 3].max(initial=0.0)))
        if not len(preprocess_points(points, checked.preprocessing)):
            self.without_points.append(record.name)
        objects = frame_objects(record.objects, checked.classes, checked.spec.dataset.map_class_to)
        counts = points_inside(points, objects.boxes).sum(axis=1)
        low, high = np.split(np.array(checked.preprocessing.point_cloud_range), 2)
        for box, label, count in zip(objects.boxes, objects.labels.tolist(), counts.tolist(), strict=True):
            if label < 0:
                continue
            name = checked.classes[label]
            self.boxes[name].append(box)
            self.points[name].append(count)
            if (box[:2] < low[:2]).any() or (box[:2] >= high[:2]).any():
                self.outside[name] += 1

    def _frame(self, record: LidarRecord) -> Frame:
        """A frame, also where its echoes would be refused: that is told apart. Raises DatasetError."""
        preprocessing = self.checked.preprocessing
        try:
            return read_frame(record.path, preprocessing)
        except WrongEchoes as error:
            self.wrong_echoes.append(str(error))
            return read_frame(record.path, replace(preprocessing, largest_echo=math.inf))

    def summary(self) -> dict[str, Any]:
        """Counts of objects and of their points, by class and distance."""
        table: dict[str, Any] = {name: {"boxes": 0} for name in self.boxes}
        for name, boxes in self.boxes.items():
            if not boxes:
                continue
            values, counts = np.stack(boxes), np.array(self.points[name])
            away = np.hypot(values[:, 0], values[:, 1])
            ranges = {}
            for low, high in itertools.pairwise(DISTANCES):
                near = (away >= low) & (away < high)
                median = float(np.median(counts[near])) if near.any() else None
                ranges[f"{low:g}-{high:g} m"] = {"boxes": int(near.sum()), "median_points": median}
            table[name] = {
                "boxes": len(boxes),
                "without_points": int((counts == 0).sum()),
                "outside_range": self.outside[name],
                "median_size": [round(float(value), 3) for value in np.median(values[:, 3:6], axis=0)],
                "median_z": round(float(np.median(values[:, 2])), 3),
                "by_distance": ranges,
            }
        return table


def check_lidar_data(
    checked: CheckedFrames, *, full: bool, on_progress: Callable[[int, int], None] | None
) -> DataReport:
    """Checks all splits; fully with every frame opened and an image from above of each split."""
    report = DataReport()
    frames = checked.frames
    splits = {split: frames.records(split) for split in SPLITS if frames.has(split)}
    total, done = sum(map(len, splits.values())), 0
    for split, records in splits.items():
        report.findings += _of_labels(checked, split, records)
        survey = _Survey(checked)
        for record in records:
            if full:
                survey.read(record)
            elif fault := _quick_fault(checked, record):
                survey.unreadable.append(fault)
            done += 1
            if on_progress and full:
                on_progress(done, total)
        report.findings += _of_survey(checked, split, survey)
        report.summary[split] = {"frames": len(records)}
        if full:
            report.summary[split]["classes"] = survey.summary()
            report.summary[split]["points_left_out"] = survey.left_out
        readable = not (survey.unreadable or survey.wrong_echoes)
        if full and checked.spec.dataset_check.max_pictures and readable:
            tiles = in_rows(_tiles(checked, split), COLUMNS)
            report.figures[f"{split}_from_above"] = contact_sheet(tiles, tile=420)
    report.findings += _same_frames(splits)
    report.findings += _passed_over(splits)
    report.findings.sort(key=lambda finding: ("error", "warning", "info").index(finding.level))
    return report


def _same_frames(splits: Mapping[Split, Sequence[LidarRecord]]) -> Iterator[Finding]:
    """Frames of the same content, in two splits or twice in one."""
    placed = [(split, record) for split, records in splits.items() for record in records]
    crossing: list[tuple[str, ...]] = []
    repeated: list[tuple[str, ...]] = []
    for group in identical_files(record.path for _, record in placed):
        members = [placed[number] for number in group]
        crosses = len({split for split, _ in members}) > 1
        names = tuple(f"{split}: {record.name}" for split, record in members)
        (crossing if crosses else repeated).append(names)
    if crossing:
        yield Finding(
            "warning",
            "same_frame_in_splits",
            f"{len(crossing)} frames are in two splits, so the metrics will be too good:",
            groups=tuple(crossing),
        )
    if repeated:
        yield Finding(
            "info",
            "same_frame_repeated",
            f"{len(repeated)} frames stand twice in a split:",
            groups=tuple(repeated),
        )


def _passed_over(splits: Mapping[Split, Sequence[LidarRecord]]) -> Iterator[Finding]:
    """Files beside the frames that hold points and are not read."""
    folders = dict.fromkeys(record.path.parent for records in splits.values() for record in records)
    files = tuple(str(path) for folder in folders for path in unread_files(folder))
    if files:
        yield Finding(
            "warning",
            "passed_over",
            f"{len(files)} files hold points in a form that is not read; {HOW_TO_CONVERT}:",
            files,
        )


def _quick_fault(checked: CheckedFrames, record: LidarRecord) -> str:
    """What is wrong with a file that is seen without reading it; empty: nothing."""
    try:
        size = record.path.stat().st_size
    except OSError as error:
        return f"{record.path}: {error.strerror}"
    of_point = 4 * checked.preprocessing.values_per_point
    if record.path.suffix.lower() == ".bin" and (not size or size % of_point):
        return f"{record.path}: {size} bytes are no whole number of points of {of_point} bytes"
    return "" if size else f"{record.path}: the file is empty"


def _of_labels(checked: CheckedFrames, split: str, records: list[LidarRecord]) -> Iterator[Finding]:
    """What labels alone tell."""
    renamed = checked.spec.dataset.map_class_to
    labels = Counter(renamed.get(one.label, one.label) for record in records for one in record.objects)
    unknown = {name: count for name, count in labels.items() if name not in checked.classes}
    lower = {name.lower(): name for name in checked.classes}
    for name, count in unknown.items():
        if name.lower() in lower:
            yield Finding(
                "warning",
                "class_case",
                f"{count} objects of {split} are called {name!r}, and dataset.class_names has "
                f"{lower[name.lower()]!r}; dataset.map_class_to={{{name}: {lower[name.lower()]}}} joins them",
            )
    if unknown:
        listed = ", ".join(f"{name} {count}" for name, count in sorted(unknown.items()))
        yield Finding("info", "other_labels", f"{split} has labels that are no class: {listed}")
    known = {name: labels[name] for name in checked.classes}
    if not any(known.values()):
        level = "error" if split == "train" else "warning"
        yield Finding(
            level,  # type: ignore[arg-type]
            "no_objects",
            f"{split} has no object of {', '.join(checked.classes)} (dataset.class_names); there is nothing "
            "to learn or to find",
        )
    elif missing := [name for name, count in known.items() if not count]:
        yield Finding("warning", "class_missing", f"{split} has no object of {', '.join(missing)}")
    values = [(record, one) for record in records for one in record.objects]
    flat = sorted({str(record.source) for record, one in values if min(one.box[3:6]) <= 0})
    if flat:
        yield Finding("error", "flat_boxes", "boxes with a side of 0 or less:", tuple(flat))


def _of_survey(checked: CheckedFrames, split: str, survey: _Survey) -> Iterator[Finding]:
    """What the frames tell."""
    if survey.unreadable:
        words = f"{len(survey.unreadable)} frames of {split} cannot be read; replace or remove:"
        yield Finding("error", "corrupt", words, tuple(survey.unreadable))
    if survey.without_points:
        yield Finding(
            "warning" if split != "train" else "error",
            "no_points",
            f"{len(survey.without_points)} frames of {split} have no point in dataset.point_cloud_range="
            f"{checked.spec.dataset.point_cloud_range}; does the range suit the sensor?",
            tuple(survey.without_points),
        )
    if survey.left_out:
        fraction = survey.left_out / survey.read_points
        yield Finding(
            "warning" if fraction > MANY_LEFT_OUT else "info",
            "not_finite",
            f"{survey.left_out} of {survey.read_points} points of {split} ({fraction:.1%}) have a number "
            f"that is NaN or infinite; they are left out:",
            tuple(survey.with_left_out),
        )
    if survey.wrong_echoes:
        yield Finding(
            "error",
            "strong_echo",
            f"{len(survey.wrong_echoes)} frames of {split} have echoes on another scale than dataset."
            "point_feature_encoding.intensity_scale and the training frames have it:",
            tuple(survey.wrong_echoes),
        )
    elif survey.echo > STRONG_ECHO:
        yield Finding(
            "warning",
            "strong_echo",
            f"echoes of {split} are as strong as {survey.echo:g}; the network expects 0 to 1: "
            "dataset.point_feature_encoding.intensity_scale divides them (255 for bytes)",
        )
    anchors = {anchor.class_name: anchor for anchor in checked.spec.model.dense_head.anchor_generator_config}
    for name, boxes in survey.boxes.items():
        if boxes:
            yield from _of_class(split, name, np.stack(boxes), np.array(survey.points[name]), anchors[name])
    if survey.outside:
        listed = ", ".join(f"{name} {count}" for name, count in survey.outside.items())
        yield Finding("info", "outside_range", f"{split} has objects outside of the range: {listed}")


def _of_class(split: str, name: str, boxes: np.ndarray, counts: np.ndarray, anchor: Any) -> Iterator[Finding]:
    """Boxes without points, and anchors that do not suit the boxes."""
    empty = int((counts == 0).sum())
    if empty > len(counts) / 2:
        yield Finding(
            "warning",
            "without_points",
            f"{empty} of {len(counts)} {name} of {split} have no points in their box; are the labels in the "
            "LiDAR's frame, with z the middle of the box, and yaw counter-clockwise?",
        )
    sizes = np.array(anchor.anchor_sizes)
    height = np.add.outer(np.array(anchor.anchor_bottom_heights), sizes[:, 2] / 2).ravel()
    middle = float(np.median(boxes[:, 2]))
    if np.abs(height - middle).min() > FAR_HEIGHT:
        yield Finding(
            "warning",
            "anchor_height",
            f"{name} of {split} stand at z={middle:.2f} m, their anchors at {height[0]:.2f} m; set "
            f"anchor_bottom_heights=[{middle - float(np.median(boxes[:, 5])) / 2:.2f}], or little is found",
        )
    median = np.median(boxes[:, 3:6], axis=0)
    ratios = np.maximum(sizes / median, median / sizes).max(axis=1)
    if ratios.min() > FAR_SIZE:
        words = ", ".join(f"{value:.2f}" for value in median)
        yield Finding(
            "warning",
            "anchor_size",
            f"{name} of {split} measure [{words}] m at the median, their anchors {anchor.anchor_sizes}; set "
            f"anchor_sizes=[[{words}]]",
        )


def _tiles(checked: CheckedFrames, split: Split) -> list[Tile]:
    """Frames of a split from above with their boxes, spread evenly."""
    dataset = checked.dataset(split)
    tiles = []
    for number in spread(len(dataset), min(checked.spec.dataset_check.max_pictures, 2 * COLUMNS)):
        sample = dataset.sample(number)
        objects = sample.target.objects
        boxes = [
            DrawnBox(box, name if label < 0 else "", "#888888" if label < 0 else class_color(label))
            for box, label, name in zip(
                objects.boxes.tolist(), objects.labels.tolist(), objects.names, strict=True
            )
        ]
        tiles.append(Tile(draw_frame(sample.data, checked.spec.dataset.point_cloud_range, boxes), sample.key))
    return tiles
