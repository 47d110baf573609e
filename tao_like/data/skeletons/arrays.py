"""Skeleton sequences in one array with their labels: the layout of ST-GCN and of TAO."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tao_like.data.skeletons.safe_pickle import read_data_pickle
from tao_like.errors import DatasetError
from tao_like.runtime.inputs.files import read_array

LABEL_SUFFIXES = (".json", ".npy", ".pkl", ".pickle")


@dataclass(frozen=True)
class SkeletonLabels:
    """What a file of labels says.

    Attributes:
        names: of the samples; empty: the file has none.
        labels: class number of each.
        classes: names of the classes; empty: the file has none.
    """

    names: tuple[str, ...]
    labels: tuple[int, ...]
    classes: tuple[str, ...] = ()


@dataclass(frozen=True)
class SkeletonData:
    """The sequences of a split.

    Attributes:
        path: of the array.
        values: (N, C, T, V, M), memory-mapped: what is not asked for is not read.
        labels: of each, and names.
    """

    path: Path
    values: npt.NDArray[Any]
    labels: SkeletonLabels

    def __len__(self) -> int:
        return len(self.values)

    def name(self, index: int) -> str:
        """The sample's name; its number where the labels have none."""
        names = self.labels.names
        return names[index] if names else f"{self.path.stem}_{index:05d}"

    def sequence(self, index: int) -> npt.NDArray[np.float32]:
        """(C, T, V, M).

        Raises:
            DatasetError: it holds values that are not finite.
        """
        sequence = np.array(self.values[index], np.float32)
        if not np.isfinite(sequence).all():
            raise DatasetError(
                f"{self.path}: the sequence {self.name(index)} holds values that are not numbers (NaN or "
                "infinite); correct or remove it"
            )
        return sequence


def read_skeleton_data(
    data_path: Path, label_path: Path, *, channels: int, joints: int, key: str
) -> SkeletonData:
    """Opens an array and reads its labels.

    Args:
        data_path: .npy.
        label_path: see `read_labels`.
        channels: that the spec promises; joints: likewise.
        key: of the spec, such as ``dataset.train_dataset``, for messages.

    Raises:
        DatasetError: a file is missing, damaged, or does not fit the spec or the other.
    """
    values = open_sequences(data_path, f"{key}.data_path")
    if (values.shape[1], values.shape[3]) != (channels, joints):
        raise DatasetError(
            f"{key}.data_path: {data_path} has {values.shape[1]} channels and {values.shape[3]} joints; "
            f"model.input_channels is {channels}, and the layout has {joints} joints. Correct "
            "model.graph_layout or the data"
        )
    labels = read_labels(label_path, f"{key}.label_path")
    if len(labels.labels) != len(values):
        raise DatasetError(
            f"{key}.label_path: {label_path} has {len(labels.labels)} labels, and {data_path} "
            f"{len(values)} sequences"
        )
    return SkeletonData(data_path, values, labels)


def open_sequences(path: Path, key: str) -> npt.NDArray[Any]:
    """The array of a split, (N, C, T, V, M), memory-mapped.

    Args:
        path: .npy.
        key: of the spec, for messages.

    Raises:
        DatasetError: it is missing, damaged, or holds something else.
    """
    if not path.is_file():
        raise DatasetError(f"{key}: there is no file {path}")
    try:
        values = read_array(path, mapped=True)
    except (OSError, ValueError) as error:
        raise DatasetError(
            f"{key}: {path} is no array that can be read ({error}); save it with numpy.save"
        ) from error
    if values.ndim != 5 or values.dtype.kind not in "fiu":
        raise DatasetError(
            f"{key}: {path} holds {values.dtype} of shape {values.shape}; sequences are numbers of shape "
            "(samples, channels, frames, joints, persons)"
        )
    if not len(values):
        raise DatasetError(f"{key}: {path} holds no sequence")
    return values


def read_labels(path: Path, key: str) -> SkeletonLabels:
    """Reads labels: .json with ``names``, ``labels`` and ``classes``; .npy of numbers; or TAO's pickle.

    A JSON file may also hold the two lists that TAO pickles. A pickle is read without running code from it.

    Raises:
        DatasetError: it is missing, damaged, or holds something else.
    """
    if not path.is_file():
        raise DatasetError(f"{key}: there is no file {path}")
    suffix = path.suffix.lower()
    if suffix not in LABEL_SUFFIXES:
        raise DatasetError(f"{key}: {path} is none of {', '.join(LABEL_SUFFIXES)}")
    if suffix == ".npy":
        try:
            numbers = read_array(path)
        except (OSError, ValueError) as error:
            raise DatasetError(f"{key}: {path} cannot be read: {error}") from error
        return _checked((), numbers.tolist(), (), path, key)
    if suffix == ".json":
        try:
            content = json.loads(path.read_text(encoding="utf-8-sig"))
        except (OSError, ValueError, RecursionError) as error:
            raise DatasetError(f"{key}: {path} cannot be read as JSON: {error}") from error
    else:
        content = read_data_pickle(path)
    if isinstance(content, Mapping):
        names, classes = content.get("names", ()), content.get("classes", ())
        return _checked(names, content.get("labels"), classes, path, key)
    if isinstance(content, Sequence) and len(content) == 2 and not isinstance(content, str):
        return _checked(content[0], content[1], (), path, key)
    raise DatasetError(f"{key}: {path} must hold two lists, names and class numbers")


def _checked(names: Any, labels: Any, classes: Any, path: Path, key: str) -> SkeletonLabels:
    """Lists of texts and of numbers. Raises DatasetError."""
    if not isinstance(labels, list | tuple) or not all(type(label) is int and label >= 0 for label in labels):
        raise DatasetError(f"{key}: {path} must hold class numbers from 0, one a sequence")
    for what, values in (("names", names), ("classes", classes)):
        if not isinstance(values, list | tuple) or not all(isinstance(value, str) for value in values):
            raise DatasetError(f"{key}: in {path}, {what} must be a list of texts")
    if names and len(names) != len(labels):
        raise DatasetError(
            f"{key}: {path} has {len(names)} names and {len(labels)} labels; it must be as many"
        )
    if len(set(classes)) != len(classes):
        raise DatasetError(f"{key}: in {path}, a class name stands twice")
    if classes and labels and max(labels) >= len(classes):
        raise DatasetError(f"{key}: {path} has the label {max(labels)}, and {len(classes)} classes from 0")
    return SkeletonLabels(tuple(names), tuple(labels), tuple(classes))


def write_labels(path: Path, names: Sequence[str], labels: Sequence[int], classes: Sequence[str]) -> None:
    """Writes what `read_labels` reads, as JSON."""
    content = {"classes": list(classes), "names": list(names), "labels": [int(label) for label in labels]}
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
