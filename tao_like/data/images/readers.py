"""The class names of images."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

from tao_like.data.images.files import first_of, label_text, read_text
from tao_like.data.images.sample import ImageRecord
from tao_like.errors import DatasetError


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
