"""Images sorted into one folder a class."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tao_like.data.images.files import (
    find_images,
    is_image_name,
    label_text,
    listing,
    passed_over_notes,
    split_name,
    suffix,
)
from tao_like.data.images.sample import ImageRecord
from tao_like.errors import DatasetError

LAYOUT = """\
  {name}/
    cats/
      001.jpg
      002.jpg
    dogs/
      001.jpg"""


@dataclass(frozen=True)
class ClassFolders:
    """What a folder of class folders holds.

    Attributes:
        root: The folder.
        records: The images in the order of their keys; ``key`` is ``class/.../file``.
        empty_classes: Class folders without an image.
        loose_images: Images beside the class folders; they have no class and are not used.
        ignored: Number of files that are no images, by suffix (lower case, with its dot).
        passed_over: Images of kinds that cannot be read, such as HEIC.
    """

    root: Path
    records: tuple[ImageRecord, ...]
    empty_classes: tuple[str, ...]
    loose_images: int
    ignored: dict[str, int]
    passed_over: tuple[Path, ...] = ()


def scan_class_folders(root: Path) -> ClassFolders:
    """Lists a folder of class folders as it is; what is wrong with it is the caller's to judge.

    Folders below a class folder belong to the class. Hidden files are skipped, links are followed.

    Raises:
        DatasetError: A folder cannot be read.
    """
    ignored: Counter[str] = Counter()
    records: list[ImageRecord] = []
    empty: list[str] = []
    loose = 0
    passed_over: list[Path] = []
    for entry in listing(root):
        if entry.is_dir():
            folder = Path(entry.path)
            labels = (label_text(entry.name),)
            before = len(records)
            skipped = len(str(folder))
            for path in find_images(folder, ignored, passed_over):
                # As path.relative_to(root), at a tenth of its time.
                key = entry.name + path.as_posix()[skipped:]
                records.append(ImageRecord(path, labels, key=key))
            if len(records) == before:
                empty.append(entry.name)
        elif is_image_name(entry.name):
            loose += 1
        else:
            ignored[suffix(entry.name)] += 1
    records.sort(key=lambda record: record.key)
    return ClassFolders(root, tuple(records), tuple(empty), loose, dict(ignored), tuple(passed_over))


def read_class_folders(
    images_dir: Path | str, *, training: bool = True, key: str = "images_dir"
) -> list[ImageRecord]:
    """Images of a folder that holds one folder a class, in the order of their keys.

    Args:
        images_dir: The folder.
        training: Whether it is to be trained on: then an empty class folder, or one class alone, is an error.
        key: Spec key or other name that errors call the folder by.

    Raises:
        DatasetError: It is no folder, or holds no class folders, or no images.
    """
    root = Path(images_dir)
    _require_folder(root, key)
    found = scan_class_folders(root)
    layout = f"It must hold one folder of images a class:\n{LAYOUT.format(name=root.name)}"
    if not found.records:
        if found.loose_images:
            raise DatasetError(
                f"{key}: {root} holds {found.loose_images} images but no class folders. {layout}\n"
                "or give a CSV file with the columns path and label."
            )
        kinds = ", ".join(
            f"{count} {kind or 'without suffix'}" for kind, count in sorted(found.ignored.items())
        )
        others = f" (other files: {kinds})" if kinds else ""
        advice = "".join(f"\n{message}" for message, _ in passed_over_notes(found.passed_over))
        raise DatasetError(f"{key}: no images below {root}{others}. {layout}{advice}")
    if not training:
        return list(found.records)
    classes = sorted({record.labels[0] for record in found.records})
    _refuse_split_folders(root, [*classes, *found.empty_classes], key)
    if found.empty_classes:
        raise DatasetError(
            f"{key}: no images in the class folder {_quoted(found.empty_classes)} of {root}. "
            "Add images of that class or remove the folder."
        )
    if len(classes) == 1:
        raise DatasetError(
            f"{key}: {root} holds one class folder, {classes[0]!r}; a classifier needs at least two. {layout}"
        )
    return list(found.records)


def _require_folder(root: Path, key: str) -> None:
    if root.is_dir():
        return
    if not root.exists():
        raise DatasetError(f"{key}: there is no folder {root}")
    hint = ""
    if root.suffix.lower() in (".csv", ".tsv"):
        hint = f" A CSV file is given as {key.replace('images_dir', 'csv_file')}."
    raise DatasetError(f"{key}: {root} is a file; give the folder that holds the class folders.{hint}")


def _refuse_split_folders(root: Path, names: list[str], key: str) -> None:
    splits = [split_name(name) for name in names]
    if "train" in splits and all(splits):
        raise DatasetError(
            f"{key}: the folders of {root} are splits, not classes ({', '.join(sorted(names))}). "
            f"Give {root / names[splits.index('train')]} here, the others as val_dataset and test_dataset."
        )


def _quoted(names: tuple[str, ...]) -> str:
    return ", ".join(repr(name) for name in names)
