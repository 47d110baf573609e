"""The check of detection data: files, images in two splits, boxes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from PIL import Image

from tao_like.contract.data import DataReport, Dataset
from tao_like.contract.sample import SPLITS
from tao_like.data.boxes.annotation import BoxRecord
from tao_like.data.boxes.checks import check_boxes
from tao_like.data.boxes.sizes import image_size
from tao_like.data.checks.contact_sheet import Tile, contact_sheet, in_rows, spread
from tao_like.data.checks.images import UNREADABLE, check_images
from tao_like.data.checks.pixel_values import pixel_value_findings
from tao_like.errors import DatasetError
from tao_like.plots.datasets import draw_box_sizes, draw_label_histogram
from tao_like.plots.palette import class_color
from tao_like.tasks.common.boxes.box_predictions import DrawnBox
from tao_like.tasks.common.tiled_image_data import TiledImageData
from tao_like.tasks.detection.data.source import LabelledBoxes
from tao_like.tasks.detection.draw import draw_boxes

NOT_FOR_BOXES = ("imbalance", "extreme_shape", "unknown_label", "one_class")
"""Findings about one label an image; the check of boxes has its own words for what matters here."""
COLUMNS = 6


def check_detection_data(
    data: TiledImageData[LabelledBoxes],
    *,
    figures: int,
    full: bool,
    on_progress: Callable[[int, int], None] | None,
) -> DataReport:
    """Checks all splits; fully with decoding, histograms and a contact sheet.

    Args:
        data: images and boxes of every split.
        figures: training images on the contact sheet; 0: there is none.
        full: look into every file.
        on_progress: called with (done, total).
    """
    source, window, big = data.source, data.preprocessing.window, data.big_images
    splits = [split for split in SPLITS if data.has(split)]
    records: dict[str, list[BoxRecord]] = {split: source.records(split) for split in splits}
    classes = source.classes
    values = pixel_value_findings(records, data.block.pixel_range, window)
    checked = check_images(
        records, classes, full=full, multi_label=True, on_progress=on_progress, window=window, big=big
    )
    of_boxes = check_boxes(records, classes)
    findings = [finding for finding in checked.findings if finding.code not in NOT_FOR_BOXES]
    summary = checked.to_dict() | {"boxes": of_boxes.summary}
    del summary["findings"], summary["errors"], summary["warnings"]
    report = DataReport([*findings, *of_boxes.findings, *source.findings(), *values], summary)
    if full:
        report.figures |= _histograms(records, classes)
    unreadable = any(finding.code in UNREADABLE for finding in report.errors)
    if full and figures and not unreadable:
        tiles = _tiles(data.dataset("train"), classes, figures)
        report.figures["contact_sheet"] = contact_sheet(in_rows(tiles, COLUMNS), tile=320)
    return report


def _histograms(records: dict[str, list[BoxRecord]], classes: list[str]) -> dict[str, Image.Image]:
    """Boxes of each class, and their sizes."""
    known = set(classes)
    used = {
        split: [
            (box, size)
            for record in members
            for size in [_size(record)]
            for box in record.boxes
            if box.label in known and not (box.ignore or box.crowd or box.is_empty)
        ]
        for split, members in records.items()
    }
    labels = {split: Counter(box.label for box, _ in pairs) for split, pairs in used.items()}
    counts = {split: {name: counted[name] for name in classes} for split, counted in labels.items()}
    sizes = draw_box_sizes(
        {split: [box[1:5] for box, _ in pairs] for split, pairs in used.items()},
        {split: [size for _, size in pairs] for split, pairs in used.items()},
    )
    return {"labels": draw_label_histogram(counts, "boxes"), "box_sizes": sizes}


def _size(record: BoxRecord) -> tuple[int, int]:
    """Width and height of an image; 0, 0: they are not known."""
    try:
        return image_size(record)
    except DatasetError:
        return 0, 0


def _tiles(dataset: Dataset, classes: Sequence[str], limit: int) -> list[Tile]:
    """Images with their boxes, spread evenly."""
    tiles = []
    for number in spread(len(dataset), limit):
        sample = dataset.sample(number)
        arrays = sample.target.arrays
        boxes = [
            DrawnBox(box, classes[label] if label >= 0 else "ignore", class_color(label))
            for box, label in zip(arrays.boxes.tolist(), arrays.labels.tolist(), strict=True)
        ]
        tiles.append(Tile(draw_boxes(sample.data, boxes), sample.key))
    return tiles
