"""The bundle (``.tltb``): the one file that a stage hands to the next.

A bundle is a zip archive of up to four members, none of them compressed: ``bundle.json``,
``weights.safetensors``, after pruning ``structure.json``, and for an imported model ``graph.onnx``.
Reading one never unpickles and never runs or unpacks anything from it.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import struct
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tao_like.errors import BundleError, TaoLikeError

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = "tao_like bundle"
FORMAT_VERSION = 1

_MANIFEST = "bundle.json"
_WEIGHTS = "weights.safetensors"
_STRUCTURE = "structure.json"
_GRAPH = "graph.onnx"

_MEBIBYTE = 2**20
_LARGEST_JSON = 256 * _MEBIBYTE  # the split of a million pictures takes half of it
_LARGEST_DIRECTORY = 64 * 1024
_MEMBERS_NAMED = 4  # in a message, of a hostile archive's many
_ENCRYPTED = 0x1
_TIMESTAMP = (
    1980,
    1,
    1,
    0,
    0,
    0,
)  # zip's earliest; the same in every bundle, so equal content is equal bytes

# What zipfile raises on damaged archives, beside its own error.
_ZIP_ERRORS = (
    zipfile.BadZipFile,
    OSError,
    RuntimeError,
    EOFError,
    ValueError,
    OverflowError,
    struct.error,
)


@dataclass
class Bundle:
    """A network with everything that is needed to use it or to go on with it.

    Attributes:
        task: name of the task.
        spec: the resolved spec that it was made with.
        classes: class names in the order of the network's outputs.
        preparation: how an input is prepared.
        metrics: the figures that it reached.
        thresholds: the rule that turns scores into answers; empty for the task's default.
        split: the files of each split by name (train, val, test), or None if the folders say it.
        history: one entry a stage that made it, oldest first.
        weights: state dict of the network.
        structure: what pruning changed, None if nothing.
        graph: the ONNX graph of an imported model, None for the toolkit's own networks.
        extra: further values of the task.

    All but ``weights`` and ``graph`` hold what JSON can hold: texts, finite numbers, booleans, None, lists,
    and dictionaries with texts as keys. Tuples come back as lists.
    """

    task: str
    spec: dict[str, Any]
    classes: list[str]
    preparation: dict[str, Any]
    metrics: dict[str, Any]
    thresholds: dict[str, Any]
    split: dict[str, Any] | None
    history: list[dict[str, Any]]
    weights: dict[str, Tensor]
    structure: dict[str, Any] | None = None
    graph: bytes | None = None
    extra: dict[str, Any] = field(default_factory=dict)


_FIELD_TYPES: dict[str, tuple[type, ...]] = {
    "task": (str,),
    "spec": (dict,),
    "classes": (list,),
    "preparation": (dict,),
    "metrics": (dict,),
    "thresholds": (dict,),
    "split": (dict, type(None)),
    "history": (list,),
    "extra": (dict,),
}
_MANIFEST_TYPES = {**_FIELD_TYPES, "format": (str,), "format_version": (int,), "sha256": (dict,)}


def write_bundle(path: str | Path, bundle: Bundle) -> str:
    """Write a bundle under a temporary name beside ``path``, then rename it.

    Equal content gives equal bytes. Weights may be on any device, views of one another or not contiguous;
    they are stored as they look.

    Returns:
        SHA-256 of the file, as hexadecimal digits.

    Raises:
        BundleError: a field holds something that a bundle cannot hold; the message names the place.
        TaoLikeError: the file cannot be written (no space, no permission).
    """
    path = Path(path)
    members = _members(bundle)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        try:
            with temporary.open("wb") as file:
                with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
                    for name, content in members.items():
                        archive.writestr(_zip_info(name), content)
                file.flush()
                os.fsync(file.fileno())
            digest = file_sha256(temporary)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise TaoLikeError(f"{path} could not be written: {error.strerror or error}.") from error
    return digest


def read_bundle(path: str | Path, *, expect_task: str | None = None) -> Bundle:
    """Read a bundle; its weights come as contiguous tensors on the CPU.

    Raises:
        BundleError: the file is missing, damaged, no bundle, of a newer format, or of another task
            than ``expect_task``. The message names the file.
    """
    with _opened(path) as archive:
        manifest = _read_manifest(archive)
        if expect_task not in (None, manifest["task"]):
            raise BundleError(
                f"it is a bundle of the task {manifest['task']!r}; one of {expect_task!r} is needed here."
            )
        contents = {name: _content(archive, name) for name in manifest["sha256"]}
        for name, content in contents.items():
            if hashlib.sha256(content).hexdigest() != manifest["sha256"][name]:
                raise BundleError(f"{name} is not the one that {_MANIFEST} was written for.")
        structure = contents.get(_STRUCTURE)
        return Bundle(
            **{name: manifest[name] for name in _FIELD_TYPES},
            weights=_load_weights(contents[_WEIGHTS]),
            structure=None if structure is None else _json_object(structure, _STRUCTURE),
            graph=contents.get(_GRAPH),
        )


def read_manifest(path: str | Path) -> dict[str, Any]:
    """Read what a bundle says about itself, without its weights and without torch.

    Returns:
        the fields of `Bundle` but ``weights``, ``structure`` and ``graph``; ``format``, ``format_version``;
        ``sha256``, the hash of every other member by its name.

    Raises:
        BundleError: as `read_bundle`.
    """
    with _opened(path) as archive:
        return _read_manifest(archive)


def file_sha256(path: str | Path) -> str:
    """Return the SHA-256 of a file's content, as hexadecimal digits."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while block := file.read(_MEBIBYTE):
            digest.update(block)
    return digest.hexdigest()


def _members(bundle: Bundle) -> dict[str, bytes]:
    """The content of every member, the manifest first."""
    contents = {_WEIGHTS: _save_weights(bundle.weights)}
    if bundle.structure is not None:
        contents[_STRUCTURE] = _json_bytes(bundle.structure, "structure")
    if bundle.graph is not None:
        contents[_GRAPH] = bundle.graph
    manifest = {name: getattr(bundle, name) for name in _FIELD_TYPES}
    manifest["format"] = FORMAT
    manifest["format_version"] = FORMAT_VERSION
    manifest["sha256"] = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    _check_manifest(manifest)
    return {_MANIFEST: _json_bytes(manifest, ""), **contents}


def _zip_info(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, _TIMESTAMP)
    info.create_system = 3  # zipfile writes another number on Windows
    info.external_attr = 0o644 << 16
    return info


def _json_bytes(values: Mapping[str, Any], place: str) -> bytes:
    _check_plain(values, place)
    content = json.dumps(values, allow_nan=False, sort_keys=True, separators=(",", ":")).encode("ascii")
    _check_json_size(place or _MANIFEST, len(content))
    return content


def _check_plain(value: object, place: str) -> None:
    """Refuse what JSON cannot give back, naming where it stands."""
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise BundleError(f"{place or 'bundle'} has the key {key!r}; a bundle's keys must be texts.")
            _check_plain(item, f"{place}.{key}" if place else key)
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            _check_plain(item, f"{place}[{index}]")
    elif isinstance(value, float) and not math.isfinite(value):
        raise BundleError(f"{place} is {value}; a bundle holds finite numbers, so store None instead.")
    elif not isinstance(value, (str, int, float, bool, type(None))):
        raise BundleError(
            f"{place} is a {type(value).__name__}; "
            "a bundle holds texts, numbers, booleans, None, lists and dicts."
        )


def _save_weights(weights: Mapping[str, Tensor]) -> bytes:
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import save

    contiguous = {}
    for name, value in weights.items():
        if not isinstance(value, torch.Tensor) or value.layout != torch.strided or value.is_meta:
            raise BundleError(f"weights[{name!r}] is not a dense tensor with values.")
        # A copy, for safetensors refuses tensors that share memory.
        contiguous[name] = value.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
    try:
        return save(contiguous)
    except (SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise BundleError(f"the weights cannot be stored: {error}.") from error


def _load_weights(content: bytes) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        return load(content)
    except (SafetensorError, KeyError, ValueError, RuntimeError, TypeError) as error:
        raise BundleError(f"{_WEIGHTS} is damaged: {error}.") from error


class _LimitedReader(io.BufferedReader):
    """A file that refuses reads longer than ``longest_read``.

    zipfile believes what an archive says: it would read a directory of any number of entries, and reserve
    memory for any size that a member claims.
    """

    longest_read = _LARGEST_DIRECTORY

    def read(self, size: int | None = -1) -> bytes:
        if size is not None and size > self.longest_read:
            raise BundleError(f"it claims to hold {size} bytes where at most {self.longest_read} can be.")
        return super().read(size)


@contextmanager
def _opened(path: str | Path) -> Iterator[zipfile.ZipFile]:
    """Open a bundle's archive; whatever is wrong with it becomes a BundleError that names the file."""
    path = Path(path)
    if not path.is_file():
        raise BundleError(f"{path} is not a file; a bundle (.tltb) was expected there.")
    try:
        file = _LimitedReader(io.FileIO(path))
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror}.") from error
    try:
        with file, zipfile.ZipFile(file) as archive:
            file.longest_read = path.stat().st_size
            yield archive
    except BundleError as error:
        raise BundleError(f"{path} cannot be used: {error}") from error
    except _ZIP_ERRORS as error:
        raise BundleError(f"{path} is damaged or no bundle: {error}.") from error


def _read_manifest(archive: zipfile.ZipFile) -> dict[str, Any]:
    """Read ``bundle.json`` and hold the archive's members against it."""
    names = archive.namelist()
    if _MANIFEST not in names:
        raise BundleError(f"it is no bundle: it holds no {_MANIFEST}.")
    manifest = _json_object(_content(archive, _MANIFEST), _MANIFEST)
    if manifest.get("format") != FORMAT:
        raise BundleError(f"it is no bundle: {_MANIFEST} does not say that its format is {FORMAT!r}.")
    version = manifest.get("format_version")
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise BundleError(
            f"it is of bundle format {version}, and this tao_like reads up to {FORMAT_VERSION}; "
            "update tao_like."
        )
    if version != FORMAT_VERSION:
        raise BundleError(f"format_version is {version!r}; it must be {FORMAT_VERSION}.")
    _check_manifest(manifest)
    found, expected = Counter(names), Counter([_MANIFEST, *manifest["sha256"]])
    if found != expected:
        odd = sorted((found - expected) + (expected - found))[:_MEMBERS_NAMED]
        raise BundleError(f"its members are not those that {_MANIFEST} names: {odd} lacking or too many.")
    return manifest


def _content(archive: zipfile.ZipFile, name: str) -> bytes:
    """The bytes of one member, of which zipfile checks the CRC."""
    info = archive.getinfo(name)
    if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & _ENCRYPTED:
        raise BundleError(f"{name} is compressed or encrypted; the members of a bundle are neither.")
    if name in (_MANIFEST, _STRUCTURE):
        _check_json_size(name, info.file_size)
    return archive.read(info)


def _json_object(content: bytes, name: str) -> dict[str, Any]:
    try:
        values = json.loads(
            content.decode("utf-8"),
            parse_constant=_finite,
            parse_float=_finite,
            object_pairs_hook=_without_repetition,
        )
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{name} is not valid JSON: {error}.") from error
    if not isinstance(values, dict):
        raise BundleError(f"{name} is not a JSON object.")
    return values


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is not a finite number")
    return value


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("an object has the same key twice")
    return values


def _check_json_size(name: str, size: int) -> None:
    if size > _LARGEST_JSON:
        raise BundleError(f"{name} takes {size} bytes; at most {_LARGEST_JSON} are allowed.")


def _check_manifest(manifest: Mapping[str, Any]) -> None:
    """Hold the manifest's keys and types against the format."""
    different = sorted(set(_MANIFEST_TYPES).symmetric_difference(manifest))
    if different:
        raise BundleError(f"{_MANIFEST} misses or adds the keys {', '.join(different)}.")
    for name, types in _MANIFEST_TYPES.items():
        if not isinstance(manifest[name], types) or isinstance(manifest[name], bool):
            raise BundleError(
                f"{name} is a {type(manifest[name]).__name__}; it must be a "
                f"{' or '.join(one.__name__ for one in types)}."
            )
    classes = manifest["classes"]
    if not all(isinstance(name, str) for name in classes) or len(set(classes)) != len(classes):
        raise BundleError("classes must be texts, none of them twice.")
    if not all(isinstance(entry, dict) for entry in manifest["history"]):
        raise BundleError("history must be a list of dicts.")
    members = set(manifest["sha256"])
    if not {_WEIGHTS} <= members <= {_WEIGHTS, _STRUCTURE, _GRAPH}:
        raise BundleError(f"sha256 must name {_WEIGHTS}, and may name {_STRUCTURE} and {_GRAPH}.")
