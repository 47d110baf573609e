"""``pipeline.json``: what a folder of graphs says about itself, written and strictly read."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tao_like.errors import BundleError, TaoLikeError
from tao_like.runtime.metadata import ModelMetadata
from tao_like.strict_json import parse_strict_json

PIPELINE_FILE = "pipeline.json"
SCHEMA = "tao_like pipeline"
SCHEMA_VERSION = 1

_FIELDS = ("schema", "schema_version", "metadata", "graphs", "order", "constants", "files")
_LARGEST_JSON = 64 * 2**20
_MEBIBYTE = 2**20
_MOST_FILES = 64
_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True)
class PipelineDescription:
    """What ``pipeline.json`` says.

    Attributes:
        metadata: of the whole, as if it were one graph: inputs that the user gives, outputs that are read.
        graphs: file of each graph by its name.
        order: names of the graphs that a prediction runs, one after another; others run alone.
        constants: further values, such as a schedule; one with the name of a graph's input is fed to it.
        files: further files by name, such as a tokenizer.
    """

    metadata: ModelMetadata
    graphs: dict[str, Path]
    order: list[str]
    constants: dict[str, Any]
    files: dict[str, Path]


def write_pipeline(
    folder: str | Path,
    *,
    metadata: ModelMetadata,
    graphs: Mapping[str, str],
    order: Sequence[str] | None = None,
    constants: Mapping[str, Any] | None = None,
    files: Mapping[str, str] | None = None,
) -> Path:
    """Write ``pipeline.json`` beside the graphs; it is read back to see that it holds.

    A graph takes what it needs by the names of its inputs: from the user, from the graphs before it, or from
    the constants.

    Args:
        folder: it holds the files already.
        metadata: of the whole: inputs that the user gives, and of all outputs those that a prediction needs.
        graphs: graph name, a lower-case word, to file name.
        order: names of the graphs that a prediction runs; None: all, as they are given.
        constants: values that JSON can hold.
        files: further files by name, such as ``{"tokenizer": "tokenizer.json"}``.

    Raises:
        BundleError: a name or value has no place in a pipeline, or a file is missing.
        TaoLikeError: the folder cannot be written.
    """
    folder = Path(folder)
    values = {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "metadata": metadata.to_dict(),
        "graphs": {name: _entry(folder, file) for name, file in graphs.items()},
        "order": list(graphs if order is None else order),
        "constants": dict(constants or {}),
        "files": {name: _entry(folder, file) for name, file in (files or {}).items()},
    }
    _parse(folder, values)
    try:
        text = json.dumps(values, allow_nan=False, sort_keys=True, indent=1) + "\n"
    except (TypeError, ValueError) as error:
        raise BundleError(f"{PIPELINE_FILE} cannot be written as JSON: {error}.") from error
    path = folder / PIPELINE_FILE
    temporary = folder / f".{PIPELINE_FILE}.{os.getpid()}.tmp"
    try:
        temporary.write_text(text, "ascii")
        temporary.replace(path)
    except OSError as error:
        raise TaoLikeError(f"{path} could not be written: {error.strerror or error}.") from error
    finally:
        temporary.unlink(missing_ok=True)
    return path


def read_pipeline(folder: str | Path, *, check_files: bool = True) -> PipelineDescription:
    """Read ``pipeline.json`` and check the files that it names.

    Args:
        folder: it holds them.
        check_files: read each file, to see that it is the one it was written for; else it only has to exist.

    Raises:
        BundleError: it is missing, damaged, of a newer schema, or a file is missing or another one.
    """
    path = Path(folder) / PIPELINE_FILE
    if not path.is_file():
        raise BundleError(f"{folder} is no exported model: it holds no {PIPELINE_FILE}.")
    try:
        if path.stat().st_size > _LARGEST_JSON:
            raise BundleError(f"it takes {path.stat().st_size} bytes; at most {_LARGEST_JSON} are allowed.")
        try:
            values = parse_strict_json(path.read_bytes())
        except (ValueError, RecursionError) as error:
            raise BundleError(f"it is not valid JSON: {error}.") from error
        description = _parse(Path(folder), values)
        for kind in ("graphs", "files") if check_files else ():
            for name, entry in values[kind].items():
                if _sha256(Path(folder) / entry["file"]) != entry["sha256"]:
                    raise BundleError(
                        f"{kind}.{name}: {entry['file']} is not the file that it was written for."
                    )
    except BundleError as error:
        raise BundleError(f"{path}: {error}") from error
    except OSError as error:
        raise BundleError(f"{path} or a file beside it cannot be read: {error.strerror}.") from error
    return description


def _parse(folder: Path, values: object) -> PipelineDescription:
    """Hold everything but the hashes against the rules."""
    if not isinstance(values, dict) or values.get("schema") != SCHEMA:
        raise BundleError(f"it does not say that its schema is {SCHEMA!r}.")
    version = values.get("schema_version")
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise BundleError(
            f"it is of schema {version}, and this tao_like reads up to {SCHEMA_VERSION}; update tao_like."
        )
    if type(version) is not int or version != SCHEMA_VERSION:
        raise BundleError(f"schema_version is {version!r}; it must be {SCHEMA_VERSION}.")
    if different := sorted(set(_FIELDS).symmetric_difference(values)):
        raise BundleError(f"it misses or adds the fields {', '.join(different)}.")
    if not isinstance(values["constants"], dict):
        raise BundleError("constants must be an object.")
    graphs, files = (_files(folder, kind, values[kind]) for kind in ("graphs", "files"))
    order = values["order"]
    if not isinstance(order, list) or not all(isinstance(name, str) and name in graphs for name in order):
        raise BundleError(f"order must be a list of names of graphs; the graphs are {', '.join(graphs)}.")
    if not graphs:
        raise BundleError("graphs is empty; a pipeline has one graph or more.")
    metadata = ModelMetadata.from_dict(values["metadata"])
    return PipelineDescription(metadata, graphs, order, values["constants"], files)


def _files(folder: Path, kind: str, entries: object) -> dict[str, Path]:
    """The files of a block, all of them in the folder itself."""
    if not isinstance(entries, dict) or len(entries) > _MOST_FILES:
        raise BundleError(f"{kind} must be an object of up to {_MOST_FILES} files.")
    found = {}
    for name, entry in entries.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise BundleError(
                f"{kind} has the name {str(name)[:50]!r}; names are lower-case words of up to 32 letters, "
                "digits and underscores."
            )
        if not isinstance(entry, dict) or set(entry) != {"file", "sha256"}:
            raise BundleError(f"{kind}.{name} must be an object with file and sha256.")
        if not isinstance(entry["sha256"], str):
            raise BundleError(f"{kind}.{name}.sha256 must be a text.")
        found[name] = _path(folder, entry["file"])
    return found


def _path(folder: Path, name: object) -> Path:
    """A file of the folder, by a name that cannot lead out of it."""
    if not isinstance(name, str) or not _FILE_NAME.fullmatch(name):
        raise BundleError(
            f"{str(name)[:50]!r} is no file name; it must be letters, digits, dots, hyphens and underscores, "
            "without a folder."
        )
    path = folder / name
    if path.resolve().parent != folder.resolve() or not path.is_file():
        raise BundleError(f"{name} is not a file in {folder}.")
    return path


def _entry(folder: Path, name: str) -> dict[str, str]:
    return {"file": str(name), "sha256": _sha256(_path(folder, name))}


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_MEBIBYTE):
            digest.update(block)
    return digest.hexdigest()
