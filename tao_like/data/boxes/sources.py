"""One way into all formats of boxes: what a user gives as a source becomes records."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from tao_like.data.boxes.annotation import BoxRecord
from tao_like.data.boxes.class_lists import YAML_SUFFIXES, class_list_of, read_yaml, yolo_classes
from tao_like.data.boxes.folders import Reader, read_label_folder
from tao_like.data.boxes.formats.class_masks import read_class_masks, read_label_map
from tao_like.data.boxes.formats.coco import coco_classes, read_coco
from tao_like.data.boxes.formats.csv_boxes import read_csv_boxes
from tao_like.data.boxes.formats.cvat import cvat_classes, is_cvat, read_cvat
from tao_like.data.boxes.formats.kitti import read_kitti_file
from tao_like.data.boxes.formats.labelme import LabelMeReader
from tao_like.data.boxes.formats.panoptic import panoptic_regions, read_panoptic
from tao_like.data.boxes.formats.recognition import files_of_images, recognise_folder
from tao_like.data.boxes.formats.voc import read_voc_file
from tao_like.data.boxes.formats.yolo import LineKind, YoloReader, long_lines
from tao_like.data.boxes.names import ImageNames, read_names
from tao_like.data.boxes.notes import Notes
from tao_like.data.images.unreadable import UnreadableImages
from tao_like.errors import DatasetError

JSON_FORMATS = ("coco", "coco_panoptic", "ade")
"""Formats whose annotations are one JSON file: ``json_file``."""
YOLO_FORMATS = ("yolo", "yolo_segment", "yolo_pose")
ONE_FILE_FORMATS = ("csv", "cvat")
"""Formats whose labels are one file for many images: ``label_file``."""


@dataclass(frozen=True)
class BoxSource:
    """Where images and their boxes are.

    Attributes:
        image_dir: folder of the images.
        json_file: COCO annotations.
        label_dir: folder of VOC, KITTI, YOLO or LabelMe label files.
        label_file: a CSV file of boxes, or CVAT's XML.
        format: ``auto``: by what the files are.
        list_file: names of the images to take; None: all.
        classes_file: names of YOLO's class numbers.
        panoptic_dir: of format ``coco_panoptic``, whose JSON is ``json_file``: folder of the PNG files.
        label_map: of format ``ade``, whose JSON lines are ``json_file``: names of the masks' values.
    """

    image_dir: Path | None = None
    json_file: Path | None = None
    label_dir: Path | None = None
    format: str = "auto"
    list_file: Path | None = None
    classes_file: Path | None = None
    label_file: Path | None = None
    panoptic_dir: Path | None = None
    label_map: Path | None = None


def read_boxes(
    source: BoxSource,
    key: str,
    notes: Notes | None = None,
    unreadable: UnreadableImages | None = None,
    *,
    keep_segmentation: bool = True,
) -> list[BoxRecord]:
    """The records of a source.

    Args:
        source: where they are.
        key: of the spec, for messages, such as ``dataset.train_data_sources[0]``.
        notes: gets what was decided and noticed.
        unreadable: gets images that cannot be read, which are left out; None: they stay, and the first
            whose size is needed raises an error.
        keep_segmentation: keep the outlines of objects; polygons of a large data set take gigabytes.

    Raises:
        DatasetError: something is missing or cannot be read; the message names the key and the file.
    """
    notes = Notes() if notes is None else notes
    try:
        records = _read(settled(source, notes), notes, unreadable)
    except DatasetError as error:
        # Where no key is known, the place stands for it, and the message begins with that already.
        told = str(error)
        raise DatasetError(told if told.startswith(key) else f"{key}: {told}") from error
    return records if keep_segmentation else [_without_outlines(record) for record in records]


def settled(source: BoxSource, notes: Notes) -> BoxSource:
    """The source with its format decided: by json_file or label_file, else by all of its label files.

    Raises:
        DatasetError: there are no label files that are known.
    """
    if source.format != "auto":
        return source
    return replace(source, format=_recognised(source, notes))


def recognise(source: BoxSource) -> str:
    """The format of a source. Raises DatasetError."""
    return settled(source, Notes()).format


def _recognised(source: BoxSource, notes: Notes) -> str:
    if source.json_file is not None:
        return "coco"
    if source.label_file is not None:
        return "cvat" if is_cvat(source.label_file) else "csv"
    folder = source.label_dir
    if folder is None:
        raise DatasetError(
            "neither json_file (COCO) nor label_dir (VOC, KITTI, YOLO, LabelMe) nor label_file (CSV, CVAT) "
            "is given"
        )
    if not folder.is_dir():
        raise DatasetError(f"there is no folder {folder}; give the folder of the label files")
    return recognise_folder(source.image_dir, folder, notes)


def _read(source: BoxSource, notes: Notes, unreadable: UnreadableImages | None) -> list[BoxRecord]:
    lines = read_names(source.list_file) if source.list_file else None
    kind = source.format
    if kind in JSON_FORMATS:
        if source.json_file is None:
            raise DatasetError("json_file is not given; it names the COCO annotation file")
        root = source.image_dir or source.json_file.parent
        if kind == "coco":
            records = read_coco(source.json_file, root, notes)
        elif kind == "coco_panoptic":
            records = read_panoptic(source.json_file, root, source.panoptic_dir, notes)
        else:
            records = read_class_masks(source.json_file, root, source.label_map)
        return _listed(records, lines, ImageNames(root, notes))
    if kind in ONE_FILE_FORMATS:
        if source.label_file is None:
            raise DatasetError(f"label_file is not given; format {kind} needs it")
        images = ImageNames(source.image_dir or source.label_file.parent, notes)
        read_file = read_cvat if kind == "cvat" else read_csv_boxes
        return _listed(read_file(source.label_file, images, notes), lines, images)
    if source.image_dir is None or source.label_dir is None:
        raise DatasetError(f"format {kind} needs image_dir and label_dir")
    if not source.label_dir.is_dir():
        raise DatasetError(f"there is no folder {source.label_dir}; give the folder of the label files")
    images = ImageNames(source.image_dir, notes)
    suffix, reader = _reader(source, source.label_dir, notes)
    return read_label_folder(images, source.label_dir, suffix, reader, lines, notes, unreadable)


def _reader(source: BoxSource, label_dir: Path, notes: Notes) -> tuple[str, Reader]:
    """Suffix of the label files, and what reads one."""
    plain: dict[str, tuple[str, Callable[[], Reader]]] = {
        "voc": (".xml", lambda: read_voc_file),
        "kitti": (".txt", lambda: read_kitti_file),
        "labelme": (".json", lambda: LabelMeReader(notes)),
    }
    if source.format in plain:
        suffix, make = plain[source.format]
        return suffix, make()
    classes = yolo_classes(label_dir, source.classes_file)
    return ".txt", YoloReader(classes, _long_kind(source, label_dir, notes), notes)


def _long_kind(source: BoxSource, label_dir: Path, notes: Notes) -> LineKind:
    """What YOLO's longer lines are: as the format or data.yaml says, else as all of them look."""
    if source.format == "yolo_pose":
        return "pose"
    if source.format == "yolo_segment":
        return "segment"
    found = long_lines(files_of_images(source.image_dir, label_dir, ".txt"))
    if not found.count:
        return "segment"
    described = class_list_of(label_dir, source.classes_file)
    if (
        described is not None
        and described.suffix.lower() in YAML_SUFFIXES
        and "kpt_shape" in read_yaml(described)
    ):
        kind: LineKind = "pose"
    else:
        kind = found.kind()
    what = "a box and keypoints" if kind == "pose" else "polygons"
    notes.add(
        "info",
        "long_lines",
        f"{label_dir}: {found.count} lines of more than five numbers are read as {what}; where they are not, "
        f"set format to {'yolo_segment' if kind == 'pose' else 'yolo_pose'}",
    )
    return kind


def _listed(records: list[BoxRecord], lines: list[str] | None, images: ImageNames) -> list[BoxRecord]:
    """The records of the listed images; all without a list. A listed image must be there."""
    if lines is None:
        return records
    wanted = {path.resolve() for path in images.listed(lines)}
    return [record for record in records if record.path.resolve() in wanted]


def stated_classes(source: BoxSource) -> list[str]:
    """Class names that the source lists itself, in its order, if it does. Raises DatasetError."""
    source = settled(source, Notes())
    if source.format in ("coco", "coco_panoptic") and source.json_file is not None:
        return coco_classes(source.json_file)
    if source.format == "ade" and source.label_map is not None:
        return [entry.name for entry in read_label_map(source.label_map).values()]
    if source.format == "cvat" and source.label_file is not None:
        return cvat_classes(source.label_file)
    if source.format in YOLO_FORMATS and source.label_dir is not None:
        return yolo_classes(source.label_dir, source.classes_file)
    return []


def stated_regions(source: BoxSource) -> list[str]:
    """Names of the classes that the source itself says are regions, not objects. Raises DatasetError."""
    if source.format == "coco_panoptic" and source.json_file is not None:
        return panoptic_regions(source.json_file)
    if source.format == "ade" and source.label_map is not None:
        return [entry.name for entry in read_label_map(source.label_map).values() if not entry.is_thing]
    return []


def _without_outlines(record: BoxRecord) -> BoxRecord:
    if not any(box.segmentation for box in record.boxes):
        return record
    return replace(record, boxes=tuple(box._replace(segmentation=None) for box in record.boxes))
