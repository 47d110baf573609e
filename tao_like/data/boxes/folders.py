"""Boxes from a folder with a file of labels for each image: Pascal VOC, KITTI, YOLO, LabelMe."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tao_like.data.boxes.annotation import Box, BoxRecord, labels_of
from tao_like.data.boxes.names import ImageNames
from tao_like.data.boxes.notes import Notes
from tao_like.data.images.files import suffix as file_suffix
from tao_like.data.images.named import same_file
from tao_like.data.images.unreadable import UnreadableImages
from tao_like.errors import DatasetError

Reader = Callable[[Path, Path], tuple[list[Box], int, int]]
"""From a label file and its image to boxes, and the image's width and height (0: not stated)."""
NO_LABEL_FILES = ("classes.txt", "obj.names", "names.txt", "train.txt", "val.txt", "test.txt", "labels.txt")
"""Text files that lie among label files and are none."""


def label_files(label_dir: Path, suffix: str) -> Iterator[Path]:
    """All files below a folder that could be labels, sorted; README files and lists of classes are not."""
    for path in sorted(label_dir.rglob("*")):
        if file_suffix(path.name) != suffix:
            continue
        if path.name not in NO_LABEL_FILES and not path.name.lower().startswith(("readme", "license", ".")):
            yield path


def label_file_of(path: Path, image_dir: Path, label_dir: Path, suffix: str) -> Path:
    """Where the labels of an image are, if it has any."""
    expected = label_dir / path.relative_to(image_dir).with_suffix(suffix)
    return same_file(expected) or expected


def read_label_folder(
    images: ImageNames,
    label_dir: Path,
    suffix: str,
    read: Reader,
    lines: Sequence[str] | None,
    notes: Notes,
    unreadable: UnreadableImages | None = None,
) -> list[BoxRecord]:
    """Reads a folder of images whose labels lie in files of the same name.

    An image without a label file has no boxes, unless a list names it: then the file must be there.

    Args:
        images: nested ones too.
        label_dir: label files, in the same folders as their images.
        suffix: of label files, such as ``.xml``.
        read: reads one of them.
        lines: of a list of the images to take; None: all.
        notes: gets images without a label file, and label files without an image.
        unreadable: gets images that cannot be read, which are left out; None: they stay.

    Raises:
        DatasetError: a folder or a listed image is missing, no label file belongs to any image, or one
            cannot be read.
    """
    records = []
    image_dir = images.image_dir
    unlabelled: list[Path] = []
    chosen = images.every() if lines is None else images.listed(lines)
    # Labels in fractions of the sides need the size of their image.
    for path in chosen if unreadable is None else unreadable.readable(chosen):
        label_file = label_file_of(path, image_dir, label_dir, suffix)
        boxes: list[Box] = []
        width = height = 0
        if label_file.is_file():
            boxes, width, height = read(label_file, path)
        elif lines is not None:
            raise DatasetError(f"{path} is listed, but its label file {label_file} is not there")
        else:
            unlabelled.append(path)
        key = path.relative_to(image_dir).as_posix()
        records.append(
            BoxRecord(path, labels_of(boxes), "", key, tuple(boxes), width, height, str(label_file))
        )
    if unlabelled:
        _say_unlabelled(unlabelled, records, image_dir, label_dir, suffix, notes)
    if lines is None:
        with_image = {str(label_file_of(path, image_dir, label_dir, suffix)) for path in chosen}
        orphans = [path for path in label_files(label_dir, suffix) if str(path) not in with_image]
        if orphans:
            message = "{count} label files without an image; not read"
            notes.add("warning", "label_without_picture", message, orphans)
    return records


def _say_unlabelled(
    unlabelled: list[Path],
    records: list[BoxRecord],
    image_dir: Path,
    label_dir: Path,
    suffix: str,
    notes: Notes,
) -> None:
    """Notes images without a label file. Raises DatasetError where all are."""
    if len(unlabelled) == len(records):
        raise DatasetError(
            f"none of the {len(records)} images in {image_dir} has a label file in {label_dir}; the first "
            f"would be {label_dir / records[0].key} with the suffix {suffix}"
        )
    notes.add(
        "warning",
        "no_label_file",
        "{count} images without a label file: taken for images without objects. Where that is so, an "
        "empty label file says it; where labels are missing, add them or take the images away",
        unlabelled,
    )
