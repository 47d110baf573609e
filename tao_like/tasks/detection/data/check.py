"""The check of detection data: files, pictures in two splits, boxes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tao_like.contract.task import DataReport
from tao_like.data.boxes.annotation import BoxRecord
from tao_like.data.boxes.checks import check_boxes
from tao_like.data.checks.contact_sheet import Tile, contact_sheet, in_rows
from tao_like.data.checks.images import full_check, quick_check
from tao_like.plots.classes import class_colour
from tao_like.tasks.common.box_predictions import DrawnBox
from tao_like.tasks.detection.data.source import SPLITS
from tao_like.tasks.detection.draw import draw_boxes

if TYPE_CHECKING:
    from tao_like.tasks.detection.task import DetectionTask

NOT_FOR_BOXES = ("imbalance", "extreme_shape", "unknown_label", "one_class")
"""Findings about one label a picture; the check of boxes has its own words for what matters here."""
COLUMNS = 6


def check_data(
    task: DetectionTask, *, full: bool, on_progress: Callable[[int, int], None] | None
) -> DataReport:
    """Checks all splits; fully with decoding and a contact sheet."""
    records: dict[str, list[BoxRecord]] = {
        split: task.images.records(split) for split in SPLITS if task.has_split(split)
    }
    classes = task.classes
    if full:
        checked = full_check(records, classes, multi_label=True, on_progress=on_progress)
    else:
        checked = quick_check(records, classes, multi_label=True)
    of_boxes = check_boxes(records, classes)
    findings = [finding for finding in checked.findings if finding.code not in NOT_FOR_BOXES]
    summary = checked.to_dict() | {"boxes": of_boxes.summary}
    del summary["findings"], summary["errors"], summary["warnings"]
    report = DataReport([*findings, *of_boxes.findings, *task.images.findings()], summary)
    limit = task.spec.dataset_check.max_pictures
    unreadable = any(finding.code in ("missing", "corrupt", "empty") for finding in report.errors)
    if full and limit and not unreadable:
        report.pictures["contact_sheet"] = contact_sheet(in_rows(_tiles(task, limit), COLUMNS), tile=320)
    return report


def _tiles(task: DetectionTask, limit: int) -> list[Tile]:
    """Training pictures with their boxes, spread evenly."""
    dataset = task.dataset("train")
    count = min(limit, len(dataset))
    tiles = []
    for number in range(count):
        sample = dataset.sample(number * len(dataset) // count)
        arrays = sample.target.arrays
        boxes = [
            DrawnBox(box, task.classes[label] if label >= 0 else "ignore", class_colour(label))
            for box, label in zip(arrays.boxes.tolist(), arrays.labels.tolist(), strict=True)
        ]
        tiles.append(Tile(draw_boxes(sample.data, boxes), sample.key))
    return tiles
