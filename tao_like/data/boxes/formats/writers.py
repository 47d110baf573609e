"""Writing boxes in another format. Images stay where they are; label files name them as before."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from tao_like.data.boxes.annotation import BoxRecord
from tao_like.data.boxes.formats.kitti import DONT_CARE
from tao_like.data.boxes.sizes import image_size
from tao_like.errors import DatasetError
from tao_like.tracking.files import atomic_path, terminal_text

WRITTEN_FORMATS = ("coco", "voc", "kitti", "yolo")
COCO_FILE, LABEL_FOLDER, YOLO_CLASSES = "labels.json", "labels", "classes.txt"

Lost = Counter[str]
"""What the target format cannot hold, in words, and how often."""


def write_boxes(
    records: Sequence[BoxRecord], classes: Sequence[str], kind: str, folder: Path
) -> tuple[Path, Lost]:
    """Writes the boxes of all records.

    Args:
        records: of one source.
        classes: class names, for the numbers of COCO (from 1) and YOLO (from 0).
        kind: one of ``WRITTEN_FORMATS``.
        folder: gets ``labels.json``, or a folder ``labels`` with a file for each image.

    Returns:
        The JSON file or the folder, and what the format cannot hold.

    Raises:
        DatasetError: two images would share a label file, or an image cannot be read.
    """
    lost: Lost = Counter()
    sizes = {record.path: image_size(record) for record in records}
    if kind == "coco":
        target = folder / COCO_FILE
        _write(target, json.dumps(_coco(records, classes, sizes)))
        return target, lost
    target = folder / LABEL_FOLDER
    suffix, text_of = _TEXTS[kind]
    written: set[str] = set()
    for record in records:
        name = Path(record.key).with_suffix(suffix).as_posix()
        if name in written:
            raise DatasetError(
                f"{record.key}: another image has the label file {name} too; rename one of them"
            )
        written.add(name)
        _write(target / name, text_of(record, classes, sizes[record.path], lost))
    if kind == "yolo":
        _write(target / YOLO_CLASSES, "".join(f"{name}\n" for name in classes))
    return target, lost


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _coco(
    records: Sequence[BoxRecord], classes: Sequence[str], sizes: Mapping[Path, tuple[int, int]]
) -> dict[str, Any]:
    names = [*classes, *sorted({box.label for record in records for box in record.boxes} - set(classes))]
    numbers = {name: number for number, name in enumerate(names, start=1)}
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, record in enumerate(records, start=1):
        width, height = sizes[record.path]
        images.append({"id": number, "file_name": record.key, "width": width, "height": height})
        for box in record.boxes:
            sides = (box.right - box.left, box.bottom - box.top)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": numbers[box.label],
                    "bbox": [box.left, box.top, *sides],
                    "area": box.area or sides[0] * sides[1],
                    "iscrowd": int(box.crowd),
                    "ignore": int(box.ignore),
                }
            )
    categories = [{"id": number, "name": name} for name, number in numbers.items()]
    return {"images": images, "annotations": annotations, "categories": categories}


def _voc_text(record: BoxRecord, classes: Sequence[str], size: tuple[int, int], lost: Lost) -> str:
    del classes
    root = ElementTree.Element("annotation")
    ElementTree.SubElement(root, "filename").text = terminal_text(Path(record.key).name)
    measures = ElementTree.SubElement(root, "size")
    for name, value in zip(("width", "height", "depth"), (*size, 3), strict=True):
        ElementTree.SubElement(measures, name).text = str(value)
    for box in record.boxes:
        lost["crowds, written as difficult"] += box.crowd
        item = ElementTree.SubElement(root, "object")
        ElementTree.SubElement(item, "name").text = box.label
        ElementTree.SubElement(item, "difficult").text = str(int(box.ignore or box.crowd))
        corners = ElementTree.SubElement(item, "bndbox")
        sides = (box.left + 1, box.top + 1, box.right, box.bottom)
        for name, side in zip(("xmin", "ymin", "xmax", "ymax"), sides, strict=True):
            ElementTree.SubElement(corners, name).text = _number(side)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode") + "\n"


def _kitti_text(record: BoxRecord, classes: Sequence[str], size: tuple[int, int], lost: Lost) -> str:
    del classes, size
    lines = []
    for box in record.boxes:
        lost["crowds, written as DontCare"] += box.crowd
        lost["blanks in class names, written as _"] += " " in box.label
        left_out = box.ignore or box.crowd
        label = DONT_CARE if left_out else box.label.replace(" ", "_")
        corners = " ".join(_number(value) for value in box[1:5])
        lines.append(
            f"{label} {'-1 -1' if left_out else '0.00 0'} -10 {corners} -1 -1 -1 -1000 -1000 -1000 -10\n"
        )
    return "".join(lines)


def _yolo_text(record: BoxRecord, classes: Sequence[str], size: tuple[int, int], lost: Lost) -> str:
    numbers = {name: number for number, name in enumerate(classes)}
    lines = []
    for box in record.boxes:
        left_out = box.crowd or box.ignore
        lost["crowds and regions to ignore, left out"] += left_out
        if left_out or box.label not in numbers:
            continue
        values = (
            (box.left + box.right) / 2 / size[0],
            (box.top + box.bottom) / 2 / size[1],
            (box.right - box.left) / size[0],
            (box.bottom - box.top) / size[1],
        )
        lines.append(f"{numbers[box.label]} {' '.join(f'{value:.9g}' for value in values)}\n")
    return "".join(lines)


def _number(value: float) -> str:
    """As short as it can be read back, without an exponent."""
    return f"{value:.6f}".rstrip("0").rstrip(".")


TextOf = Callable[[BoxRecord, Sequence[str], tuple[int, int], Lost], str]
_TEXTS: Mapping[str, tuple[str, TextOf]] = {
    "voc": (".xml", _voc_text),
    "kitti": (".txt", _kitti_text),
    "yolo": (".txt", _yolo_text),
}
