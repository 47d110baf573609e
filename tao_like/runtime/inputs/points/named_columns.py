"""Files of point clouds whose header names the numbers of a point: PCD and PLY.

PCD as the Point Cloud Library writes it (ascii, binary, binary_compressed), PLY as Stanford's format has it
(ascii, binary in both orders of bytes).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tao_like.errors import DatasetError

Values = npt.NDArray[np.float32]

ECHO_NAMES = (
    *("intensity", "intensities", "scalar_intensity", "i", "reflectivity", "reflectance", "remission"),
    *("signal", "echo", "amplitude"),
)
"""What programs call the strength of an echo, in lower case."""
_PLACES = ("x", "y", "z")
_LONGEST_HEADER = 1 << 16
_MOST_BYTES = 1 << 31
"""A header that promises more is rather damaged than true."""


class _Field(NamedTuple):
    """A named part of a point: its type of numbers, and how many."""

    name: str
    type: str
    numbers: int = 1


class _Layout(NamedTuple):
    """What a header says: the fields of a point, how many points, the form of the data, where it begins."""

    fields: list[_Field]
    points: int
    form: str
    start: int

    @property
    def dtype(self) -> np.dtype[np.void]:
        """A point as it stands in a binary file."""
        return np.dtype([(f"{number}", one.type, (one.numbers,)) for number, one in enumerate(self.fields)])


def read_pcd(path: Path) -> Values:
    """The points of a .pcd file, (N, 4): x, y, z and the strength of the echo as they stand there.

    Raises:
        DatasetError: it is damaged, of another form, or lacks one of these fields.
        OSError: it cannot be read.
    """
    content = path.read_bytes()
    layout = _pcd_header(content, path)
    body = content[layout.start :]
    size = layout.dtype.itemsize * layout.points
    if layout.form == "ascii":
        return _chosen(layout, _ascii_table(body, layout, path), path)
    if layout.form == "binary":
        return _chosen(layout, _records(body, layout.dtype, layout.points, path), path)
    if layout.form != "binary_compressed":
        raise DatasetError(
            f"{path}: DATA {layout.form} is not read; write ascii, binary or binary_compressed"
        )
    if len(body) < 8:
        raise _cut_off(path)
    packed, unpacked = struct.unpack_from("<II", body)
    if unpacked != size or len(body) < 8 + packed:
        raise _cut_off(path)
    body = _lzf(body[8 : 8 + packed], unpacked, path)
    # Compressed, all numbers of one field stand together.
    columns, start = [], 0
    for one in layout.fields:
        length = layout.points * one.numbers
        column = np.frombuffer(body, one.type, length, start).reshape(layout.points, one.numbers)
        start += column.nbytes
        columns.append(column)
    return _chosen(layout, columns, path)


def read_ply(path: Path) -> Values:
    """The vertices of a .ply file, (N, 4): x, y, z and the strength of the echo as they stand there.

    Raises:
        DatasetError: it is damaged, of another form, or lacks one of these properties.
        OSError: it cannot be read.
    """
    content = path.read_bytes()
    layout = _ply_header(content, path)
    body = content[layout.start :]
    if layout.form == "ascii":
        return _chosen(layout, _ascii_table(body, layout, path), path)
    return _chosen(layout, _records(body, layout.dtype, layout.points, path), path)


def _pcd_header(content: bytes, path: Path) -> _Layout:
    words: dict[str, list[str]] = {}
    start = 0
    while "DATA" not in words:
        end = content.find(b"\n", start, _LONGEST_HEADER)
        if end < 0:
            raise DatasetError(
                f"{path}: it has no PCD header that ends in DATA; it is damaged or of another kind"
            )
        line = content[start:end].decode("ascii", "replace").split("#")[0].split()
        start = end + 1
        if line:
            words[line[0].upper()] = line[1:]
    try:
        names, sizes, types = words["FIELDS"], words["SIZE"], words["TYPE"]
        counts = words.get("COUNT") or ["1"] * len(names)
        points = words.get("POINTS") or [str(int(words["WIDTH"][0]) * int(words["HEIGHT"][0]))]
        fields = [
            _Field(name, f"<{kind.lower()}{size}", int(count))
            for name, size, kind, count in zip(names, sizes, types, counts, strict=True)
        ]
        return _checked(_Layout(fields, int(points[0]), words["DATA"][0].lower(), start), path)
    except (KeyError, ValueError, IndexError, TypeError) as error:
        raise DatasetError(f"{path}: its PCD header is damaged ({error})") from error


_PLY_TYPES = {
    **{"char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4"},
    **{"float": "f4", "double": "f8", "int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2"},
    **{"int32": "i4", "uint32": "u4", "float32": "f4", "float64": "f8"},
}
_PLY_FORMS = {"ascii": "<", "binary_little_endian": "<", "binary_big_endian": ">"}


def _ply_header(content: bytes, path: Path) -> _Layout:
    end = content.find(b"end_header", 0, _LONGEST_HEADER)
    line_end = content.find(b"\n", end)
    if not content.startswith(b"ply") or end < 0 or line_end < 0:
        raise DatasetError(
            f"{path}: it has no PLY header that ends in end_header; it is damaged or of another kind"
        )
    fields: list[_Field] = []
    form, points, element = "", -1, ""
    try:
        for line in content[:end].decode("ascii", "replace").splitlines():
            words = line.split()
            if words[:1] == ["format"]:
                form = words[1]
            elif words[:1] == ["element"]:
                element = words[1]
                if element == "vertex":
                    points = int(words[2])
                elif points < 0 and int(words[2]):
                    raise DatasetError(f"{path}: {element} stands before vertex; write the vertices first")
            elif words[:1] == ["property"] and element == "vertex":
                if words[1] == "list":
                    raise DatasetError(
                        f"{path}: its vertices have a list, {words[-1]}; write them without it"
                    )
                fields.append(_Field(words[2], _PLY_FORMS[form] + _PLY_TYPES[words[1]]))
    except (KeyError, ValueError, IndexError) as error:
        raise DatasetError(f"{path}: its PLY header is damaged ({error})") from error
    return _checked(_Layout(fields, points, form, line_end + 1), path)


def _checked(layout: _Layout, path: Path) -> _Layout:
    """The layout, whose numbers are possible. Raises DatasetError, TypeError."""
    if layout.points < 0 or any(not 1 <= one.numbers <= 4096 for one in layout.fields):
        raise DatasetError(f"{path}: its header names no number of points or of values; it is damaged")
    if layout.dtype.itemsize * layout.points > _MOST_BYTES:
        raise DatasetError(f"{path}: its header promises {layout.points} points; it is damaged")
    return layout


def _ascii_table(body: bytes, layout: _Layout, path: Path) -> list[npt.NDArray[np.float64]]:
    """The columns of each field. Further lines, such as a mesh's faces, are left alone."""
    lines = [line for line in body.decode("ascii", "replace").splitlines() if line.strip()][: layout.points]
    width = sum(one.numbers for one in layout.fields)
    try:
        rows = [[float(word) for word in line.split()] for line in lines]
    except ValueError as error:
        raise DatasetError(f"{path}: it holds something that is no number ({error})") from error
    if len(rows) < layout.points or any(len(row) != width for row in rows):
        raise _cut_off(path)
    table = np.array(rows, np.float64).reshape(-1, width)
    ends = np.cumsum([one.numbers for one in layout.fields])
    return np.split(table, ends[:-1], axis=1)


def _records(body: bytes, dtype: np.dtype[np.void], points: int, path: Path) -> list[npt.NDArray[np.generic]]:
    if len(body) < dtype.itemsize * points:
        raise _cut_off(path)
    records = np.frombuffer(body, dtype, points)
    return [records[name] for name in dtype.names or ()]


def _chosen(layout: _Layout, columns: Sequence[npt.NDArray[np.generic]], path: Path) -> Values:
    """x, y, z and the strength of the echo, by their names. Raises DatasetError."""
    named = {one.name.lower(): column[:, 0] for one, column in zip(layout.fields, columns, strict=True)}
    echo = next((name for name in ECHO_NAMES if name in named), None)
    if missing := [name for name in _PLACES if name not in named]:
        raise DatasetError(f"{path}: it has no {', '.join(missing)} among its fields {', '.join(named)}")
    if echo is None:
        raise DatasetError(
            f"{path}: none of its fields {', '.join(named)} is the strength of the echo (intensity); add the "
            "field, of zeros where the sensor gives none and the training had none"
        )
    return np.stack([named[name].astype(np.float32) for name in (*_PLACES, echo)], axis=1)


def _cut_off(path: Path) -> DatasetError:
    return DatasetError(f"{path}: it holds less than its header says; the file is cut off or damaged")


def _lzf(packed: bytes, size: int, path: Path) -> bytes:
    """LZF's packing undone (liblzf by Marc Lehmann, whose format PCD has).

    A byte below 32 says how many bytes follow as they are, less one. Any other tells a copy out of what is
    there already: its three upper bits the length less two (7: the next byte is added), the rest and one more
    byte how far back it begins, less one.
    """
    result = bytearray()
    position, end = 0, len(packed)
    try:
        while position < end:
            control = packed[position]
            position += 1
            if control < 32:
                result += packed[position : position + control + 1]
                position += control + 1
                continue
            length = control >> 5
            if length == 7:
                length += packed[position]
                position += 1
            start = len(result) - ((control & 31) << 8) - packed[position] - 1
            position += 1
            length += 2
            if start < 0 or len(result) + length > size:
                raise _cut_off(path)
            # A copy may reach into itself, and then repeats.
            piece = result[start : start + length]
            while len(piece) < length:
                piece += piece[: length - len(piece)]
            result += piece
    except IndexError as error:
        raise _cut_off(path) from error
    if len(result) != size:
        raise _cut_off(path)
    return bytes(result)
