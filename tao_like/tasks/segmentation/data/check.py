"""The check of segmentation data: files, photos in two splits, masks."""

from __future__ import annotations

from collections.abc import Callable

from tao_like.contract.data import DataReport, Dataset
from tao_like.contract.sample import SPLITS
from tao_like.data.checks.contact_sheet import Tile, contact_sheet, in_rows, spread
from tao_like.data.checks.images import check_images
from tao_like.data.checks.pixel_values import pixel_value_findings
from tao_like.data.masks.checks import check_masks
from tao_like.data.masks.record import MaskRecord
from tao_like.plots.datasets import draw_label_histogram
from tao_like.tasks.common.tiled_image_data import TiledImageData
from tao_like.tasks.segmentation.data.source import LabelledMasks
from tao_like.tasks.segmentation.draw import overlay

NOT_FOR_MASKS = (
    *("imbalance", "extreme_shape", "unknown_label", "one_class", "class_missing", "few_pictures"),
    *("same_picture_two_labels", "similar_picture_two_labels"),
)
"""Findings about one label a photo; the check of masks has its own words for what matters here."""
COLUMNS = 6


def check_segmentation_data(
    data: TiledImageData[LabelledMasks], *, full: bool, on_progress: Callable[[int, int], None] | None
) -> DataReport:
    """Checks all splits; fully with decoding, fractions of the classes and a contact sheet.

    Args:
        data: photos and masks of every split.
        full: look into every file.
        on_progress: called with (done, total).
    """
    source, window, big = data.source, data.preprocessing.window, data.big_images
    splits = [split for split in SPLITS if data.has(split)]
    records: dict[str, list[MaskRecord]] = {split: source.records(split) for split in splits}
    values = pixel_value_findings(records, data.block.pixel_range, window)
    of_masks = check_masks(records, source.coding, full=full)
    classes = source.classes
    checked = check_images(
        records, classes, full=full, multi_label=True, on_progress=on_progress, window=window, big=big
    )
    findings = [finding for finding in checked.findings if finding.code not in NOT_FOR_MASKS]
    summary = checked.to_dict() | {"masks": of_masks.summary}
    for name in ("findings", "errors", "warnings", "counts"):
        summary.pop(name, None)
    report = DataReport([*findings, *of_masks.findings, *source.findings(), *values], summary)
    if full and of_masks.pixels:
        report.figures["labels"] = draw_label_histogram(of_masks.pixels, "pixels")
    if full and not report.errors and (most := data.spec.dataset_check.max_pictures):
        tiles = _tiles(data.dataset("train"), most)
        report.figures["contact_sheet"] = contact_sheet(in_rows(tiles, COLUMNS), tile=320)
    return report


def _tiles(dataset: Dataset, limit: int) -> list[Tile]:
    """Photos with their masks, spread evenly."""
    tiles = []
    for number in spread(len(dataset), limit):
        sample = dataset.sample(number)
        tiles.append(Tile(overlay(sample.data, sample.target.classes), sample.key))
    return tiles
