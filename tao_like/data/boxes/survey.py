"""Finding out how a folder of images with boxes is laid out, and what its data is like."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tao_like.data.boxes.annotation import BoxRecord
from tao_like.data.boxes.formats.layouts import LAYOUTS, find_sources
from tao_like.data.boxes.notes import Notes
from tao_like.data.boxes.sources import YOLO_FORMATS, BoxSource, read_boxes, settled
from tao_like.data.images.files import check_is_folder, find_images, passed_over_notes, read_header
from tao_like.data.images.unreadable import UnreadableImages
from tao_like.data.splits.surveyed import UNSPLIT, SurveyedSplits
from tao_like.errors import DatasetError

_MOST_HEADERS = 300


@dataclass(frozen=True)
class BoxSurvey(SurveyedSplits):
    """What a look at a folder gave.

    Attributes:
        format: of the labels, in the words of ``BoxSource``.
        sources: for each split where to read it, one folder or several; the one name ``all`` for data that is
            not split.
        images: of each split.
        boxes: of each class in the training data, the most frequent first.
        width: median of the images, in pixels.
        height: likewise.
        side: median side of a box as a fraction of its image's longer side.
        most_boxes: on one image.
        notes: what was noticed, in sentences.
    """

    format: str
    sources: Mapping[str, tuple[BoxSource, ...]]
    images: Mapping[str, int]
    boxes: Mapping[str, int]
    width: int
    height: int
    side: float
    most_boxes: int
    notes: tuple[str, ...] = ()


def survey_boxes(folder: Path, classes_file: Path | None = None) -> BoxSurvey:
    """Recognises the layouts of COCO, VOC, KITTI, YOLO, CVAT, LabelImg, LabelMe and CSV, divided or not.

    Args:
        folder: with images and labels.
        classes_file: names of YOLO's class numbers; by default it is looked for beside and above the labels.

    Raises:
        DatasetError: there is no layout that is understood; the message shows those that are.
    """
    check_is_folder(folder, "images and labels")
    notes = Notes()
    sources = find_sources(folder, notes)
    if not sources:
        passed_over: list[Path] = []
        images = sum(1 for _ in find_images(folder, passed_over=passed_over))
        others = "".join(f"{message}\n" for message, _ in passed_over_notes(passed_over))
        raise DatasetError(f"{folder}: no labels of boxes were found ({images} images)\n{others}{LAYOUTS}")
    sources = {name: tuple(settled(one, notes) for one in several) for name, several in sources.items()}
    if classes_file is not None:
        sources = {
            name: tuple(
                replace(one, classes_file=classes_file) if one.format in YOLO_FORMATS else one
                for one in several
            )
            for name, several in sources.items()
        }
    return _described(sources, notes)


def _described(sources: Mapping[str, tuple[BoxSource, ...]], notes: Notes) -> BoxSurvey:
    order = [name for name in (UNSPLIT, "train", "val", "test") if name in sources]
    unreadable = UnreadableImages(decode=False)
    records = {
        name: [
            record
            for source in sources[name]
            for record in read_boxes(source, _place(source), notes, unreadable, keep_segmentation=False)
        ]
        for name in order
    }
    if unreadable.problems:
        message = "{count} images cannot be read; dataset.on_error=skip trains without them"
        notes.add("warning", "unreadable", message, list(unreadable.problems.values()))
    main = records[order[0]]
    boxes = Counter(box.label for record in main for box in record.boxes if not box.ignore)
    sizes = [_size(record) for record in main[:: max(1, -(-len(main) // _MOST_HEADERS))]]
    sizes = [size for size in sizes if size]
    if not sizes or not boxes:
        raise DatasetError(
            f"{_place(sources[order[0]][0])}: none of {len(main)} images can be read, or none has a box"
        )
    width, height = (int(np.median(side)) for side in zip(*sizes, strict=True))
    sides = [
        max(box.right - box.left, box.bottom - box.top) / max(width, height)
        for record in main
        for box in record.boxes
    ]
    return BoxSurvey(
        format=sources[order[0]][0].format,
        sources={name: sources[name] for name in order},
        images={name: len(records[name]) for name in order},
        boxes=dict(boxes.most_common()),
        width=width,
        height=height,
        side=float(np.median(sides)),
        most_boxes=max(len(record.boxes) for record in main),
        notes=tuple(finding.text() for finding in notes.findings() if finding.code != "format"),
    )


def _size(record: BoxRecord) -> tuple[int, int] | None:
    try:
        header = read_header(record.path)
    except DatasetError:
        return None
    return header.width, header.height


def _place(source: BoxSource) -> str:
    return str(source.json_file or source.label_file or source.label_dir)
