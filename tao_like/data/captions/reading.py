"""Reading images with captions: text files beside them, a CSV or JSONL list, class folders, or shards."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tao_like.data.captions.record import CaptionRecord, class_captions
from tao_like.data.captions.shards import Texts, find_shards, read_shards
from tao_like.data.checks.findings import Finding
from tao_like.data.images.class_folders import read_class_folders
from tao_like.data.images.csv_lists import FILE_HEADERS, csv_rows, plain_header
from tao_like.data.images.files import find_images, first_of, label_text, read_text
from tao_like.data.images.named import named_file, same_file
from tao_like.errors import DatasetError

LIST_SUFFIXES = (".csv", ".jsonl", ".json")
CAPTION_HEADERS = ("caption", "captions", "text", "title", "description", "sentence")
LABEL_HEADERS = ("label", "class", "classname", "category")
CAPTION_SEPARATOR = "|"
TEXT_SUFFIX = ".txt"


@dataclass(frozen=True)
class CaptionSource:
    """Where the images and captions of a split are.

    Attributes:
        key: of the spec, such as ``dataset.train_dataset``.
        images_dir: folder of images; for a list what its paths start from, None: the list's own folder.
        captions_file: a CSV or JSONL list; None: there is none.
        caption_dir: folder of text files named as the images are; None: beside the images.
        suffix: of these text files.
        layout: ``auto``, ``text_files``, ``class_folders`` or ``shards``, where there is no list.
        list_file: names of the images to take, one a line, with or without suffix; None: all.
        templates: sentences for the classes of class folders.
        training: whether it is to be trained on: then an empty class folder, or one class alone, is an error.
    """

    key: str
    images_dir: Path | None
    captions_file: Path | None = None
    caption_dir: Path | None = None
    suffix: str = TEXT_SUFFIX
    layout: str = "auto"
    templates: tuple[str, ...] = ("a photo of a {}",)
    training: bool = True
    list_file: Path | None = None

    @property
    def root(self) -> Path:
        """What the names of images start from."""
        return self.images_dir or Path(str(self.captions_file)).parent


@dataclass
class ReadCaptions:
    """The images with captions, and what was noticed on the way."""

    records: list[CaptionRecord]
    findings: list[Finding] = field(default_factory=list)


def read_captions(source: CaptionSource) -> ReadCaptions:
    """All images with captions of a source, in the order of their keys.

    Raises:
        DatasetError: there is no such folder or list, it cannot be read, or holds no image with a caption.
    """
    if source.images_dir is not None and not (source.images_dir.is_dir() or find_shards(source.images_dir)):
        raise DatasetError(
            f"{source.key}.images_dir: there is no folder or shard (.tar, .tar.gz) {source.images_dir}"
        )
    if source.captions_file is not None:
        found = _of_list(source, source.captions_file)
    elif shards := _shards(source):
        samples, without = read_shards(shards, source.root, _texts_of)
        found = ReadCaptions(sorted(samples, key=lambda record: record.key), _left_out(source, without))
    elif _is_class_folders(source):
        key = f"{source.key}.images_dir"
        records = read_class_folders(source.root, training=source.training, key=key)
        found = ReadCaptions([_of_class(record, source) for record in records])
    else:
        found = _of_text_files(source)
    if source.list_file is not None:
        found.records = _listed(found.records, source.list_file, f"{source.key}.image_list_file")
    if not found.records:
        where = source.captions_file or source.images_dir
        raise DatasetError(
            f"{source.key}: {where} has no image with a caption; put a text file ({source.suffix}) beside "
            "each image, or give captions_file, or one folder of images a class"
        )
    return found


def _shards(source: CaptionSource) -> list[Path]:
    """The shards of a source; empty where it holds something else."""
    if source.layout not in ("auto", "shards"):
        return []
    shards = find_shards(source.root)
    if source.layout == "shards" and not shards:
        raise DatasetError(f"{source.key}.images_dir: there is no shard (.tar, .tar.gz) in {source.root}")
    if shards and source.layout == "auto" and source.root.is_dir():
        # What images were unpacked from may lie beside them.
        return [] if next(find_images(source.root), None) is not None else shards
    return shards


def _listed(records: list[CaptionRecord], file: Path, key: str) -> list[CaptionRecord]:
    """Those records that a file names, in their own order. Raises DatasetError."""
    names = [line.strip() for line in read_text(file, "a name of an image a line").split("\n")]
    wanted = {name.replace("\\", "/").removeprefix("./") for name in names if name}
    chosen, found = [], set()
    for record in records:
        spellings = {record.key, record.key.rpartition(".")[0]} & wanted
        found |= spellings
        if spellings:
            chosen.append(record)
    if lacking := sorted(wanted - found):
        raise DatasetError(
            f"{key}={file}: {len(lacking)} of its images are not there, or have no caption:\n"
            f"{first_of(lacking)}"
        )
    return chosen


def _is_class_folders(source: CaptionSource) -> bool:
    """Whether the folder holds class folders: as it says, or where no image has a text file.

    Where all images lie in the folder itself, captions are lacking, not class folders.
    """
    if source.layout != "auto":
        return source.layout == "class_folders"
    if source.caption_dir is not None:
        return False
    images = list(find_images(source.root))
    is_flat = bool(images) and all(path.parent == source.root for path in images)
    return not is_flat and not has_text_files(images, source.suffix)


def has_text_files(images: Iterable[Path], suffix: str = TEXT_SUFFIX) -> bool:
    """Whether a text file lies beside one of the images."""
    return any(same_file(path.with_suffix(suffix)) for path in images)


def _of_class(record: Any, source: CaptionSource) -> CaptionRecord:
    (label,) = record.labels
    captions = class_captions(label, list(source.templates))
    return CaptionRecord(record.path, record.labels, record.group, record.key, captions)


def _of_text_files(source: CaptionSource) -> ReadCaptions:
    """Every image with the lines of its text file as captions."""
    records, without = [], []
    for path in find_images(source.root):
        key = path.relative_to(source.root)
        beside = same_file((source.caption_dir or source.root) / key.with_suffix(source.suffix))
        lines: tuple[str, ...] = ()
        if beside is not None:
            text = read_text(beside, "captions, one a line")
            lines = tuple(line.strip() for line in text.split("\n") if line.strip())
        if lines:
            records.append(CaptionRecord(path, (), "", key.as_posix(), lines))
        else:
            without.append(key.as_posix())
    records.sort(key=lambda record: record.key)
    return ReadCaptions(records, _left_out(source, without))


def _left_out(source: CaptionSource, without: Sequence[str]) -> list[Finding]:
    if not without:
        return []
    words = "1 image has" if len(without) == 1 else f"{len(without)} images have"
    message = f"{source.key}: {words} no caption and cannot be used:"
    return [Finding("warning", "no_caption", message, tuple(sorted(without)))]


def _of_list(source: CaptionSource, path: Path) -> ReadCaptions:
    """Rows or lines of a list; those of one image are joined."""
    found: dict[Path, CaptionRecord] = {}
    missing: list[str] = []
    without: list[str] = []
    for line, row in _rows(path):
        image, captions, label, group = _entries(row, path, line)
        file = named_file(source.root, image)
        if file is None:
            missing.append(f"line {line}: {image}")
            continue
        key = file.as_posix().removeprefix(source.root.as_posix().rstrip("/") + "/")
        if not captions:
            without.append(key)
            continue
        earlier = found.get(file)
        if earlier is not None:
            captions = tuple(dict.fromkeys((*earlier.captions, *captions)))
        labels = (label,) if label else ()
        if earlier is not None and earlier.labels != labels:
            raise DatasetError(f"{path}: line {line}: {image} has another label than on an earlier line")
        if earlier is not None and earlier.group:
            if group not in ("", earlier.group):
                raise DatasetError(
                    f"{path}: line {line}: {image} is in another group than on an earlier line"
                )
            group = earlier.group
        found[file] = CaptionRecord(file, labels, group, key, captions)
    if missing:
        raise DatasetError(
            f"{path}: {len(missing)} files are not there (relative paths start from {source.root}; "
            f"images_dir sets another folder):\n{first_of(missing)}"
        )
    records = sorted(found.values(), key=lambda record: record.key)
    return ReadCaptions(records, _left_out(source, without))


def lists_pairs(path: Path) -> bool:
    """Whether a file is a list whose first record names an image and a caption."""
    try:
        _, row = next(_rows(path), (0, {}))
    except DatasetError:
        return False
    return all(any(name in row for name in names) for names in (FILE_HEADERS, CAPTION_HEADERS))


def _rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Number of the line and the record of each row."""
    return _csv_rows(path) if path.suffix.lower() == ".csv" else _json_rows(path)


def _csv_rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Rows by the names of their columns; separated by commas, semicolons or tabs."""
    rows = csv_rows(path)
    line, header = next(rows, (1, []))
    names = [plain_header(name) for name in header]
    # A column without a name is the row number that pandas writes.
    if twice := sorted(name for name, count in Counter(names).items() if name and count > 1):
        raise DatasetError(
            f"{path}: line {line}: two columns are named {twice[0]}; give several captions of an image in "
            f"one cell, with {CAPTION_SEPARATOR} between them, or in a row each"
        )
    for line, row in rows:
        if len(row) < len(names) or any(cell.strip() for cell in row[len(names) :]):
            raise DatasetError(
                f"{path}: line {line}: {len(row)} cells, and the header names {len(names)}; put captions "
                "with the separator in double quotes"
            )
        yield line, dict(zip(names, row, strict=False))


def _json_rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Lines of JSONL, or the items of one JSON list."""
    text = read_text(path, "images and captions")
    try:
        if text.lstrip().startswith("["):
            rows = list(enumerate(json.loads(text), 1))
        else:
            rows = [(n, json.loads(line)) for n, line in enumerate(text.split("\n"), 1) if line.strip()]
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{path}: this is neither JSON nor JSONL ({error})") from error
    for number, row in rows:
        if not isinstance(row, dict):
            raise DatasetError(f"{path}: line {number}: this is no object with image and captions")
        yield number, {plain_header(str(name)): value for name, value in row.items()}


def _entries(row: Mapping[str, Any], path: Path, line: int) -> tuple[str, tuple[str, ...], str, str]:
    """File, captions, label and group of a row."""
    where = f"{path}: line {line}"
    image = next((row[name] for name in FILE_HEADERS if name in row), None)
    if not isinstance(image, str) or not image:
        raise DatasetError(f"{where}: a record needs `image`; this one has {', '.join(row) or 'nothing'}")
    return (image, *_texts_of(row, where))


def _texts_of(row: Mapping[str, Any], where: str, *, wants: bool = True) -> Texts:
    """Captions, label and group of a record; wants: there must be captions. Raises DatasetError."""

    def first(names: Sequence[str]) -> Any:
        return next((row[name] for name in names if name in row), None)

    given = first(CAPTION_HEADERS)
    if wants and not isinstance(given, str | list):
        raise DatasetError(
            f"{where}: a record needs `caption` (or `captions`, a list); this one has "
            f"{', '.join(row) or 'nothing'}"
        )
    texts = given.split(CAPTION_SEPARATOR) if isinstance(given, str) else given or []
    if not all(isinstance(text, str) for text in texts):
        raise DatasetError(f"{where}: captions must be texts")
    label, group = (_word(first(names), names[0], where) for names in (LABEL_HEADERS, ("group",)))
    captions = tuple(text.strip() for text in texts if text.strip())
    return captions, label_text(label), group


def _word(value: Any, name: str, where: str) -> str:
    """A label or a group as a text; a number is one too, also 0. Raises DatasetError."""
    if value is None or (isinstance(value, float) and math.isnan(value)):  # so pandas writes what is missing
        return ""
    if not isinstance(value, str | int | float):
        raise DatasetError(f"{where}: {name} is {str(value)[:50]}; it must be one text or number")
    return str(value).strip()
