"""A bundle to test with, and ways to take its archive apart."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from tao_like.bundle import Bundle


def example(**changes: Any) -> Bundle:
    values: dict[str, Any] = {
        "task": "classification",
        "spec": {"model": {"backbone": {"type": "resnet18"}}, "results_dir": "/data/my run, é [1]"},
        "classes": ["ant", "bee ✿", "10"],
        "preparation": {"height": 32, "width": 48},
        "metrics": {"top_1": 0.1 + 0.2, "per_class": {"ant": {"f1": None}}},
        "thresholds": {"kind": "reject", "value": 0.4},
        "split": {"train": [{"file": "a\udcff.jpg", "sha1": "00", "labels": ["ant"]}], "val": [], "test": []},
        "history": [{"stage": "train", "time": "2025-01-01T00:00:00Z"}],
        "weights": {
            "layer.weight": torch.arange(6, dtype=torch.float32).reshape(2, 3),
            "layer.half": torch.tensor([1.5, -2.0], dtype=torch.bfloat16),
            "bn.num_batches_tracked": torch.tensor(7),
            "mask": torch.tensor([True, False]),
            "empty": torch.zeros(0, 4),
        },
        "structure": {"layer": {"out_features": 2, "shapes": [[2, 3]]}},
        "graph": b"\x08\x07onnx",
        "extra": {"note": ""},
    }
    return Bundle(**{**values, **changes})


def assert_equal(found: Bundle, expected: Bundle) -> None:
    for name in vars(expected):
        if name != "weights":
            assert getattr(found, name) == getattr(expected, name), name
    assert set(found.weights) == set(expected.weights)
    for name, value in expected.weights.items():
        assert found.weights[name].dtype == value.dtype
        assert found.weights[name].shape == value.shape
        assert torch.equal(found.weights[name], value.cpu())


def rezip(path: Path, change: Callable[[dict[str, bytes]], None], **options: Any) -> None:
    """Write the archive anew with other members, so that all of zip's own checks hold."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
