"""One way into all formats of boxes: what a user gives as a source becomes records."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tao_like.data.boxes.annotation import BoxRecord
from tao_like.data.boxes.coco import coco_classes, read_coco
from tao_like.data.boxes.folders import (
    read_kitti_file,
    read_label_folder,
    read_names,
    read_voc_file,
    yolo_reader,
)
from tao_like.data.images.files import label_text
from tao_like.errors import DatasetError

YOLO_NAMES = ("classes.txt", "obj.names", "names.txt")


@dataclass(frozen=True)
class BoxSource:
    """Where pictures and their boxes are.

    Attributes:
        image_dir: folder of the pictures.
        json_file: COCO annotations.
        label_dir: folder of VOC, KITTI or YOLO label files.
        format: ``auto``: by what the files are.
        list_file: names of the pictures to take; None: all.
        classes_file: names of YOLO's class numbers.
    """

    image_dir: Path | None = None
    json_file: Path | None = None
    label_dir: Path | None = None
    format: str = "auto"
    list_file: Path | None = None
    classes_file: Path | None = None


def read_boxes(source: BoxSource, key: str) -> list[BoxRecord]:
    """The records of a source.

    Args:
        source: where they are.
        key: of the spec, for messages, such as ``dataset.train_data_sources[0]``.

    Raises:
        DatasetError: something is missing or cannot be read; the message names the key and the file.
    """
    try:
        return _read(source)
    except DatasetError as error:
        raise DatasetError(f"{key}: {error}") from error


def _read(source: BoxSource) -> list[BoxRecord]:
    names = read_names(source.list_file) if source.list_file else None
    kind = recognise(source) if source.format == "auto" else source.format
    if kind == "coco":
        if source.json_file is None:
            raise DatasetError("json_file is not given; it names the COCO annotation file")
        records = read_coco(source.json_file, source.image_dir)
        return records if names is None else _listed(records, set(names))
    if source.image_dir is None or source.label_dir is None:
        raise DatasetError(f"format {kind} needs image_dir and label_dir")
    if not source.label_dir.is_dir():
        raise DatasetError(f"there is no folder {source.label_dir}; give the folder of the label files")
    if kind == "voc":
        return read_label_folder(source.image_dir, source.label_dir, ".xml", read_voc_file, names)
    if kind == "kitti":
        return read_label_folder(source.image_dir, source.label_dir, ".txt", read_kitti_file, names)
    reader = yolo_reader(yolo_classes(source))
    return read_label_folder(source.image_dir, source.label_dir, ".txt", reader, names)


def _listed(records: list[BoxRecord], names: set[str]) -> list[BoxRecord]:
    return [record for record in records if record.key in names or Path(record.key).stem in names]


def recognise(source: BoxSource) -> str:
    """The format of a source: by json_file, else by the label files' suffix and number of fields.

    Raises:
        DatasetError: there are no label files that are known.
    """
    if source.json_file is not None:
        return "coco"
    folder = source.label_dir
    if folder is None:
        raise DatasetError("neither json_file (COCO) nor label_dir (VOC, KITTI, YOLO) is given")
    if not folder.is_dir():
        raise DatasetError(f"there is no folder {folder}; give the folder of the label files")
    if next(folder.rglob("*.xml"), None) is not None:
        return "voc"
    for path in sorted(folder.rglob("*.txt")):
        if path.name in YOLO_NAMES:
            continue
        fields = path.read_text("utf-8-sig", errors="replace").split("\n", 1)[0].split()
        if fields:
            return "yolo" if len(fields) == 5 else "kitti"
    raise DatasetError(f"{folder} holds no label files: .xml (VOC) or .txt (KITTI, YOLO)")


def yolo_classes(source: BoxSource) -> list[str]:
    """Class names of YOLO labels: of ``classes_file``, or of classes.txt beside the labels.

    Raises:
        DatasetError: there is no such file.
    """
    folder = source.label_dir or Path()
    candidates = [source.classes_file] if source.classes_file else []
    candidates += [place / name for place in (folder, *folder.parents[:2]) for name in YOLO_NAMES]
    for path in candidates:
        if path.is_file():
            return [
                label_text(line.strip()) for line in path.read_text("utf-8-sig").splitlines() if line.strip()
            ]
    raise DatasetError(
        f"YOLO labels name classes by number; give classes_file, or put classes.txt into {folder}"
    )


def stated_classes(source: BoxSource) -> list[str]:
    """Class names that the source lists itself, in its order, if it does. Raises DatasetError."""
    kind = recognise(source) if source.format == "auto" else source.format
    if kind == "coco" and source.json_file is not None:
        return coco_classes(source.json_file)
    return yolo_classes(source) if kind == "yolo" else []
