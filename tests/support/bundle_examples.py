"""A bundle to test with, and ways to take its archive apart."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from tao_like.bundle import Bundle, Part


def example(**changes: Any) -> Bundle:
    values: dict[str, Any] = {
        "task": "classification",
        "spec": {"model": {"backbone": {"type": "resnet18"}}, "results_dir": "/data/my run, é [1]"},
        "classes": ["ant", "bee ✿", "10"],
        "preprocessing": {"height": 32, "width": 48},
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


def example_of_parts(**changes: Any) -> Bundle:
    """A bundle of three parts, two of which one phase made."""
    whole = example()
    values: dict[str, Any] = {name: value for name, value in vars(whole).items() if name != "parts"}
    parts = {
        "text": Part({"w": torch.ones(2)}, phase="contrastive"),
        "image": Part({"w": torch.zeros(3)}, structure={"a": [1]}, phase="contrastive"),
        "decoder_2": Part({}, graph=b"onnx", phase="decoder"),
    }
    prompts = {"ant": ["a photo of an ant", "an ant ✿"]}
    return Bundle(**{**values, "parts": parts, "prompts": prompts, "open_set": True, **changes})


def assert_equal(found: Bundle, expected: Bundle) -> None:
    for name in vars(expected):
        if name != "parts":
            assert getattr(found, name) == getattr(expected, name), name
    assert set(found.parts) == set(expected.parts)
    for name, part in expected.parts.items():
        assert_equal_parts(found.parts[name], part)


def assert_equal_parts(found: Part, expected: Part) -> None:
    for name in ("structure", "graph", "phase"):
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
