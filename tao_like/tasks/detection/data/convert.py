"""The labels of all data sources in another format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tao_like.config.writing.annotated import AnnotatedValue, annotated_yaml
from tao_like.contract.sample import SPLITS
from tao_like.data.boxes.checks import SizeFaults
from tao_like.data.boxes.formats.writers import write_boxes
from tao_like.errors import SpecError
from tao_like.tasks.detection.data.source import LabelledBoxes


def convert_labels(data: LabelledBoxes, kind: str, folder: Path) -> tuple[dict[str, Any], list[str], str]:
    """Writes ``<split>_<number>`` for each data source.

    Args:
        data: the sources.
        kind: the format to write.
        folder: where to write.

    Returns:
        What was written, as JSON, lines that say so, and the part of a spec that names it.
    """
    report: dict[str, Any] = {"format": kind, "sources": []}
    lines = []
    values = []
    for split in SPLITS:
        entries = []
        for number, source in enumerate(data.named(split)):
            records = data.records_of(split, number)
            target, lost = write_boxes(records, data.classes, kind, folder / f"{split}_{number}")
            root = source.image_dir or str(Path(str(source.json_file or source.label_file)).parent)
            sizes = SizeFaults()
            for record in records:
                sizes.size_of(record)
            entries.append({"image_dir": root, "json_file" if kind == "coco" else "label_dir": str(target)})
            boxes = sum(len(record.boxes) for record in records)
            lost_words = {what: count for what, count in lost.items() if count}
            report["sources"].append(
                {
                    "labels": str(target),
                    "pictures": len(records),
                    "boxes": boxes,
                    "not_held": lost_words,
                    "findings": [finding.to_dict() for finding in sizes.findings()],
                }
            )
            lines.append(f"{target}: {boxes} boxes on {len(records)} images")
            lines += [f"  {kind} cannot hold: {count} {what}" for what, count in lost_words.items()]
            lines += [f"  {finding.text()}" for finding in sizes.findings()]
        if entries:
            values.append(AnnotatedValue(f"dataset.{split}_data_sources", entries))
    if not values:
        raise SpecError("dataset.train_data_sources is not given; it names the images and boxes to convert")
    return report, lines, annotated_yaml(values)
