"""Writing and reading bundles."""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

from tao_like.bundle.archive import content, opened, zip_info
from tao_like.bundle.content import Bundle, Part
from tao_like.bundle.manifest import (
    ATTRIBUTES,
    FIELD_TYPES,
    FORMAT,
    FORMAT_VERSION,
    GRAPH,
    MANIFEST,
    STRUCTURE,
    WEIGHTS,
    check_manifest,
    check_version,
    json_bytes,
    json_object,
    member,
    parts_of,
)
from tao_like.bundle.tensors import load_weights, save_weights
from tao_like.errors import BundleError, TaoLikeError

_MEBIBYTE = 2**20
_MEMBERS_NAMED = 4  # in a message, of a hostile archive's many


def write_bundle(path: str | Path, bundle: Bundle) -> str:
    """Write a bundle under a temporary name beside ``path``, then rename it.

    Equal content gives equal bytes. Weights may be on any device, views of one another or not contiguous;
    they are stored as they look.

    Returns:
        SHA-256 of the file, as hexadecimal digits.

    Raises:
        BundleError: a field holds something that a bundle cannot hold; the message names the key.
        TaoLikeError: the file cannot be written (no space, no permission).
    """
    path = Path(path)
    members = _members(bundle)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        try:
            with temporary.open("wb") as file:
                with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
                    for name, data in members.items():
                        archive.writestr(zip_info(name), data)
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
    with opened(path) as archive:
        manifest = _read_manifest(archive)
        if expect_task not in (None, manifest["task"]):
            raise BundleError(
                f"it is a bundle of the task {manifest['task']!r}; one of {expect_task!r} is needed here."
            )
        contents = {name: content(archive, name) for name in manifest["sha256"]}
        for name, data in contents.items():
            if hashlib.sha256(data).hexdigest() != manifest["sha256"][name]:
                raise BundleError(f"{name} is not the one that {MANIFEST} was written for.")
        labels = manifest.get("labels", {})
        return Bundle(
            **{ATTRIBUTES.get(name, name): manifest[name] for name in FIELD_TYPES},
            parts={
                name: _part(name, values["phase"], manifest["format_version"], contents)
                for name, values in sorted(parts_of(manifest).items())
            },
            prompts=labels.get("prompts"),
            open_set=labels.get("open_set", False),
        )


def read_manifest(path: str | Path) -> dict[str, Any]:
    """Read what a bundle says about itself, without its weights and without torch.

    Returns:
        the fields of `Bundle` but ``parts``, ``prompts`` and ``open_set``; ``parts``, the phase of each by
        its name; ``format``, ``format_version``; ``sha256``, the hash of every other member by its name; and
        ``labels`` with ``prompts`` and ``open_set`` where classes have prompts or may be replaced.

    Raises:
        BundleError: as `read_bundle`.
    """
    with opened(path) as archive:
        manifest = _read_manifest(archive)
        return {**manifest, "parts": parts_of(manifest)}


def file_sha256(path: str | Path) -> str:
    """Return the SHA-256 of a file's content, as hexadecimal digits."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while block := file.read(_MEBIBYTE):
            digest.update(block)
    return digest.hexdigest()


def _members(bundle: Bundle) -> dict[str, bytes]:
    """The content of every member, the manifest first."""
    manifest: dict[str, Any] = {name: getattr(bundle, ATTRIBUTES.get(name, name)) for name in FIELD_TYPES}
    manifest |= {"format": FORMAT, "format_version": FORMAT_VERSION}
    manifest["parts"] = {name: {"phase": part.phase} for name, part in bundle.parts.items()}
    if bundle.prompts or bundle.open_set:
        manifest["labels"] = {"prompts": bundle.prompts, "open_set": bundle.open_set}
    contents = {}
    for name, part in sorted(bundle.parts.items()):
        contents[member(name, WEIGHTS)] = save_weights(part.weights)
        if part.structure is not None:
            contents[member(name, STRUCTURE)] = json_bytes(part.structure, "structure")
        if part.graph is not None:
            contents[member(name, GRAPH)] = part.graph
    manifest["sha256"] = {name: hashlib.sha256(data).hexdigest() for name, data in contents.items()}
    check_manifest(manifest)
    return {MANIFEST: json_bytes(manifest, ""), **contents}


def _part(name: str, phase: str, version: int, contents: dict[str, bytes]) -> Part:
    weights, structure = member(name, WEIGHTS, version), member(name, STRUCTURE, version)
    data = contents.get(structure)
    return Part(
        weights=load_weights(contents[weights], weights),
        structure=None if data is None else json_object(data, structure),
        graph=contents.get(member(name, GRAPH, version)),
        phase=phase,
    )


def _read_manifest(archive: zipfile.ZipFile) -> dict[str, Any]:
    """Read ``bundle.json`` and hold the archive's members against it."""
    names = archive.namelist()
    if MANIFEST not in names:
        raise BundleError(f"it is no bundle: it holds no {MANIFEST}.")
    manifest = json_object(content(archive, MANIFEST), MANIFEST)
    check_version(manifest)
    check_manifest(manifest)
    found, expected = Counter(names), Counter([MANIFEST, *manifest["sha256"]])
    if found != expected:
        odd = sorted((found - expected) + (expected - found))[:_MEMBERS_NAMED]
        raise BundleError(f"its members are not those that {MANIFEST} names: {odd} lacking or too many.")
    return manifest
