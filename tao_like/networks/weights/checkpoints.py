"""Reading weights from files, without ever running code that a file brings along."""

from __future__ import annotations

import argparse
import re
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tao_like.errors import BundleError, SpecError

SOURCE_KEY = "model.backbone.pretrained_backbone_path"
PICKLE_SUFFIXES = (".pth", ".pt", ".bin", ".ckpt", ".tar")
SAFETENSORS_SUFFIX = ".safetensors"
BUNDLE_SUFFIX = ".tltb"

# Weights that were averaged over the training come first: where a file has both, they are the better ones.
_NESTING_KEYS = ("state_dict_ema", "model_ema", "state_dict", "model_state_dict", "model", "module")
_PREFIXES = ("_orig_mod.", "module.", "backbone.", "model.", "network.", "encoder.")
_MAX_DEPTH = 4
_FORBIDDEN_CODE = re.compile(r"GLOBAL (\S+)")


def read_file(path: Path) -> dict[str, Any]:
    """Read a weights file: safetensors, or one that ``torch.save`` wrote.

    Args:
        path: Its suffix says what it is.

    Returns:
        What the file holds: tensors by name, or a mapping that holds such mappings.

    Raises:
        SpecError: There is no such file, or its suffix says nothing that we know.
        BundleError: The file is damaged, or it holds Python code.
    """
    if not path.is_file():
        raise SpecError(f"{SOURCE_KEY}: there is no file {path}. Give the path of a weights file.")
    if path.suffix == SAFETENSORS_SUFFIX:
        return _read_safetensors(path)
    if path.suffix in PICKLE_SUFFIXES:
        return _read_pickle(path)
    known = ", ".join((SAFETENSORS_SUFFIX, *PICKLE_SUFFIXES, BUNDLE_SUFFIX))
    raise SpecError(
        f"{SOURCE_KEY}: {path} ends in '{path.suffix}'; weights are read from files that end in {known}."
    )


def _read_safetensors(path: Path) -> dict[str, Any]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except SafetensorError as error:
        raise BundleError(
            f"{path}: this is not a whole safetensors file ({error}). Copy or download it again."
        ) from error


def _read_pickle(path: Path) -> dict[str, Any]:
    try:
        # timm's training script stores its command line beside the weights: a class that only holds values.
        with torch.serialization.safe_globals([argparse.Namespace]), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            content = torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:  # on a damaged file, torch.load fails with whatever its parser runs into
        if code := _FORBIDDEN_CODE.search(str(error)):
            raise BundleError(
                f"{path}: the file wants to run Python code when it is read ({code[1]}), so it was not read. "
                f"Give a file that holds only weights: in the program that made it, "
                f"torch.save(model.state_dict(), ...) or safetensors."
            ) from error
        raise BundleError(
            f"{path}: this is not a whole file of torch.save. Copy or download it again; a file of a few "
            f"hundred bytes is often a note of Git LFS or a web page in its place."
        ) from error
    if not isinstance(content, Mapping):
        raise BundleError(
            f"{path}: the file holds a {type(content).__name__}, not weights by name. "
            f"Store model.state_dict()."
        )
    return dict(content)


def state_dicts(content: Mapping[str, Any]) -> Iterator[dict[str, Tensor]]:
    """Yield all readings of a file's content as tensors by name.

    Weights may lie under a key such as "state_dict", and their names may begin with the name of the module
    that held the network ("module.", "backbone."). Only the caller's network can tell which reading is meant.
    """
    yield from _readings(content, _MAX_DEPTH, set())


def _readings(content: Mapping[str, Any], depth: int, seen: set[int]) -> Iterator[dict[str, Tensor]]:
    seen.add(id(content))
    for key in _NESTING_KEYS:
        inner = content.get(key)
        # A mapping that holds itself is no use to anyone, and would take for ever.
        if isinstance(inner, Mapping) and id(inner) not in seen:
            yield from _readings(inner, depth, seen)
    tensors = {name: value for name, value in content.items() if isinstance(value, Tensor)}
    if not tensors:
        return
    yield tensors
    for prefix in _PREFIXES:
        inside = {
            name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)
        }
        if inside and depth:
            yield from _readings(inside, depth - 1, seen)
