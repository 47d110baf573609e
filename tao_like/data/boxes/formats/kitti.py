"""Boxes from KITTI label files: 15 columns, or 16 with a score."""

from __future__ import annotations

import math
from pathlib import Path

from tao_like.data.boxes.annotation import Box
from tao_like.data.boxes.formats.text_files import label_lines, number_of, numbers_of
from tao_like.data.boxes.formats.yolo import looks_like_yolo
from tao_like.data.images.files import label_text
from tao_like.errors import DatasetError

DONT_CARE = "DontCare"
_NUMBERS = 14
"""Columns behind the class."""
_NO_ANGLE = -10.0


def read_kitti_file(label_file: Path, image: Path) -> tuple[list[Box], int, int]:
    """Boxes of a KITTI label file: type, truncated, occluded, alpha, left, top, right, bottom, and 3D values.

    The numbers are read from the right, so that a class may have blanks. ``DontCare`` regions become boxes to
    ignore.

    Raises:
        DatasetError: a line has another number of fields, or no numbers; the message names it.
    """
    del image
    boxes = []
    for where, fields in label_lines(label_file):
        if looks_like_yolo(fields):
            raise DatasetError(
                f"{where} has {len(fields)} numbers, and none of them is in pixels: this is YOLO, not KITTI"
            )
        label, values = _read_line(fields, where)
        left, top, right, bottom = values[3:7]
        boxes.append(Box(label_text(label), left, top, right, bottom, ignore=label == DONT_CARE))
    return boxes, 0, 0


def looks_like_kitti(fields: list[str]) -> bool:
    """Whether a line is of KITTI's form: a class and 14 or 15 numbers, and no YOLO polygon."""
    return bool(_readings(fields)) and not looks_like_yolo(fields)


def _read_line(fields: list[str], where: str) -> tuple[str, list[float]]:
    """Class and 14 numbers of a line."""
    if len(fields) <= _NUMBERS:
        raise DatasetError(f"{where} has {len(fields)} fields; a KITTI label has 15, or 16 with a score")
    readings = _readings(fields)
    if not readings:
        for text in fields[-_NUMBERS:]:
            number_of(text, where)
        raise DatasetError(f"{where}: a KITTI label has finite numbers behind its class")
    # "lane 2 0.00 0 ..." has a number in its class, or a score at its end: what its columns may hold decides.
    plausible = [reading for reading in readings if _is_plausible(reading[1])]
    label, values = (plausible or readings)[0]
    words = label.split()
    numeric = [numbers_of([word]) is not None for word in words]
    if len(words) > 1 and any(numeric) and (numeric[0] or not _is_plausible(values)):
        raise DatasetError(
            f"{where} has {len(fields)} fields; a KITTI label has 15, or 16 with a score. The class would be "
            f"{label!r}"
        )
    return label, values


def _readings(fields: list[str]) -> list[tuple[str, list[float]]]:
    """The ways to read a line: with a score at its end and without, the class of fewer words first."""
    readings = []
    for count in (_NUMBERS + 1, _NUMBERS):
        if len(fields) > count and (values := numbers_of(fields[-count:])) is not None:
            readings.append((" ".join(fields[:-count]), values[:_NUMBERS]))
    return readings


def _is_plausible(values: list[float]) -> bool:
    """Whether truncation, occlusion, both angles and the box are in the ranges that KITTI's have."""
    truncated, occluded, alpha, left, top, right, bottom = values[:7]
    return (
        (truncated == -1 or 0 <= truncated <= 1)
        and occluded in (-1, 0, 1, 2, 3)
        and _is_angle(alpha)
        and _is_angle(values[13])
        and left <= right
        and top <= bottom
    )


def _is_angle(value: float) -> bool:
    return value == _NO_ANGLE or abs(value) <= math.pi + 0.01
