"""Boxes from a CSV file with an object a row: filename, width, height, class, xmin, ymin, xmax, ymax."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tao_like.data.boxes.annotation import Box, BoxRecord, labels_of
from tao_like.data.boxes.formats.text_files import number_of, side_of
from tao_like.data.boxes.names import ImageNames, plain_name
from tao_like.data.boxes.notes import Notes
from tao_like.data.images.csv_lists import FILE_HEADERS, LABEL_HEADERS, csv_rows, plain_header
from tao_like.data.images.files import label_text, read_header
from tao_like.errors import DatasetError

_FILES = (*FILE_HEADERS, "imageid", "frame")
_LABELS = (*LABEL_HEADERS, "labelname", "name", "objectclass")
_CORNERS = (
    ("xmin", "ymin", "xmax", "ymax"),
    ("x1", "y1", "x2", "y2"),
    ("left", "top", "right", "bottom"),
    ("xtl", "ytl", "xbr", "ybr"),
    ("bboxxmin", "bboxymin", "bboxxmax", "bboxymax"),
)
_SIZES = (
    ("x", "y", "w", "h"),
    ("left", "top", "w", "h"),
    ("bboxx", "bboxy", "bboxwidth", "bboxheight"),
    ("bboxx", "bboxy", "bboxw", "bboxh"),
)
"""Left, top, width and height; plain `width` and `height` are the image's."""
_WIDTHS, _HEIGHTS = ("width", "imagewidth", "imgwidth"), ("height", "imageheight", "imgheight")


@dataclass(frozen=True)
class _Columns:
    """Indices of the columns in a row."""

    file: int
    label: int
    sides: tuple[int, int, int, int]
    has_sizes: bool
    width: int | None
    height: int | None


@dataclass
class _Image:
    """What the rows of an image say."""

    boxes: list[Box]
    width: int
    height: int


def is_csv_of_boxes(csv_file: Path) -> bool:
    """Whether the first line of a file names the columns of boxes. Raises DatasetError."""
    _, header = next(csv_rows(csv_file), (1, []))
    return _columns(header) is not None


def csv_image_names(csv_file: Path) -> list[str]:
    """Names of the images, as they are written. Raises DatasetError."""
    rows = csv_rows(csv_file)
    columns = _columns(next(rows, (1, []))[1])
    if columns is None:
        return []
    return list(dict.fromkeys(row[columns.file].strip() for _, row in rows if len(row) > columns.file))


def read_csv_boxes(csv_file: Path, images: ImageNames, notes: Notes) -> list[BoxRecord]:
    """Reads images and boxes, in the order in which the file first names the images.

    A row without a class and corners is an image without objects. Where no corner lies beyond 1, they are
    fractions of the image's sides.

    Raises:
        DatasetError: the file cannot be used; the message names the line.
    """
    rows = csv_rows(csv_file)
    line, header = next(rows, (1, []))
    columns = _columns(header)
    if columns is None:
        raise DatasetError(
            f"{csv_file}: line {line}: the columns of boxes are not named (found: "
            f"{', '.join(header) or 'nothing'}); the first line must be like "
            "filename,width,height,class,xmin,ymin,xmax,ymax"
        )
    found: dict[str, _Image] = {}
    for line, row in rows:
        where = f"{csv_file}: line {line}"
        if len(row) < len(header):
            raise DatasetError(f"{where}: {len(row)} cells for {len(header)} columns")
        _add(row, columns, found, where)
    if not found:
        raise DatasetError(f"{csv_file}: no images are listed")
    every = [value for entry in found.values() for box in entry.boxes for value in box[1:5]]
    are_fractions = bool(every) and max(every) <= 1 and any(value != int(value) for value in every)
    if are_fractions:
        notes.add(
            "info",
            "shares",
            f"{csv_file}: no corner is beyond 1, so they are fractions of the image's sides",
        )
    return [
        _record(name, entry, images, csv_file, are_fractions=are_fractions) for name, entry in found.items()
    ]


def _add(row: Sequence[str], columns: _Columns, found: dict[str, _Image], where: str) -> None:
    name = plain_name(row[columns.file])
    if not name:
        raise DatasetError(f"{where}: no image is named")
    width, height = (
        0 if position is None else side_of(row[position].strip(), f"{where}: {side}")
        for position, side in ((columns.width, "width"), (columns.height, "height"))
    )
    entry = found.setdefault(name, _Image([], width, height))
    label = label_text(row[columns.label].strip())
    texts = [row[position].strip() for position in columns.sides]
    if not label and not any(texts):
        return
    if not label:
        raise DatasetError(f"{where}: the class is missing")
    left, top, right, bottom = (number_of(text, where) for text in texts)
    if columns.has_sizes:
        right, bottom = left + right, top + bottom
    entry.boxes.append(Box(label, left, top, right, bottom))


def _record(
    name: str, entry: _Image, images: ImageNames, csv_file: Path, *, are_fractions: bool
) -> BoxRecord:
    path = images.find(name)
    boxes = entry.boxes
    if are_fractions and path is not None:
        # The image's own size: that of the columns may be another one's.
        size = read_header(path)
        boxes = [
            Box(
                box.label,
                box.left * size.width,
                box.top * size.height,
                box.right * size.width,
                box.bottom * size.height,
            )
            for box in boxes
        ]
    return BoxRecord(
        path=path or images.image_dir / name,
        labels=labels_of(boxes),
        key=images.key(path) if path else name,
        boxes=tuple(boxes),
        width=entry.width,
        height=entry.height,
        source=str(csv_file),
    )


def _columns(header: Sequence[str]) -> _Columns | None:
    """The columns, where the header names an image, a class and four sides."""
    names = [plain_header(name) for name in header]

    def first(wanted: Sequence[str]) -> int | None:
        return next((names.index(name) for name in wanted if name in names), None)

    file, label = first(_FILES), first(_LABELS)
    sides = next((group for group in (*_CORNERS, *_SIZES) if set(group) <= set(names)), None)
    if file is None or label is None or sides is None:
        return None
    left, top, right, bottom = (names.index(name) for name in sides)
    positions = (left, top, right, bottom)
    return _Columns(file, label, positions, sides in _SIZES, first(_WIDTHS), first(_HEIGHTS))
