"""The check of classification data: files, counts, pictures in two splits, and likely wrong labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import chain
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import numpy as np
import torch

from tao_like.contract.task import DataReport
from tao_like.data.checks.contact_sheet import WRONG, Tile, class_overview, contact_sheet, in_rows
from tao_like.data.checks.findings import Finding
from tao_like.data.checks.images import full_check, quick_check
from tao_like.data.checks.wrong_labels import Suspect, likely_wrong_labels
from tao_like.data.images.readers import ImageRecord
from tao_like.networks.backbones.names import IMPORTED
from tao_like.networks.weights.loading import available_offline, load_pretrained
from tao_like.plots.datasets import draw_label_histogram
from tao_like.tasks.classification.backbone import build_backbone
from tao_like.tasks.classification.model import ClassificationNetwork
from tao_like.tasks.classification.source import SPLITS

if TYPE_CHECKING:
    from tao_like.tasks.classification.task import ClassificationTask

MAX_FEATURE_PICTURES = 3000
"""More pictures than this are not searched for wrong labels: it would take longer than people wait."""
FEATURE_BATCH = 32
COLUMNS = 8


def check_data(
    task: ClassificationTask, *, full: bool, on_progress: Callable[[int, int], None] | None
) -> DataReport:
    """Checks all splits; fully with decoding, contact sheet and the search for wrong labels."""
    records: dict[str, list[ImageRecord]] = {
        split: task.images.records(split) for split in SPLITS if task.has_split(split)
    }
    if not full:
        checked = quick_check(records, task.classes, multi_label=task.multi_label)
        return DataReport(list(checked.findings), checked.to_dict())
    checked = full_check(records, task.classes, multi_label=task.multi_label, on_progress=on_progress)
    report = DataReport(list(checked.findings), checked.to_dict())
    labels = {split: Counter(chain(*(record.labels for record in records[split]))) for split in records}
    counts = {split: {name: counted[name] for name in task.classes} for split, counted in labels.items()}
    report.pictures["labels"] = draw_label_histogram(counts, "pictures")
    limit = task.spec.dataset_check.max_pictures
    if limit:
        columns = min(COLUMNS, max(1, limit // max(1, len(task.classes))))
        report.pictures["contact_sheet"] = class_overview(records["train"], task.classes, columns=columns)
    unreadable = any(finding.code in ("corrupt", "empty") for finding in report.errors)
    if task.spec.dataset_check.likely_wrong_labels and not task.multi_label and not unreadable:
        _add_suspects(task, report, limit)
    return report


def _add_suspects(task: ClassificationTask, report: DataReport, limit: int) -> None:
    """Looks for training pictures whose neighbours bear another label."""
    backbone = task.spec.model.backbone
    imported = backbone.type == IMPORTED
    source = backbone.pretrained_backbone_path or (None if imported else available_offline(backbone.type))
    records = task.images.records("train")
    if source is None or len(records) > MAX_FEATURE_PICTURES:
        reason = (
            "no pretrained weights are at hand" if source is None else f"there are {len(records)} pictures"
        )
        report.findings.append(
            Finding("info", "wrong_labels_skipped", f"likely wrong labels were not looked for: {reason}")
        )
        return
    suspects = likely_wrong_labels(_features(task, source), [record.labels[0] for record in records])
    if not suspects:
        return
    files = tuple(f"{records[s.index].key}: {s.label}, or {s.suggested}?" for s in suspects)
    count = "1 training picture looks" if len(suspects) == 1 else f"{len(suspects)} training pictures look"
    report.findings.append(
        Finding(
            "warning",
            "likely_wrong_labels",
            f"{count} like another class than the label says; see likely_wrong_labels.png",
            files,
        )
    )
    if limit:
        tiles = [_suspect_tile(task, suspect) for suspect in suspects[:limit]]
        report.pictures["likely_wrong_labels"] = contact_sheet(in_rows(tiles), title="Labels to look at")


def _suspect_tile(task: ClassificationTask, suspect: Suspect) -> Tile:
    sample = task.dataset("train").sample(suspect.index)
    return Tile(
        sample.data, f"{suspect.label}, or {suspect.suggested}?\n{PurePosixPath(sample.key).name}", WRONG
    )


def _features(task: ClassificationTask, source: str) -> np.ndarray:
    """Pooled features (N, D) of the training pictures, from pretrained weights."""
    backbone = task.spec.model.backbone
    module, normalisation = build_backbone(task), task.normalisation
    if backbone.type != IMPORTED:
        normalisation = load_pretrained(module, source, backbone.type).normalisation or normalisation
    network = ClassificationNetwork(module, normalisation.mean, normalisation.std).eval()
    dataset = task.dataset("train")
    features = []
    with torch.inference_mode():
        for start in range(0, len(dataset), FEATURE_BATCH):
            items = [dataset[index] for index in range(start, min(start + FEATURE_BATCH, len(dataset)))]
            maps = module.forward_features(network.normalise(task.collate(items).inputs))  # type: ignore[operator]
            features.append(module.forward_head(maps, pre_logits=True).numpy())  # type: ignore[operator]
    return np.concatenate(features)
