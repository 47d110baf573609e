"""The check of segmentation data: files, photos in two splits, masks."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tao_like.contract.data import DataReport
from tao_like.contract.sample import Split
from tao_like.data.checks.contact_sheet import Tile, contact_sheet, in_rows
from tao_like.data.checks.images import check_images
from tao_like.data.checks.pixel_values import pixel_value_findings
from tao_like.data.masks.checks import check_masks
from tao_like.data.masks.record import MaskRecord
from tao_like.plots.datasets import draw_label_histogram
from tao_like.runtime.inputs.image import Window
from tao_like.runtime.inputs.image.big_images import BigImages
from tao_like.tasks.segmentation.data.dataset import SegmentationDataset
from tao_like.tasks.segmentation.data.source import LabelledMasks
from tao_like.tasks.segmentation.draw import overlay

NOT_FOR_MASKS = (
    *("imbalance", "extreme_shape", "unknown_label", "one_class", "class_missing", "few_pictures"),
    *("same_picture_two_labels", "similar_picture_two_labels"),
)
"""Findings about one label a photo; the check of masks has its own words for what matters here."""
COLUMNS = 6


def check_segmentation_data(
    source: LabelledMasks,
    splits: Sequence[Split],
    window: Window | None,
    big: BigImages,
    train_data: Callable[[], SegmentationDataset],
    *,
    figures: int,
    full: bool,
    on_progress: Callable[[int, int], None] | None,
) -> DataReport:
    """Checks all splits; fully with decoding, fractions of the classes and a contact sheet.

    Args:
        source: photos and masks of every split.
        splits: those that there are.
        window: which values of 16-bit photos become black and white.
        big: what becomes of photos beyond the limit.
        train_data: gives the training data without random changes, where it is drawn.
        figures: training photos on the contact sheet; 0: there is none.
        full: look into every file.
        on_progress: called with (done, total).
    """
    records: dict[str, list[MaskRecord]] = {split: source.records(split) for split in splits}
    values = pixel_value_findings(records, source.spec.pixel_range, window)
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
    if full and figures and not report.errors:
        tiles = _tiles(train_data(), figures)
        report.figures["contact_sheet"] = contact_sheet(in_rows(tiles, COLUMNS), tile=320)
    return report


def _tiles(dataset: SegmentationDataset, limit: int) -> list[Tile]:
    """Photos with their masks, spread evenly."""
    count = min(limit, len(dataset))
    tiles = []
    for number in range(count):
        sample = dataset.sample(number * len(dataset) // count)
        tiles.append(Tile(overlay(sample.data, sample.target.classes), sample.key))
    return tiles
