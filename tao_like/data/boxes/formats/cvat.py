"""Boxes from CVAT's own XML ("CVAT for images")."""

from __future__ import annotations

import math
from pathlib import Path
from xml.etree import ElementTree

from tao_like.data.boxes.annotation import Box, BoxRecord, around, labels_of
from tao_like.data.boxes.formats.text_files import number_of, side_of
from tao_like.data.boxes.formats.voc import read_xml
from tao_like.data.boxes.names import ImageNames, plain_name
from tao_like.data.boxes.notes import Notes
from tao_like.data.images.files import label_text
from tao_like.errors import DatasetError

_WITHOUT_BOX = ("points", "polyline", "tag", "skeleton", "cuboid")


def is_cvat(path: Path) -> bool:
    """Whether a file is XML of CVAT's. Raises DatasetError where it is XML that cannot be read."""
    return path.suffix.lower() == ".xml" and path.is_file() and read_xml(path).tag == "annotations"


def read_cvat(label_file: Path, images: ImageNames, notes: Notes) -> list[BoxRecord]:
    """Reads images and boxes in the order of the file; of polygons, ellipses and masks the box around them.

    Raises:
        DatasetError: the file is missing, or not "CVAT for images".
    """
    records = []
    for image in _root(label_file).iter("image"):
        name = image.get("name") or ""
        where = f"{label_file}: image {name or image.get('id')}"
        if not name:
            raise DatasetError(f"{where} has no name")
        boxes = []
        for item in image:
            box = _box(item, where)
            if box is not None:
                boxes.append(box)
            elif item.tag in _WITHOUT_BOX:
                notes.add("info", "no_box", f"{{count}} of CVAT's {item.tag} have no box; left out", [where])
        path = images.find(name)
        records.append(
            BoxRecord(
                path=path or images.image_dir / plain_name(name),
                labels=labels_of(boxes),
                key=images.key(path) if path else plain_name(name),
                boxes=tuple(boxes),
                width=side_of(image.get("width"), f"{where}: width"),
                height=side_of(image.get("height"), f"{where}: height"),
                source=str(label_file),
            )
        )
    return records


def cvat_classes(label_file: Path) -> list[str]:
    """The labels of the project, in its order. Raises DatasetError."""
    names = (label.findtext("name") or "" for label in _root(label_file).iter("label"))
    return list(dict.fromkeys(label_text(name.strip()) for name in names if name.strip()))


def cvat_image_names(label_file: Path) -> list[str]:
    """Names of the images, as they are written. Raises DatasetError."""
    return [image.get("name") or "" for image in _root(label_file).iter("image")]


def _root(label_file: Path) -> ElementTree.Element:
    if not label_file.is_file():
        raise DatasetError(f"there is no file {label_file}; give the XML file of CVAT")
    root = read_xml(label_file)
    if root.tag != "annotations" or root.find("image") is None:
        raise DatasetError(
            f'{label_file} has no <image> in <annotations>; export from CVAT as "CVAT for images 1.1"'
        )
    return root


def _box(item: ElementTree.Element, where: str) -> Box | None:
    def number(name: str, default: str | None = None) -> float:
        return number_of(item.get(name, default), f"{where}: {item.tag}: {name}")

    label = label_text((item.get("label") or "").strip())
    if item.tag not in ("box", "polygon", "ellipse", "mask"):
        return None
    if not label:
        raise DatasetError(f"{where}: a {item.tag} has no label")
    if item.tag == "polygon":
        pairs = [pair.split(",") for pair in (item.get("points") or "").split(";") if pair.strip()]
        try:
            points = [(float(x), float(y)) for x, y in pairs]
        except ValueError as error:
            raise DatasetError(f"{where}: the points of a polygon are not pairs of numbers") from error
        if len(points) < 3:
            raise DatasetError(f"{where}: a polygon has {len(points)} points")
        return Box(label, *around(points), segmentation=[[side for point in points for side in point]])
    if item.tag == "mask":
        left, top = number("left"), number("top")
        return Box(label, left, top, left + number("width"), top + number("height"))
    if item.tag == "ellipse":
        x, y, across, down = number("cx"), number("cy"), number("rx"), number("ry")
        return Box(label, x - across, y - down, x + across, y + down)
    corners = (number("xtl"), number("ytl"), number("xbr"), number("ybr"))
    return Box(label, *_turned(corners, number("rotation", "0")))


def _turned(corners: tuple[float, float, float, float], degrees: float) -> tuple[float, float, float, float]:
    """The upright box around one that is turned about its center."""
    left, top, right, bottom = corners
    if not degrees:
        return corners
    x, y = (left + right) / 2, (top + bottom) / 2
    cosine, sine = abs(math.cos(math.radians(degrees))), abs(math.sin(math.radians(degrees)))
    across = (right - left) / 2 * cosine + (bottom - top) / 2 * sine
    down = (right - left) / 2 * sine + (bottom - top) / 2 * cosine
    return x - across, y - down, x + across, y + down
