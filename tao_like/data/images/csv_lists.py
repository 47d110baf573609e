"""Images listed in a CSV file."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tao_like.data.images.files import first_of, label_text, read_text, split_name
from tao_like.data.images.named import named_file
from tao_like.data.images.sample import ImageRecord
from tao_like.errors import DatasetError

# Header names are matched without regard to case, spaces, hyphens and underscores.
FILE_HEADERS = (
    *("path", "filepath", "imagepath", "imgpath", "file", "filename"),
    *("image", "imagefile", "imagename", "img", "images"),
)
LABEL_HEADERS = (
    *("label", "labels", "classname", "class", "classes"),
    *("category", "categories", "target", "tag", "tags"),
)
GROUP_HEADER = "group"
SPLIT_HEADERS = ("split", "subset", "partition")
LABEL_SEPARATOR = ";"
SURE_SEPARATORS, UNSURE_SEPARATOR = ";|", ","
AUTO, NO_SEPARATOR = "auto", "none"
_PEEKED_ROWS = 10

_YES = frozenset({"1", "1.0", "true", "yes"})
_NO = frozenset({"", "0", "0.0", "false", "no"})


@dataclass(frozen=True)
class CsvPeek:
    """What a CSV file of images says about itself.

    Attributes:
        files: The first few files that it lists, as they are written there.
        splits: Which of ``train``, ``val``, ``test`` its column ``split`` names; empty without such a column.
        has_groups: Whether it has a column ``group``.
    """

    files: tuple[str, ...]
    splits: tuple[str, ...]
    has_groups: bool


@dataclass(frozen=True)
class _Columns:
    """Indices of the columns in a row."""

    file: int
    label: int | None
    classes: Mapping[int, str]
    group: int | None
    split: int | None


@dataclass
class _Images:
    """Images read so far, by file, and what was wrong on the way."""

    csv_file: Path
    root: Path
    multi_label: bool
    found: dict[Path, tuple[int, ImageRecord]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    def add(self, line: int, name: str, labels: tuple[str, ...], group: str) -> None:
        """Takes one row; a second row of the same image must agree, or adds labels to multi-label data."""
        path = named_file(self.root, name)
        if path is None:
            self.missing.append(f"line {line}: {name}")
            return
        earlier_line, earlier = self.found.get(path, (0, None))
        if earlier is not None:
            if group != earlier.group:
                self.problems.append(f"line {line}: {name} is in another group than on line {earlier_line}")
            elif self.multi_label:
                labels = tuple(dict.fromkeys(earlier.labels + labels))
            elif labels != earlier.labels:
                here = f"line {line}: {name} is labelled {labels[0]!r}"
                self.problems.append(f"{here}, and {earlier.labels[0]!r} on line {earlier_line}")
                return
        self.found[path] = (earlier_line or line, ImageRecord(path, labels, group, self._key(path)))

    def _key(self, path: Path) -> str:
        # As relative_to and is_relative_to, at a tenth of their time.
        return path.as_posix().removeprefix(self.root.as_posix().rstrip("/") + "/")

    def records(self) -> list[ImageRecord]:
        """The images in the order of their keys; raises what was wrong."""
        if self.problems:
            raise DatasetError(
                f"{self.csv_file}: {len(self.problems)} rows cannot be used:\n{first_of(self.problems)}"
            )
        if self.missing:
            raise DatasetError(
                f"{self.csv_file}: {len(self.missing)} files are not there (relative paths start from "
                f"{self.root}; images_dir sets another folder):\n{first_of(self.missing)}"
            )
        return sorted((record for _, record in self.found.values()), key=lambda record: record.key)


def read_csv(
    csv_file: Path | str,
    images_dir: Path | str | None = None,
    *,
    multi_label: bool = False,
    split: str | None = None,
    separators: str | None = None,
) -> list[ImageRecord]:
    """Images listed in a CSV file, in the order of their keys.

    The first line names the columns: one for the file (``path``, ``file``, ``filename``, ``image``, ...) and
    either one for the label (``label``, ``class``, ``category``, ...; several labels as ``a;b``, ``a|b`` or
    ``"a, b"``) or one column a class that holds 0 or 1. Columns ``group`` (what stays together in a split)
    and ``split`` are optional; beside a label column, others are left alone. Separated by commas,
    semicolons or tabs; UTF-8.

    An image that is listed twice counts once: with the same label, or, in multi-label data, with the labels
    of all its rows.

    Args:
        csv_file: The file.
        images_dir: Where relative paths start from; by default the folder of the CSV file.
        multi_label: Whether an image may have several labels, or none.
        split: In a file with a column ``split``: reads the rows of this one (``train``, ``val`` or ``test``).
        separators: Marks between the labels of an image; None: as ``label_separators`` finds them.

    Raises:
        DatasetError: The file cannot be used; it names the file and, for each fault, the line.
    """
    csv_file = Path(csv_file)
    rows = csv_rows(csv_file)
    line, header = next(rows, (1, []))
    columns = _columns(f"{csv_file}: line {line}", header)
    root = Path(os.path.normpath(Path(images_dir or csv_file.parent).absolute()))
    images = _Images(csv_file, root, multi_label)
    listed = list(rows)
    if separators is None:
        separators = _separators_of(columns, [row for _, row in listed])
    for line, row in listed:
        problem = _row_problem(row, header, columns)
        labels: tuple[str, ...] = ()
        if problem is None:
            labels, problem = _labels(row, columns, multi_label, separators)
        if problem is not None:
            images.problems.append(f"line {line}: {problem}")
        elif split is None or columns.split is None or split_name(row[columns.split]) == split:
            group = row[columns.group].strip() if columns.group is not None else ""
            images.add(line, row[columns.file].strip(), labels, group)
    records = images.records()
    if not records:
        of_split = f" for the split {split}" if split else ""
        raise DatasetError(f"{csv_file}: no images are listed{of_split}")
    return records


def label_separators(csv_file: Path | str) -> str:
    """Marks that stand between the labels of an image in a file: ``;`` and ``|``, and perhaps the comma.

    A comma may be part of a name (``Smith, John``), so it counts only where the labels that it would give
    repeat themselves: where there are no more of them than of whole cells.

    Raises:
        DatasetError: The file cannot be read as a CSV of images.
    """
    rows = csv_rows(Path(csv_file))
    line, header = next(rows, (1, []))
    columns = _columns(f"{csv_file}: line {line}", header)
    return _separators_of(columns, [row for _, row in rows])


def _separators_of(columns: _Columns, rows: Sequence[Sequence[str]]) -> str:
    if columns.label is None:
        return SURE_SEPARATORS
    cells = {row[columns.label].strip() for row in rows if len(row) > columns.label} - {""}
    parts = {part.strip() for cell in cells for part in cell.split(UNSURE_SEPARATOR)} - {""}
    joined = any(UNSURE_SEPARATOR in cell for cell in cells)
    return SURE_SEPARATORS + (UNSURE_SEPARATOR if joined and len(parts) <= len(cells) else "")


def peek_csv(csv_file: Path | str) -> CsvPeek:
    """Reads what a CSV file of images says about itself, without looking for the files that it lists.

    Raises:
        DatasetError: The file cannot be read as a CSV of images.
    """
    csv_file = Path(csv_file)
    rows = csv_rows(csv_file)
    line, header = next(rows, (1, []))
    columns = _columns(f"{csv_file}: line {line}", header)
    whole = [row for _, row in rows if len(row) >= len(header)]
    named = {split_name(row[columns.split]) for row in whole} if columns.split is not None else set()
    return CsvPeek(
        files=tuple(row[columns.file].strip() for row in whole[:_PEEKED_ROWS]),
        splits=tuple(name for name in ("train", "val", "test") if name in named),
        has_groups=columns.group is not None,
    )


def csv_rows(csv_file: Path) -> Iterator[tuple[int, list[str]]]:
    """Line number and cells of each row that is not blank, the header first. Raises DatasetError."""
    text = read_text(csv_file, "a CSV file")
    header = next((line for line in text.splitlines() if line.strip()), "")
    delimiter = max(",;\t", key=header.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                yield reader.line_num, row
    except csv.Error as error:
        raise DatasetError(f"{csv_file}: line {reader.line_num}: not valid CSV ({error})") from error


def plain_header(header: str) -> str:
    """A column's name as it is compared: without regard to case, blanks, hyphens and underscores."""
    return "".join(char for char in header.lower() if char not in " _-")


def _columns(source: str, header: Sequence[str]) -> _Columns:
    names = [plain_header(name) for name in header]
    file = _first_index(names, FILE_HEADERS)
    if file is None:
        raise DatasetError(
            f"{source}: no column names the image (found: {', '.join(map(repr, header)) or 'nothing'}). "
            "The first line must name the columns, for instance: path,label"
        )
    group = _first_index(names, (GROUP_HEADER,))
    split = _first_index(names, SPLIT_HEADERS)
    label = _first_index(names, LABEL_HEADERS)
    # A column without a name is the row number that pandas writes.
    others = [index for index, name in enumerate(names) if name and index not in (file, group, split)]
    classes = {} if label is not None else {index: label_text(header[index].strip()) for index in others}
    if label is None and not classes:
        raise DatasetError(f"{source}: no column for the label; add one named label, or one column a class")
    if len(set(classes.values())) < len(classes):
        raise DatasetError(f"{source}: two columns have the same name (found: {', '.join(header)})")
    return _Columns(file, label, classes, group, split)


def _parts(cell: str, separators: str) -> list[str]:
    return re.split(f"[{re.escape(separators)}]", cell) if separators else [cell]


def _first_index(names: Sequence[str], wanted: Sequence[str]) -> int | None:
    return next((names.index(name) for name in wanted if name in names), None)


def _row_problem(row: Sequence[str], header: Sequence[str], columns: _Columns) -> str | None:
    surplus = row[len(header) :]
    if len(row) < len(header) or any(cell.strip() for cell in surplus):
        return f"{len(row)} cells for {len(header)} columns (a cell that holds the separator needs quotes)"
    if not row[columns.file].strip():
        return "no file is named"
    if columns.split is not None and split_name(row[columns.split]) is None:
        return f"split {row[columns.split]!r} is not train, val or test"
    return None


def _labels(
    row: Sequence[str], columns: _Columns, multi_label: bool, separators: str
) -> tuple[tuple[str, ...], str | None]:
    """The labels of a row, and what is wrong with them."""
    if columns.label is not None:
        cells = (label_text(cell.strip()) for cell in _parts(row[columns.label], separators))
        labels = tuple(dict.fromkeys(cell for cell in cells if cell))
    else:
        for column, name in columns.classes.items():
            if row[column].strip().lower() not in _YES | _NO:
                return (), (
                    f"column {name!r} holds {row[column]!r}; without a column named label, each column is a "
                    "class and holds 0 or 1"
                )
        labels = tuple(
            name for column, name in columns.classes.items() if row[column].strip().lower() in _YES
        )
    if multi_label or len(labels) == 1:
        return labels, None
    if not labels:
        return (), "no label"
    several = LABEL_SEPARATOR.join(labels)
    return (), (
        f"{len(labels)} labels ({several}); dataset.multi_label=true allows several, and "
        "dataset.label_separator=none takes the cell for one name"
    )
