"""Boxes from a folder with a text or XML file for each picture: Pascal VOC, KITTI, YOLO."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from xml.etree import ElementTree

from tao_like.data.boxes.annotation import Box, BoxRecord, labels_of
from tao_like.data.images.files import find_images, label_text, read_header
from tao_like.errors import DatasetError
from tao_like.runtime.inputs.image import IMAGE_SUFFIXES

DONT_CARE = "DontCare"
_KITTI_FIELDS = (15, 16)
_YOLO_FIELDS = 5

Reader = Callable[[Path, Path], tuple[list[Box], int, int]]
"""From a label file and its picture to boxes, and the picture's width and height (0: not stated)."""


def read_label_folder(
    image_dir: Path, label_dir: Path, suffix: str, read: Reader, names: Sequence[str] | None
) -> list[BoxRecord]:
    """Reads a folder of pictures whose labels lie in files of the same name.

    A picture without a label file has no boxes, unless ``names`` lists it: then the file must be there.

    Args:
        image_dir: pictures, nested ones too.
        label_dir: label files, in the same folders as their pictures.
        suffix: of label files, such as ``.xml``.
        read: reads one of them.
        names: pictures to take, without suffix; None: all.

    Raises:
        DatasetError: a folder or a listed picture is missing, no label file belongs to any picture, or one
            cannot be read.
    """
    records = []
    labelled = 0
    for path in _pictures(image_dir, names):
        label_file = label_dir / path.relative_to(image_dir).with_suffix(suffix)
        boxes: list[Box] = []
        width = height = 0
        if label_file.is_file():
            labelled += 1
            boxes, width, height = read(label_file, path)
        elif names is not None:
            raise DatasetError(f"{path} is listed, but its label file {label_file} is not there")
        key = path.relative_to(image_dir).as_posix()
        records.append(
            BoxRecord(path, labels_of(boxes), "", key, tuple(boxes), width, height, str(label_file))
        )
    if records and not labelled:
        raise DatasetError(
            f"none of the {len(records)} pictures in {image_dir} has a label file in {label_dir}; the first "
            f"would be {label_dir / records[0].key} with the suffix {suffix}"
        )
    return records


def read_names(list_file: Path) -> list[str]:
    """Names of pictures, one a line, as VOC's ``ImageSets/Main`` has them; a second word is left out.

    Raises:
        DatasetError: the file is missing or empty.
    """
    if not list_file.is_file():
        raise DatasetError(f"there is no file {list_file}; give a text file with a picture's name a line")
    lines = list_file.read_text("utf-8-sig").splitlines()
    names = [line.split()[0] for line in lines if line.split()]
    if not names:
        raise DatasetError(f"{list_file} is empty; give a picture's name a line")
    return names


def _pictures(image_dir: Path, names: Sequence[str] | None) -> Iterator[Path]:
    if not image_dir.is_dir():
        raise DatasetError(f"there is no folder {image_dir}; give the folder of the pictures")
    found = sorted(find_images(image_dir))
    if not found:
        raise DatasetError(f"{image_dir} holds no pictures")
    if names is None:
        yield from found
        return
    by_name = {path.relative_to(image_dir).as_posix(): path for path in found}
    by_name |= {path.relative_to(image_dir).with_suffix("").as_posix(): path for path in found}
    for name in names:
        if name not in by_name:
            suffixes = ", ".join(sorted(IMAGE_SUFFIXES))
            raise DatasetError(f"the listed picture {name} is not in {image_dir} (with one of {suffixes})")
        yield by_name[name]


def read_voc_file(label_file: Path, picture: Path) -> tuple[list[Box], int, int]:
    """Boxes of a Pascal VOC XML file. Columns and rows count from 1, and the last belongs to the box.

    A box of a single pixel is no object but a slip: it comes out without an area.

    Raises:
        DatasetError: the file is no such XML; the message names it.
    """
    del picture
    try:
        root = ElementTree.parse(label_file).getroot()
    except ElementTree.ParseError as error:
        raise DatasetError(f"{label_file} is not valid XML: {error}") from error
    boxes = []
    for number, item in enumerate(root.iter("object"), start=1):
        where = f"{label_file}: object {number}"
        name = (item.findtext("name") or "").strip()
        corners = item.find("bndbox")
        if not name or corners is None:
            raise DatasetError(f"{where} has no name or no bndbox")
        left, top, right, bottom = (
            _float(corners.findtext(side), f"{where}: {side}") for side in ("xmin", "ymin", "xmax", "ymax")
        )
        difficult = (item.findtext("difficult") or "0").strip() == "1"
        offset = 0 if (left, top) == (right, bottom) else 1
        boxes.append(Box(label_text(name), left - offset, top - offset, right, bottom, ignore=difficult))
    size = root.find("size")
    width, height = (
        int(_float(size.findtext(side) or "0", f"{label_file}: size")) if size is not None else 0
        for side in ("width", "height")
    )
    return boxes, width, height


def read_kitti_file(label_file: Path, picture: Path) -> tuple[list[Box], int, int]:
    """Boxes of a KITTI label file: type, truncated, occluded, alpha, left, top, right, bottom, and 3D values.

    ``DontCare`` regions become boxes to ignore.

    Raises:
        DatasetError: a line has another number of fields, or no numbers; the message names it.
    """
    del picture
    boxes = []
    for where, fields in _lines(label_file):
        if len(fields) not in _KITTI_FIELDS:
            raise DatasetError(f"{where} has {len(fields)} fields; a KITTI label has 15, or 16 with a score")
        left, top, right, bottom = (_float(value, where) for value in fields[4:8])
        boxes.append(Box(label_text(fields[0]), left, top, right, bottom, ignore=fields[0] == DONT_CARE))
    return boxes, 0, 0


def yolo_reader(classes: Sequence[str]) -> Reader:
    """A reader of YOLO text files: class number, then centre and size as shares of the picture's sides.

    Args:
        classes: names in the order of the numbers.
    """

    def read(label_file: Path, picture: Path) -> tuple[list[Box], int, int]:
        header = read_header(picture)
        boxes = []
        for where, fields in _lines(label_file):
            if len(fields) != _YOLO_FIELDS:
                raise DatasetError(
                    f"{where} has {len(fields)} fields; a YOLO label has 5: class, centre x, centre y, "
                    "width, height"
                )
            number = int(_float(fields[0], where))
            if not 0 <= number < len(classes):
                raise DatasetError(
                    f"{where}: there is no class {number}; the classes are 0 to {len(classes) - 1}"
                )
            x, y, width, height = (_float(value, where) for value in fields[1:])
            boxes.append(
                Box(
                    classes[number],
                    (x - width / 2) * header.width,
                    (y - height / 2) * header.height,
                    (x + width / 2) * header.width,
                    (y + height / 2) * header.height,
                )
            )
        return boxes, header.width, header.height

    return read


def _lines(label_file: Path) -> Iterator[tuple[str, list[str]]]:
    """Each line that is not empty: where it stands, and its fields."""
    try:
        text = label_file.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DatasetError(f"{label_file} is no text file") from error
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            yield f"{label_file}:{number}", line.split()


def _float(text: str | None, where: str) -> float:
    try:
        return float(text or "")
    except ValueError as error:
        raise DatasetError(f"{where}: {text!r} is not a number") from error
