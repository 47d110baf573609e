"""Reading images with their labels: class folders, or a CSV file."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

from tao_like.data.images.class_folders import ClassFolders, read_class_folders, scan_class_folders
from tao_like.data.images.csv_lists import CsvPeek, peek_csv, read_csv
from tao_like.data.images.files import first_of, label_text, read_text
from tao_like.data.images.sample import ImageRecord
from tao_like.errors import DatasetError

__all__ = [
    "ClassFolders",
    "CsvPeek",
    "ImageRecord",
    "class_names",
    "peek_csv",
    "read_class_folders",
    "read_class_list",
    "read_csv",
    "read_records",
    "scan_class_folders",
]


def read_records(
    images_dir: Path | str | None = None,
    csv_file: Path | str | None = None,
    *,
    multi_label: bool = False,
    group_column: str | None = None,
    split: str | None = None,
    training: bool = True,
    key: str = "images_dir",
) -> list[ImageRecord]:
    """Images of a CSV file where one is given, else of class folders; in the order of their keys.

    Args:
        images_dir: Folder of class folders; with ``csv_file``: where its relative paths start from.
        csv_file: CSV file, see ``read_csv``.
        multi_label: Whether an image may have several labels, or none.
        group_column: CSV column of the groups.
        split: In a CSV file with a column ``split``: reads the rows of this one.
        training: See ``read_class_folders``.
        key: Spec key of ``images_dir`` for errors, such as ``dataset.train_dataset.images_dir``.

    Raises:
        DatasetError: Neither is given, or the data cannot be read.
    """
    if csv_file is not None:
        if images_dir is not None and not Path(images_dir).is_dir():
            raise DatasetError(f"{key}: there is no folder {images_dir}")
        return read_csv(csv_file, images_dir, multi_label=multi_label, group_column=group_column, split=split)
    if images_dir is None:
        other = key.replace("images_dir", "csv_file")
        raise DatasetError(f"{key}: no data is given; give a folder of class folders, or {other}")
    return read_class_folders(images_dir, training=training, key=key)


def class_names(records: Iterable[ImageRecord], classes_file: Path | str | None = None) -> list[str]:
    """Class names in the order of the network's outputs.

    Args:
        records: The training images.
        classes_file: Text file with a class name a line; its order counts, and it may name classes that have
            no images. Without it, the names found are sorted.

    Raises:
        DatasetError: The file cannot be read, is empty, names a class twice, or lacks one of the images'.
    """
    found = sorted({label for record in records for label in record.labels})
    if classes_file is None:
        return found
    classes = read_class_list(Path(classes_file))
    unknown = [label for label in found if label not in set(classes)]
    if unknown:
        lines = []
        for label in unknown:
            near = get_close_matches(label, classes, n=1)
            lines.append(repr(label) + (f" (the file has {near[0]!r})" if near else ""))
        raise DatasetError(
            f"{classes_file}: {len(unknown)} classes of the data are not in it:\n{first_of(lines)}"
        )
    return classes


def read_class_list(classes_file: Path, *, numbered: bool = False) -> list[str]:
    """Names of a text file with a class a line, in its order.

    Args:
        classes_file: The file; blank lines at its end do not count.
        numbered: Whether labels name a class by the number of its line: then a blank line in front of another
            name is an error, because it may be left out or may count.

    Raises:
        DatasetError: The file cannot be read, is empty, or names a class twice.
    """
    lines: dict[str, int] = {}
    blank = 0
    for number, line in enumerate(read_text(classes_file, "a class name a line").split("\n"), start=1):
        name = label_text(line.strip())
        if not name:
            blank = blank or number
            continue
        if name in lines:
            raise DatasetError(f"{classes_file}: line {number}: {name!r} is also on line {lines[name]}")
        if blank and numbered:
            raise DatasetError(
                f"{classes_file}: line {blank} is blank, and labels name a class by the number of its line; "
                "take the blank line out, or write the name of its class there"
            )
        lines[name] = number
    if not lines:
        raise DatasetError(f"{classes_file}: it is empty; give a class name a line")
    return list(lines)
