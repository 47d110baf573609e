"""Boxes from YOLO label files: boxes, polygons (segments, oriented boxes) and poses."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tao_like.data.boxes.annotation import Box, around, polygon_points
from tao_like.data.boxes.formats.text_files import label_lines, number_of, numbers_of
from tao_like.data.boxes.notes import Notes
from tao_like.data.images.files import read_header
from tao_like.errors import DatasetError

LineKind = Literal["segment", "pose"]
"""What a line of more than five numbers is."""
_BOX_FIELDS = 5
_LEAST_LONG = 7
_LEAST, _MOST = -0.5, 2.0
"""Fractions of the image's sides; 2 is the highest mark of a keypoint's visibility."""
_SLACK = 0.02
_FEWEST_POSES = 5
"""Lines that are needed to tell poses from polygons of the same length."""


def looks_like_yolo(fields: Sequence[str]) -> bool:
    """Whether a line is a class number and fractions of the image's sides."""
    if len(fields) < _BOX_FIELDS or (values := numbers_of(list(fields))) is None:
        return False
    if values[0] < 0 or values[0] != int(values[0]):
        return False
    return len(fields) < _LEAST_LONG or all(_LEAST <= value <= _MOST for value in values[1:])


@dataclass
class LongLines:
    """What lines of more than five numbers look like.

    Attributes:
        lengths: how many numbers they have, the class included.
        count: of the lines.
        contained: lines whose points lie in the box that their first four numbers would be.
        spread: lines whose points take up much of that box.
        first: where the first of them stands.
    """

    lengths: set[int] = field(default_factory=set)
    count: int = 0
    contained: int = 0
    spread: int = 0
    first: str = ""

    def add(self, where: str, values: Sequence[float]) -> None:
        """Takes a line's numbers, the class first."""
        self.first = self.first or where
        self.count += 1
        self.lengths.add(len(values))
        x, y, width, height = values[1:5]
        step = 2 if len(values) % 2 else 3
        points = [
            (values[position], values[position + 1])
            for position in range(5, len(values) - 1, step)
            if values[position] or values[position + 1]
        ]
        if not points:
            self.contained += 1
            return
        left, top, right, bottom = around(points)
        self.contained += (
            left >= x - width / 2 - _SLACK
            and right <= x + width / 2 + _SLACK
            and top >= y - height / 2 - _SLACK
            and bottom <= y + height / 2 + _SLACK
        )
        self.spread += right - left >= 0.3 * width and bottom - top >= 0.3 * height

    def kind(self) -> LineKind:
        """Polygons or poses. Raises DatasetError where too few lines can be read as both."""
        if any(length % 2 == 0 for length in self.lengths):
            return "pose"
        fits = self.contained >= 0.95 * self.count and self.spread >= 0.5 * self.count
        if len(self.lengths) > 1 or not fits:
            return "segment"
        if self.count >= _FEWEST_POSES:
            return "pose"
        raise DatasetError(
            f"{self.first}: this line and the others of its length can be read as polygons and as poses (a "
            "box and keypoints); set format to yolo_segment or yolo_pose"
        )


def long_lines(label_files: Iterable[Path]) -> LongLines:
    """What the longer lines of all label files look like. Raises DatasetError."""
    found = LongLines()
    for label_file in label_files:
        for where, fields in label_lines(label_file):
            if len(fields) >= _LEAST_LONG and (values := numbers_of(fields)) is not None:
                found.add(where, values)
    return found


class YoloReader:
    """Reads YOLO text files: class number, then center and size, polygon or pose, as fractions of the sides.

    Args:
        classes: names in the order of the numbers.
        long_kind: what a line of more than five numbers is.
        notes: gets what was noticed.
    """

    def __init__(self, classes: Sequence[str], long_kind: LineKind, notes: Notes) -> None:
        self.classes = classes
        self.long_kind = long_kind
        self.notes = notes

    def __call__(self, label_file: Path, image: Path) -> tuple[list[Box], int, int]:
        """Boxes of an image, its width and its height. Raises DatasetError."""
        header = read_header(image)
        boxes = [
            self._box(where, fields, header.width, header.height) for where, fields in label_lines(label_file)
        ]
        if any(box.segmentation for box in boxes):
            message = "{count} label files hold polygons; the box around each is used"
            self.notes.add("info", "polygons", message, [label_file])
        return boxes, header.width, header.height

    def _box(self, where: str, fields: list[str], width: int, height: int) -> Box:
        label = self.classes[self._class(fields[0], where)]
        values = [number_of(text, where) for text in fields[1:]]
        self._check_count(where, fields)
        if len(fields) == _BOX_FIELDS or self.long_kind == "pose":
            x, y, across, down = values[:4]
            return Box(
                label,
                (x - across / 2) * width,
                (y - down / 2) * height,
                (x + across / 2) * width,
                (y + down / 2) * height,
            )
        points = [(x * width, y * height) for x, y in polygon_points(values)]
        outline = [side for point in points for side in point]
        return Box(label, *around(points), segmentation=[outline])

    def _check_count(self, where: str, fields: list[str]) -> None:
        count = len(fields)
        of_polygon = count >= _LEAST_LONG and count % 2 == 1
        of_pose = count >= _LEAST_LONG and ((count - _BOX_FIELDS) % 2 == 0 or (count - _BOX_FIELDS) % 3 == 0)
        if count == _BOX_FIELDS or (of_pose if self.long_kind == "pose" else of_polygon):
            return
        hint = " (6 are a prediction with its confidence)" if count == _BOX_FIELDS + 1 else ""
        raise DatasetError(
            f"{where} has {count} fields{hint}; a YOLO label has 5: class, center x, center y, width, "
            "height; or a class and a polygon's corners"
        )

    def _class(self, text: str, where: str) -> int:
        value = number_of(text, where)
        if not math.isfinite(value) or value != int(value):
            raise DatasetError(f"{where}: the class is {text!r}; YOLO labels name it by a whole number")
        number = int(value)
        if not 0 <= number < len(self.classes):
            raise DatasetError(
                f"{where}: there is no class {number}; the classes are 0 to {len(self.classes) - 1}"
            )
        return number
