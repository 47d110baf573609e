"""Annotation files of pyskl and mmaction2: pickles, read without running code from them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tao_like.data.skeletons.formats import FoundSequence, OnWrong
from tao_like.data.skeletons.safe_pickle import read_data_pickle
from tao_like.errors import DatasetError

BEGINNINGS = {"cross-subject": "xsub_", "cross-view": "xview_"}
"""How the names of a file's lists begin, by the split that they belong to."""
_KINDS = frozenset(("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"))


class _StoredType:
    """What a pickle says of an array's type; numpy itself is not called with it."""

    def __init__(self, name: Any = "", *_: Any) -> None:
        self.name = name.lstrip("<|=") if isinstance(name, str) else ""

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
        plain = isinstance(kind, _StoredType) and kind.name in _KINDS
        if not plain or not isinstance(content, bytes | bytearray):
            raise ValueError("an array is not of plain numbers")
        values = np.frombuffer(content, np.dtype(f"<{kind.name}"))
        return np.asarray(values.reshape(shape, order="F" if by_columns else "C"))


def _stored_buffer(content: Any, kind: Any, shape: Any, order: Any) -> _StoredArray:
    """An array as pickles of protocol 5 write it."""
    found = _StoredArray()
    found.state = (1, shape, kind, order == "F", content)
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
}
for _package in ("numpy.core.multiarray", "numpy._core.multiarray"):
    _ALLOWED[_package, "_reconstruct"] = _StoredArray
    _ALLOWED[_package, "scalar"] = _stored_scalar
for _package in ("numpy.core.numeric", "numpy._core.numeric"):
    _ALLOWED[_package, "_frombuffer"] = _stored_buffer


def _allowed() -> dict[tuple[str, str], Callable[..., Any]]:
    """What an annotation file may call; a text that it asks for again and again becomes bytes but once."""
    return {**_ALLOWED, ("_codecs", "encode"): cache(_latin_bytes)}


def annotated_sequences(path: Path, split: str, on_wrong: OnWrong) -> Iterator[FoundSequence]:
    """The sequences of an annotation file; one that is in several of its splits comes once for each.

    2D coordinates become -1 to 1 across the image, with the score as the third channel; 3D coordinates stay.

    Args:
        path: the file.
        split: of ``BEGINNINGS``: its lists alone; ``none``: all that the file has.
        on_wrong: see ``OnWrong``.

    Raises:
        DatasetError: the file is damaged, asks for more than data, or has no such split.
    """
    content = read_data_pickle(path, _allowed())
    if not isinstance(content, dict) or not isinstance(content.get("annotations"), list):
        raise DatasetError(
            f"dataset_convert.data: {path} must hold `split` and `annotations`, as pyskl's files do"
        )
    found = _splits_of(content.get("split", {}), BEGINNINGS.get(split, ""), path)
    left = path.stat().st_size
    for number, entry in enumerate(content["annotations"]):
        name = str(number)
        try:
            name = _text(entry, "frame_dir") or name
            label = _text(entry, "label")
            values = _values(entry)
        except ValueError as error:
            on_wrong(DatasetError(f"{path}: sequence {name}: {error}"))
            continue
        left -= _array(entry, "keypoint").nbytes
        if left < 0:
            raise DatasetError(f"{path} is damaged: its arrays are larger than the file. Replace it")
        for one in found.get(name, []) if found else [""]:
            yield FoundSequence(name, label, values, one)


def _splits_of(splits: Any, beginning: str, path: Path) -> dict[str, list[str]]:
    """The splits that each sequence is in; nothing where the file has none. Raises DatasetError."""
    lists = list(splits.values()) if isinstance(splits, dict) else [None]
    texts = all(isinstance(names, list) and all(isinstance(name, str) for name in names) for names in lists)
    if not texts:
        raise DatasetError(f"dataset_convert.data: `split` of {path} must name lists of sequences")
    found: dict[str, list[str]] = {}
    for split, names in splits.items():
        for name in names if str(split).startswith(beginning) else []:
            found.setdefault(name, []).append(str(split))
    if beginning and not found:
        told = ", ".join(map(str, splits)) or "none"
        raise DatasetError(f"dataset_convert.split: {path} has no lists {beginning}...; it has {told}")
    return found


def _values(entry: Mapping[str, Any]) -> npt.NDArray[np.float32]:
    """(C, T, V, M) of an annotation. Raises ValueError."""
    joints = _array(entry, "keypoint")
    if joints.ndim != 4 or joints.shape[3] not in (2, 3) or not joints.size:
        raise ValueError(
            f"keypoint has the shape {joints.shape}; it must be (persons, frames, joints, 2 or 3)"
        )
    values = np.asarray(joints.transpose(3, 1, 2, 0), np.float32)
    if len(values) == 3:
        return values
    size = entry.get("img_shape")
    if (
        not isinstance(size, tuple | list)
        or len(size) != 2
        or not all(type(side) is int and side > 0 for side in size)
    ):
        raise ValueError("img_shape must be height and width of the image, in pixels")
    height, width = size
    found = _array(entry, "keypoint_score")
    if found.shape != joints.shape[:3]:
        raise ValueError(f"keypoint_score has the shape {found.shape}; it must be {joints.shape[:3]}")
    middle = np.array([width / 2, height / 2], np.float32)[:, None, None, None]
    scores = np.asarray(found.transpose(1, 2, 0)[None], np.float32)
    return np.concatenate([(values - middle) / middle * (scores > 0), scores])


def _text(entry: Any, key: str) -> str | None:
    """A text or whole number of an annotation; None where it is left out. Raises ValueError."""
    if not isinstance(entry, dict):
        raise ValueError("it must be a dictionary")
    value = entry.get(key)
    if value is not None and not isinstance(value, str | int):
        raise ValueError(f"{key} must be a text or a whole number")
    return None if value is None else str(value)


def _array(entry: Mapping[str, Any], key: str) -> npt.NDArray[Any]:
    """Raises ValueError where it is missing, or no array of numbers."""
    value = entry.get(key)
    if not isinstance(value, _StoredArray):
        raise ValueError(f"{key} is missing; it must be an array")
    try:
        return value.array()
    except TypeError as error:
        raise ValueError(f"{key} is damaged: {error}") from error
