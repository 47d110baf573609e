"""The check of detection data: files, pictures in two splits, boxes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tao_like.contract.data import DataReport
from tao_like.contract.sample import Split
from tao_like.data.boxes.annotation import BoxRecord
from tao_like.data.boxes.checks import check_boxes
from tao_like.data.checks.contact_sheet import Tile, contact_sheet, in_rows
from tao_like.data.checks.images import full_check, quick_check
from tao_like.plots.classes import class_colour
from tao_like.tasks.common.box_predictions import DrawnBox
from tao_like.tasks.detection.data.dataset import DetectionDataset
from tao_like.tasks.detection.data.source import LabelledBoxes
from tao_like.tasks.detection.draw import draw_boxes

NOT_FOR_BOXES = ("imbalance", "extreme_shape", "unknown_label", "one_class")
"""Findings about one label a picture; the check of boxes has its own words for what matters here."""
COLUMNS = 6


def check_detection_data(
    source: LabelledBoxes,
    splits: Sequence[Split],
    train_data: Callable[[], DetectionDataset],
    *,
    figures: int,
    full: bool,
    on_progress: Callable[[int, int], None] | None,
) -> DataReport:
    """Checks all splits; fully with decoding and a contact sheet.

    Args:
        source: images and boxes of every split.
        splits: those that there are.
        train_data: gives the training data without random changes, where it is drawn.
        figures: training images on the contact sheet; 0: there is none.
        full: look into every file.
        on_progress: called with (done, total).
    """
    records: dict[str, list[BoxRecord]] = {split: source.records(split) for split in splits}
    classes = source.classes
    if full:
        checked = full_check(records, classes, multi_label=True, on_progress=on_progress)
    else:
        checked = quick_check(records, classes, multi_label=True)
    of_boxes = check_boxes(records, classes, full=full)
    findings = [finding for finding in checked.findings if finding.code not in NOT_FOR_BOXES]
    summary = checked.to_dict() | {"boxes": of_boxes.summary}
    del summary["findings"], summary["errors"], summary["warnings"]
    report = DataReport([*findings, *of_boxes.findings], summary)
    unreadable = any(finding.code in ("missing", "corrupt", "empty") for finding in report.errors)
    if full and figures and not unreadable:
        tiles = _tiles(train_data(), classes, figures)
        report.figures["contact_sheet"] = contact_sheet(in_rows(tiles, COLUMNS), tile=320)
    return report


def _tiles(dataset: DetectionDataset, classes: Sequence[str], limit: int) -> list[Tile]:
    """Images with their boxes, spread evenly."""
    count = min(limit, len(dataset))
    tiles = []
    for number in range(count):
        sample = dataset.sample(number * len(dataset) // count)
        arrays = sample.target.arrays
        boxes = [
            DrawnBox(box, classes[label] if label >= 0 else "ignore", class_colour(label))
            for box, label in zip(arrays.boxes.tolist(), arrays.labels.tolist(), strict=True)
        ]
        tiles.append(Tile(draw_boxes(sample.data, boxes), sample.key))
    return tiles
