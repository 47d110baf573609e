"""Annotation files of pyskl and mmaction2: pickles, read without running code from them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tao_like.datasets.safe_pickle import read_data_pickle
from tao_like.datasets.skeleton_formats import FoundSequence, OnWrong
from tao_like.errors import DatasetError

_KINDS = frozenset(("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"))


class _StoredType:
    """What a pickle says of an array's type; numpy itself is not called with it."""

    def __init__(self, name: Any = "", *_: Any) -> None:
        self.name = str(name).lstrip("<|=")

    def __setstate__(self, state: Any) -> None:
        """The byte order; big endian is not read."""
        if isinstance(state, tuple) and len(state) > 1 and state[1] == ">":
            self.name = "big endian"


class _StoredArray:
    """What a pickle says of an array: shape, type, order and bytes."""

    def __init__(self, *_: Any) -> None:
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        """Keeps it for `array`."""
        self.state = state

    def array(self) -> npt.NDArray[Any]:
        """The array. Raises ValueError where the parts do not fit."""
        _, shape, kind, by_columns, content = self.state
        if not isinstance(kind, _StoredType) or kind.name not in _KINDS or not isinstance(content, bytes):
            raise ValueError("an array is not of plain numbers")
        values = np.frombuffer(content, np.dtype(f"<{kind.name}"))
        return np.asarray(values.reshape(shape, order="F" if by_columns else "C"))


def _stored_buffer(content: Any, kind: Any, shape: Any, order: Any) -> _StoredArray:
    """An array as pickles of protocol 5 write it."""
    if not isinstance(content, bytes | bytearray):
        raise ValueError("an array has no bytes")
    found = _StoredArray()
    found.state = (1, shape, kind, order == "F", bytes(content))
    return found


def _stored_scalar(kind: Any, content: Any) -> int | float:
    """A number that numpy wrote."""
    if not isinstance(kind, _StoredType) or kind.name not in _KINDS or not isinstance(content, bytes):
        raise ValueError("a number is not plain")
    number: int | float = np.frombuffer(content, np.dtype(f"<{kind.name}"))[0].item()
    return number


def _latin_bytes(text: Any, encoding: Any) -> bytes:
    """Bytes as old pickles write them."""
    if not isinstance(text, str) or encoding != "latin1":
        raise ValueError("bytes are written in an unknown way")
    return text.encode("latin1")


_ALLOWED: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy", "ndarray"): _StoredArray,
    ("numpy", "dtype"): _StoredType,
    ("_codecs", "encode"): _latin_bytes,
}
for _package in ("numpy.core.multiarray", "numpy._core.multiarray"):
    _ALLOWED[_package, "_reconstruct"] = _StoredArray
    _ALLOWED[_package, "scalar"] = _stored_scalar
for _package in ("numpy.core.numeric", "numpy._core.numeric"):
    _ALLOWED[_package, "_frombuffer"] = _stored_buffer


def annotated_sequences(path: Path, on_wrong: OnWrong) -> Iterator[FoundSequence]:
    """The sequences of an annotation file; one that is in several of its splits comes once for each.

    2D places become -1 to 1 across the picture, with the score as the third channel; 3D places stay.

    Raises:
        DatasetError: the file is damaged, or asks for more than data.
    """
    content = read_data_pickle(path, _ALLOWED)
    if not isinstance(content, dict) or not isinstance(content.get("annotations"), list):
        raise DatasetError(
            f"dataset_convert.data: {path} must hold `split` and `annotations`, as pyskl's files do"
        )
    splits = content.get("split", {})
    if not isinstance(splits, dict):
        raise DatasetError(f"dataset_convert.data: `split` of {path} must name lists of sequences")
    places: dict[str, list[str]] = {}
    for split, names in splits.items():
        for name in names:
            places.setdefault(str(name), []).append(str(split))
    for number, entry in enumerate(content["annotations"]):
        try:
            name = str(entry.get("frame_dir", number)) if isinstance(entry, dict) else str(number)
            values = _values(entry)
            label = entry.get("label")
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            on_wrong(DatasetError(f"{path}: sequence {name}: {error}"))
            continue
        for split in places.get(name, [""] if not splits else []):
            yield FoundSequence(name, None if label is None else str(label), values, split)


def _values(entry: dict[str, Any]) -> npt.NDArray[np.float32]:
    """(C, T, V, M) of an annotation."""
    joints = _array(entry["keypoint"])
    if joints.ndim != 4 or joints.shape[3] not in (2, 3):
        raise ValueError(
            f"keypoint has the shape {joints.shape}; it must be (persons, frames, joints, 2 or 3)"
        )
    values = np.asarray(joints.transpose(3, 1, 2, 0), np.float32)
    if len(values) == 3:
        return values
    height, width = (float(size) for size in entry["img_shape"])
    middle = np.array([width / 2, height / 2], np.float32)[:, None, None, None]
    scores = np.asarray(_array(entry["keypoint_score"]).transpose(1, 2, 0)[None], np.float32)
    seen = scores > 0
    return np.concatenate([(values - middle) / middle * seen, scores])


def _array(value: Any) -> npt.NDArray[Any]:
    return value.array() if isinstance(value, _StoredArray) else np.asarray(value, np.float32)
