"""The file from which a broken training goes on: written whole or not at all, read with distrust."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tao_like.errors import BundleError
from tao_like.tracking import atomic_path, is_out_of_memory

FORMAT = "tao_like checkpoint"
FORMAT_VERSION = 2
KEY = "tao_like"
"""Under this key stands what a checkpoint says of its training."""
WEIGHTS = "state_dict"

_TYPES: Mapping[str, type] = {
    "task": str,
    "phase": str,
    "done": list,
    "spec": dict,
    "classes": list,
    "data": dict,
    "batch_size": int,
    "processes": int,
    "epoch": int,
    "batch": int,
    "step": int,
    "validated": bool,
    "ended": bool,
    "history": list,
}


def write_checkpoint(content: Mapping[str, Any], path: Path) -> None:
    """Write a checkpoint beside its final name, then rename it.

    Raises:
        TaoLikeError: it cannot be written; what was there before is untouched.
    """
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        try:
            torch.save(dict(content), file)
        except RuntimeError as error:
            # torch's writer hides what the operating system said behind a message of its own.
            if isinstance(error.__context__, OSError):
                raise error.__context__ from error
            raise


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint onto the CPU, without running code from it.

    Raises:
        BundleError: it is damaged, or no checkpoint of this toolkit, or of another version of it.
    """
    content = _load(path)
    _check_record(content, path)
    _check_weights(content, path)
    return content


def read_best(path: Path) -> dict[str, Tensor]:
    """The weights of the best validation, on the CPU. Raises BundleError."""
    content = _load(path)
    _check_weights(content, path)
    weights: dict[str, Tensor] = content[WEIGHTS]
    return weights


def _load(path: Path) -> dict[str, Any]:
    try:
        # torch reads on over flipped bits; zip's checksums tell them.
        with zipfile.ZipFile(path) as archive:
            if any(info.compress_type != zipfile.ZIP_STORED for info in archive.infolist()):
                raise BundleError(f"{path} is no checkpoint: its parts are compressed")
            if (part := archive.testzip()) is not None:
                raise BundleError(f"{path} is damaged in {part}; take an earlier copy, or start anew")
        content = torch.load(path, map_location="cpu", weights_only=True)
    except BundleError:
        raise
    except Exception as error:  # A damaged file leads zipfile and torch to errors of almost any kind.
        if is_out_of_memory(error):
            raise
        hint = "; weights of a bundle go to train.pretrained_model_path" if path.suffix == ".tltb" else ""
        raise BundleError(
            f"{path} is damaged, or no checkpoint of a training ({_first_line(error)}){hint}"
        ) from error
    if not isinstance(content, dict):
        raise BundleError(f"{path} is no checkpoint of a training: it holds a {type(content).__name__}")
    return content


def _check_record(content: dict[str, Any], path: Path) -> None:
    """Hold what a checkpoint says of its training against the format."""
    record = content.get(KEY)
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise BundleError(
            f"{path} is no checkpoint of a tao_like training; weights of others go to the model's own key "
            "for pretrained weights"
        )
    version = record.get("format_version")
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise BundleError(
            f"{path} is of checkpoint format {version}, and this tao_like reads up to {FORMAT_VERSION}; "
            "update tao_like"
        )
    if version == 1:
        raise BundleError(
            f"{path} is of checkpoint format 1, which this tao_like cannot go on from; end that training "
            "with the version that began it, or start anew (from a bundle of it: "
            "train.pretrained_model_path)"
        )
    wrong = [name for name, kind in _TYPES.items() if not isinstance(record.get(name), kind)]
    wrong = wrong or [name for name, kind in _TYPES.items() if kind is int and record[name] < 0]
    if version != FORMAT_VERSION or wrong:
        what = ", ".join(wrong) or "format_version"
        raise BundleError(f"{path} is damaged: {what} of its record is missing or of the wrong type")


def _check_weights(content: dict[str, Any], path: Path) -> None:
    weights = content.get(WEIGHTS)
    if not isinstance(weights, dict) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise BundleError(f"{path} is damaged: it holds no weights")


def _first_line(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:200]
