"""Telling the format of labels from all of their files, and saying what was decided."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from tao_like.data.boxes.folders import label_file_of, label_files
from tao_like.data.boxes.formats.kitti import looks_like_kitti
from tao_like.data.boxes.formats.text_files import label_lines
from tao_like.data.boxes.formats.yolo import looks_like_yolo
from tao_like.data.boxes.names import ImageNames
from tao_like.data.boxes.notes import Notes
from tao_like.errors import DatasetError

SUFFIXES = {".xml": "voc", ".txt": "", ".json": "labelme"}
"""Of label files that stand for one image each, and their format; text files are looked into."""
_LIKELY = {5: "yolo", 15: "kitti", 16: "kitti"}
"""What a damaged line with so many fields was meant to be."""


def files_of_images(image_dir: Path | None, label_dir: Path, suffix: str) -> list[Path]:
    """The label files that belong to images; where none does, all that could be label files."""
    if image_dir is not None and image_dir.is_dir():
        try:
            images = ImageNames(image_dir, Notes()).every()
        except DatasetError:
            images = []
        files = [label_file_of(path, image_dir, label_dir, suffix) for path in images]
        if found := [path for path in files if path.is_file()]:
            return found
    return list(label_files(label_dir, suffix))


def recognise_folder(image_dir: Path | None, label_dir: Path, notes: Notes) -> str:
    """The format of a folder of label files: voc, labelme, kitti or yolo.

    The suffix that most images have a file of decides; then, for text files, every line of all of them.

    Raises:
        DatasetError: there are no label files, or their lines are of two formats or of none.
    """
    by_suffix = {suffix: files_of_images(image_dir, label_dir, suffix) for suffix in SUFFIXES}
    counts = {suffix: len(files) for suffix, files in by_suffix.items() if files}
    if not counts:
        raise DatasetError(
            f"{label_dir} holds no label files: .xml (VOC), .txt (KITTI, YOLO) or .json (LabelMe)"
        )
    # LabelImg may leave XML and text beside each other; the order above decides between equals.
    suffix = max(counts, key=counts.__getitem__)
    kind = SUFFIXES[suffix] or _of_text_files(label_dir, by_suffix[suffix])
    passed = [f"{count} {other}" for other, count in counts.items() if other != suffix]
    beside = f"; files of another kind are passed over ({', '.join(passed)})" if passed else ""
    notes.add(
        "info", "format", f"{label_dir} is read as {kind.upper()}: {counts[suffix]} {suffix} files{beside}"
    )
    return kind


def _of_text_files(label_dir: Path, files: Sequence[Path]) -> str:
    votes, first, unknown = _votes(files)
    if len(votes) > 1:
        positions = " and ".join(f"{kind.upper()} ({first[kind]})" for kind in votes)
        raise DatasetError(
            f"{label_dir} holds lines of two formats: {positions}; set format, or correct the labels"
        )
    if votes:
        return next(iter(votes))
    if unknown:
        where, fields = unknown
        if len(fields) in _LIKELY:
            # The reader of that format says which field is wrong.
            return _LIKELY[len(fields)]
        raise DatasetError(
            f"{where} has {len(fields)} fields, and is neither KITTI (15 columns) nor YOLO (a class "
            "number and numbers from 0 to 1)"
        )
    # All files are empty: images without objects. Both formats say so, and KITTI needs no list of classes.
    return "kitti"


def _votes(files: Iterable[Path]) -> tuple[Counter[str], dict[str, str], tuple[str, list[str]] | None]:
    """Lines of each format, where the first of each stands, and the first line of neither."""
    votes: Counter[str] = Counter()
    first: dict[str, str] = {}
    unknown = None
    for path in files:
        for where, fields in label_lines(path):
            kind = "yolo" if looks_like_yolo(fields) else "kitti" if looks_like_kitti(fields) else ""
            if kind:
                votes[kind] += 1
                first.setdefault(kind, where)
            elif unknown is None:
                unknown = (where, fields)
    return votes, first, unknown
