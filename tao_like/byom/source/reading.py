"""Reading a file that anybody may have made: one error for whatever is wrong with it."""

from __future__ import annotations

import math
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from onnx.external_data_helper import ExternalDataInfo, uses_external_data

from tao_like.byom.source.functions import functions_written_out
from tao_like.byom.source.unreadable import UnreadableModelError

LARGEST_FILE = 2 * 2**30
"""Bytes; protobuf reads no larger message."""
LARGEST_TENSOR = 2**31
"""Elements of one tensor that a file may declare."""
OLDEST_OPSET = 7
_MOST_NODES = 200_000
_DEEPEST = 16
_ZIP = b"PK\x03\x04"


def read_model(path: str | Path) -> onnx.ModelProto:
    """A file's model, whole: data from other files of its folder included.

    Raises:
        UnreadableModelError: it is missing, no ONNX file, damaged, too old or too large, or points elsewhere.
    """
    path = Path(path)
    if not path.is_file():
        raise UnreadableModelError(f"there is no file {path}; an ONNX file was expected there")
    size = path.stat().st_size
    if size > LARGEST_FILE:
        raise UnreadableModelError(
            f"{path} has {size} bytes; at most {LARGEST_FILE} can be read. Keep its weights in external data"
        )
    try:
        return parse_model(path.read_bytes(), path.parent)
    except UnreadableModelError as error:
        raise UnreadableModelError(f"{path}: {error}") from error
    except OSError as error:
        raise UnreadableModelError(f"{path} cannot be read: {error.strerror or error}") from error


def parse_model(content: bytes, folder: Path | None = None) -> onnx.ModelProto:
    """A model from a file's content.

    Args:
        content: the bytes.
        folder: where external data may lie; None: nowhere.

    Raises:
        UnreadableModelError: as :func:`read_model`.
    """
    if content.startswith(_ZIP):
        raise UnreadableModelError("this is a zip archive; unpack it, and give the .onnx file in it")
    model = onnx.ModelProto()
    try:
        model.ParseFromString(content)
    except (DecodeError, ValueError, RecursionError) as error:
        raise UnreadableModelError("this is no ONNX file, or not a whole one") from error
    if not model.HasField("graph") or not model.opset_import:
        raise UnreadableModelError(
            "this is no ONNX file: it has no graph, or names no version of the operators"
        )
    _check_size(model.graph)
    if model.functions:
        model = functions_written_out(model, _MOST_NODES)
        _check_size(model.graph)
    _load_external(model.graph, folder)
    _check_version(model)
    return model


def _check_version(model: onnx.ModelProto) -> None:
    versions = [item.version for item in model.opset_import if item.domain in ("", "ai.onnx")]
    newest = onnx.defs.onnx_opset_version()
    if versions and not OLDEST_OPSET <= versions[0] <= newest:
        raise UnreadableModelError(
            f"it is written for version {versions[0]} of the operators; {OLDEST_OPSET} to {newest} can be "
            "read. Export it again with one of these"
        )


def _check_size(graph: onnx.GraphProto, depth: int = 0) -> None:
    """Refuses what is declared so large that reading it alone would fill the memory."""
    if depth > _DEEPEST:
        raise UnreadableModelError(f"its graphs stand in one another more than {_DEEPEST} deep")
    if len(graph.node) > _MOST_NODES:
        raise UnreadableModelError(f"it has {len(graph.node)} nodes; at most {_MOST_NODES} can be read")
    for tensor in graph.initializer:
        _check_tensor(tensor)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                _check_tensor(attribute.t)
            for inner in (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])):
                _check_size(inner, depth + 1)


def _check_tensor(tensor: onnx.TensorProto) -> None:
    if any(size < 0 for size in tensor.dims):
        raise UnreadableModelError(f"the tensor '{tensor.name}' has a negative size: {list(tensor.dims)}")
    count = math.prod(tensor.dims)
    if count > LARGEST_TENSOR:
        raise UnreadableModelError(
            f"the tensor '{tensor.name}' declares {count} elements; at most {LARGEST_TENSOR} can be read"
        )


def _load_external(graph: onnx.GraphProto, folder: Path | None) -> None:
    """Takes in data from files beside the model, and from nowhere else."""
    for tensor in _tensors(graph):
        if uses_external_data(tensor):
            tensor.raw_data = _external(tensor, folder)
            tensor.data_location = onnx.TensorProto.DEFAULT
            del tensor.external_data[:]


def _tensors(graph: onnx.GraphProto) -> list[onnx.TensorProto]:
    found = list(graph.initializer)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                found.append(attribute.t)
            found += attribute.tensors
            for inner in (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])):
                found += _tensors(inner)
    return found


def _external(tensor: onnx.TensorProto, folder: Path | None) -> bytes:
    try:
        info = ExternalDataInfo(tensor)
        offset, length = int(info.offset or 0), int(info.length) if info.length else None
    except (ValueError, TypeError) as error:
        raise UnreadableModelError(
            f"the location of the data of '{tensor.name}' cannot be read: {error}"
        ) from error
    if folder is None:
        raise UnreadableModelError(f"the data of '{tensor.name}' is in another file; here all must be in one")
    if "\0" in info.location or not info.location:
        raise UnreadableModelError(f"the data of '{tensor.name}' is in a file without a proper name")
    location = (folder / info.location).resolve()
    # Resolved, so that neither `..` nor a link leads out of the folder.
    if not location.is_relative_to(folder.resolve()):
        raise UnreadableModelError(
            f"the data of '{tensor.name}' would be read from {info.location!r}, outside the model's folder"
        )
    if not location.is_file():
        raise UnreadableModelError(
            f"the data of '{tensor.name}' should be in {location}, and there is no such file"
        )
    size = location.stat().st_size
    wanted = size - offset if length is None else length
    if offset < 0 or wanted < 0 or offset + wanted > size:
        raise UnreadableModelError(
            f"the data of '{tensor.name}' goes beyond the end of {location}; the file is cut off"
        )
    with location.open("rb") as file:
        file.seek(offset)
        return file.read(wanted)
