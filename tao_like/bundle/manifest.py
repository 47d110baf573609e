"""What ``bundle.json`` may hold, and which members an archive has by it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from tao_like.bundle.content import ONLY_PART
from tao_like.errors import BundleError
from tao_like.strict_json import parse_strict_json

FORMAT = "tao_like bundle"
FORMAT_VERSION = 2

MANIFEST = "bundle.json"
WEIGHTS = "weights.safetensors"
STRUCTURE = "structure.json"
GRAPH = "graph.onnx"

LARGEST_JSON = 256 * 2**20  # the split of a million images takes half of it
_MOST_PARTS = 32
_PART_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")

FIELD_TYPES: dict[str, tuple[type, ...]] = {
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
ATTRIBUTES = {"preparation": "preprocessing"}
"""Keys of the manifest that bear another name than the attribute of `Bundle`."""
_TYPES_1 = {**FIELD_TYPES, "format": (str,), "format_version": (int,), "sha256": (dict,)}
_TYPES_2 = {**_TYPES_1, "parts": (dict,)}
_OPTIONAL = {"labels": (dict,)}


def member(part: str, kind: str, version: int = FORMAT_VERSION) -> str:
    """Name of a part's member, such as ``parts/model/weights.safetensors``."""
    return kind if version == 1 else f"parts/{part}/{kind}"


def json_bytes(values: Mapping[str, Any], location: str) -> bytes:
    """JSON of which equal values give equal bytes.

    Args:
        values: what a bundle can hold.
        where: they stand, for messages; empty: the manifest.

    Raises:
        BundleError: they hold something else.
    """
    _check_plain(values, location)
    content = json.dumps(values, allow_nan=False, sort_keys=True, separators=(",", ":")).encode("ascii")
    check_json_size(location or MANIFEST, len(content))
    return content


def json_object(content: bytes, name: str) -> dict[str, Any]:
    """The object that a member holds. Raises BundleError."""
    try:
        values = parse_strict_json(content)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{name} is not valid JSON: {error}.") from error
    if not isinstance(values, dict):
        raise BundleError(f"{name} is not a JSON object.")
    return values


def check_json_size(name: str, size: int) -> None:
    """Raises a BundleError where JSON is larger than any bundle's."""
    if size > LARGEST_JSON:
        raise BundleError(f"{name} takes {size} bytes; at most {LARGEST_JSON} are allowed.")


def check_version(manifest: Mapping[str, Any]) -> None:
    """Raises a BundleError where the manifest is none, or of a format that is not known."""
    if manifest.get("format") != FORMAT:
        raise BundleError(f"it is no bundle: {MANIFEST} does not say that its format is {FORMAT!r}.")
    version = manifest.get("format_version")
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise BundleError(
            f"it is of bundle format {version}, and this tao_like reads up to {FORMAT_VERSION}; "
            "update tao_like."
        )
    if type(version) is not int or version < 1:
        raise BundleError(f"format_version is {version!r}; it must be 1 to {FORMAT_VERSION}.")


def check_manifest(manifest: Mapping[str, Any]) -> None:
    """Hold the manifest's keys and types against its format, whose version is known. Raises BundleError."""
    types = _TYPES_1 if manifest["format_version"] == 1 else _TYPES_2
    optional = {} if types is _TYPES_1 else _OPTIONAL
    different = sorted(set(types).symmetric_difference(set(manifest) - set(optional)))
    if different:
        raise BundleError(f"{MANIFEST} misses or adds the keys {', '.join(different)}.")
    for name, value in manifest.items():
        _check_type(name, value, {**types, **optional}[name])
    classes = manifest["classes"]
    if not all(isinstance(name, str) for name in classes) or len(set(classes)) != len(classes):
        raise BundleError("classes must be texts, none of them twice.")
    if not all(isinstance(entry, dict) for entry in manifest["history"]):
        raise BundleError("history must be a list of dicts.")
    _check_labels(manifest.get("labels"), classes)
    _check_members(manifest)


def parts_of(manifest: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What the manifest says about each part; format 1 has one."""
    parts: dict[str, dict[str, Any]] = manifest.get("parts", {ONLY_PART: {"phase": ""}})
    return parts


def _check_members(manifest: Mapping[str, Any]) -> None:
    """The parts have proper names, and the hashed members are theirs."""
    version, parts = manifest["format_version"], parts_of(manifest)
    if not 1 <= len(parts) <= _MOST_PARTS:
        raise BundleError(f"parts must be 1 to {_MOST_PARTS}; there are {len(parts)}.")
    for name, values in parts.items():
        if not isinstance(name, str) or not _PART_NAME.fullmatch(name):
            raise BundleError(
                f"parts has the name {str(name)[:50]!r}; a part's name is a lower-case word of up to 32 "
                "letters, digits and underscores."
            )
        if not isinstance(values, dict) or set(values) != {"phase"} or not isinstance(values["phase"], str):
            raise BundleError(f"parts.{name} must be an object with the text phase.")
    members = set(manifest["sha256"])
    needed = {member(name, WEIGHTS, version) for name in parts}
    allowed = needed | {member(name, kind, version) for name in parts for kind in (STRUCTURE, GRAPH)}
    if not needed <= members <= allowed:
        shown = ", ".join(sorted(needed))
        raise BundleError(f"sha256 must name {shown}, and may name {STRUCTURE} and {GRAPH} beside it.")


def _check_labels(labels: Mapping[str, Any] | None, classes: list[str]) -> None:
    if labels is None:
        return
    if set(labels) != {"prompts", "open_set"} or not isinstance(labels["open_set"], bool):
        raise BundleError("labels must be an object with prompts and open_set, which is true or false.")
    prompts = labels["prompts"]
    if not isinstance(prompts, dict) or not set(prompts) <= set(classes):
        raise BundleError("labels.prompts must be an object whose keys are classes.")
    for name, texts in prompts.items():
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise BundleError(f"labels.prompts.{name} must be a list of texts.")


def _check_type(name: str, value: object, types: tuple[type, ...]) -> None:
    if not isinstance(value, types) or isinstance(value, bool):
        raise BundleError(
            f"{name} is a {type(value).__name__}; it must be a {' or '.join(one.__name__ for one in types)}."
        )


def _check_plain(value: object, location: str) -> None:
    """Refuse what JSON cannot give back, naming where it stands."""
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise BundleError(
                    f"{location or 'bundle'} has the key {key!r}; a bundle's keys must be texts."
                )
            _check_plain(item, f"{location}.{key}" if location else key)
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            _check_plain(item, f"{location}[{index}]")
    elif isinstance(value, float) and not math.isfinite(value):
        raise BundleError(f"{location} is {value}; a bundle holds finite numbers, so store None instead.")
    elif not isinstance(value, (str, int, float, bool, type(None))):
        raise BundleError(
            f"{location} is a {type(value).__name__}; "
            "a bundle holds texts, numbers, booleans, None, lists and dicts."
        )
