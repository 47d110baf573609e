"""The check of classification data: files, counts, images in two splits, and likely wrong labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import chain
from pathlib import PurePosixPath

import numpy as np
import torch

from tao_like.contract.data import DataReport, Dataset
from tao_like.contract.sample import SPLITS
from tao_like.data.checks.contact_sheet import Tile, class_overview, contact_sheet, in_rows
from tao_like.data.checks.findings import Finding
from tao_like.data.checks.images import UNREADABLE, check_images
from tao_like.data.checks.pixel_values import pixel_value_findings
from tao_like.data.checks.wrong_labels import Suspect, likely_wrong_labels
from tao_like.data.images.sample import ImageRecord
from tao_like.networks.backbones.names import IMPORTED
from tao_like.networks.weights.loading import available_offline, load_pretrained
from tao_like.plots.datasets import draw_label_histogram
from tao_like.plots.palette import WRONG
from tao_like.tasks.classification.backbone import build_backbone, normalization_for
from tao_like.tasks.classification.data.dataset import collate_images
from tao_like.tasks.classification.data.source import LabelledImages
from tao_like.tasks.classification.model import ClassificationNetwork
from tao_like.tasks.classification.spec import Spec
from tao_like.tasks.common.image_data import ImageData

MAX_FEATURE_IMAGES = 3000
"""More images than this are not searched for wrong labels: it would take longer than people wait."""
FEATURE_BATCH = 32
COLUMNS = 8
REMEDY = "model.head.loss.class_weights=balanced"
"""What makes up for rare classes."""


def check_classification_data(
    data: ImageData[LabelledImages],
    spec: Spec,
    *,
    full: bool,
    on_progress: Callable[[int, int], None] | None,
) -> DataReport:
    """Checks all splits; fully with decoding, contact sheet and the search for wrong labels.

    Args:
        data: images and labels of every split.
        spec: of the task.
        full: look into every file.
        on_progress: called with (done, total).
    """
    multi_label = spec.dataset.multi_label
    splits = [split for split in SPLITS if data.has(split)]
    records: dict[str, list[ImageRecord]] = {split: data.source.records(split) for split in splits}
    classes, window = data.labels.names, data.preprocessing.window
    values = list(pixel_value_findings(records, spec.dataset.pixel_range, window))
    checked = check_images(
        records,
        classes,
        full=full,
        multi_label=multi_label,
        remedy=REMEDY,
        on_progress=on_progress,
        window=window,
    )
    report = DataReport([*checked.findings, *values], checked.to_dict())
    if not full:
        return report
    labels = {split: Counter(chain(*(record.labels for record in records[split]))) for split in records}
    counts = {split: {name: counted[name] for name in classes} for split, counted in labels.items()}
    report.figures["labels"] = draw_label_histogram(counts, "images")
    limit = spec.dataset_check.max_pictures
    if limit:
        columns = min(COLUMNS, max(1, limit // max(1, len(classes))))
        report.figures["contact_sheet"] = class_overview(
            records["train"], classes, columns=columns, window=window
        )
    unreadable = any(finding.code in UNREADABLE for finding in report.errors)
    if spec.dataset_check.likely_wrong_labels and not multi_label and not unreadable:
        _add_suspects(data, spec, report)
    return report


def _add_suspects(data: ImageData[LabelledImages], spec: Spec, report: DataReport) -> None:
    """Looks for training images whose neighbours bear another label."""
    records = data.source.records("train")
    backbone = spec.model.backbone
    imported = backbone.type == IMPORTED
    source = backbone.pretrained_backbone_path or (None if imported else available_offline(backbone.type))
    if source is None or len(records) > MAX_FEATURE_IMAGES:
        reason = "no pretrained weights are at hand" if source is None else f"there are {len(records)} images"
        report.findings.append(
            Finding("info", "wrong_labels_skipped", f"likely wrong labels were not looked for: {reason}")
        )
        return
    images = data.dataset("train")
    features = _features(images, data.labels.names, spec, source)
    suspects = likely_wrong_labels(features, [record.labels[0] for record in records])
    if not suspects:
        return
    files = tuple(f"{records[s.index].key}: {s.label}, or {s.suggested}?" for s in suspects)
    count = "1 training image looks" if len(suspects) == 1 else f"{len(suspects)} training images look"
    report.findings.append(
        Finding(
            "warning",
            "likely_wrong_labels",
            f"{count} like another class than the label says; see likely_wrong_labels.png",
            files,
        )
    )
    if limit := spec.dataset_check.max_pictures:
        tiles = [_suspect_tile(images, suspect) for suspect in suspects[:limit]]
        report.figures["likely_wrong_labels"] = contact_sheet(in_rows(tiles), title="Labels to look at")


def _suspect_tile(data: Dataset, suspect: Suspect) -> Tile:
    sample = data.sample(suspect.index)
    return Tile(
        sample.data, f"{suspect.label}, or {suspect.suggested}?\n{PurePosixPath(sample.key).name}", WRONG
    )


def _features(data: Dataset, classes: list[str], spec: Spec, source: str) -> np.ndarray:
    """Pooled features (N, D) of the training images, from pretrained weights."""
    backbone = spec.model.backbone
    module, normalization = build_backbone(spec, classes, None), normalization_for(spec)
    if backbone.type != IMPORTED:
        normalization = load_pretrained(module, source, backbone.type).normalization or normalization
    network = ClassificationNetwork(module, normalization.mean, normalization.std).eval()
    features = []
    with torch.inference_mode():
        for start in range(0, len(data), FEATURE_BATCH):
            items = [data[index] for index in range(start, min(start + FEATURE_BATCH, len(data)))]
            maps = module.forward_features(network.normalise(collate_images(items).input))  # type: ignore[operator]
            features.append(module.forward_head(maps, pre_logits=True).numpy())  # type: ignore[operator]
    return np.concatenate(features)
