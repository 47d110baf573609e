"""The names behind YOLO's class numbers: classes.txt, or data.yaml as ultralytics and Roboflow write it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from tao_like.data.images.files import label_text, read_text
from tao_like.data.images.readers import read_class_list
from tao_like.errors import DatasetError

CLASS_LISTS = ("classes.txt", "obj.names", "names.txt", "data.yaml", "data.yml")
YAML_SUFFIXES = (".yaml", ".yml")
_LARGEST_YAML = 1 << 22


def yolo_classes(label_dir: Path, classes_file: Path | None) -> list[str]:
    """Class names of YOLO labels: of ``classes_file``, or of a list beside or above the labels.

    Raises:
        DatasetError: there is no such file, or it cannot be used.
    """
    found = class_list_of(label_dir, classes_file)
    if found is None:
        raise DatasetError(
            "YOLO labels name classes by number; give classes_file (of the data source; at init: "
            f"dataset.classes_file=FILE), or put classes.txt into {label_dir}"
        )
    return read_numbered_classes(found)


def class_list_of(label_dir: Path, classes_file: Path | None) -> Path | None:
    """The file that names the classes; None where there is none.

    Raises:
        DatasetError: the given file is not there.
    """
    if classes_file is not None:
        if not classes_file.is_file():
            raise DatasetError(f"classes_file: there is no file {classes_file}")
        return classes_file
    locations = (label_dir, *label_dir.absolute().parents[:2])
    candidates = (location / name for location in locations for name in CLASS_LISTS)
    return next((path for path in candidates if path.is_file()), None)


def read_numbered_classes(path: Path) -> list[str]:
    """Names in the order of their numbers. Raises DatasetError."""
    if path.suffix.lower() in YAML_SUFFIXES:
        return yaml_classes(path, read_yaml(path))
    return read_class_list(path, numbered=True)


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file. Raises DatasetError."""
    if path.is_file() and path.stat().st_size > _LARGEST_YAML:
        raise DatasetError(f"{path} is too large for a description of data")
    try:
        content = yaml.safe_load(read_text(path, "a description of the data as YAML"))
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise DatasetError(f"{path} is not valid YAML: {error}") from error
    if not isinstance(content, dict):
        raise DatasetError(
            f"{path} is no description of data: a mapping with train, val and names is expected"
        )
    return content


def yaml_classes(path: Path, content: dict[str, Any]) -> list[str]:
    """The names of data.yaml, which are a list, or a mapping from numbers. Raises DatasetError."""
    names = content.get("names")
    if isinstance(names, dict):
        if sorted(names, key=str) != sorted(range(len(names)), key=str):
            raise DatasetError(f"{path}: names: the numbers are not 0 to {len(names) - 1}, each once")
        names = [names[number] for number in range(len(names))]
    if not isinstance(names, list) or not names:
        raise DatasetError(f"{path}: names is missing; give a list of the classes' names")
    texts = [label_text(str(name).strip()) if isinstance(name, str | int | float) else "" for name in names]
    if "" in texts or len(set(texts)) < len(texts):
        raise DatasetError(f"{path}: names: each class needs a name of its own, and {names!r} is given")
    if content.get("nc") not in (None, len(texts)):
        raise DatasetError(
            f"{path}: nc is {content['nc']!r}, and names has {len(texts)} names; correct one of them"
        )
    return texts
