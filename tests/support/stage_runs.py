"""What the tests of stages share: reading run folders, comparing them, breaking a training."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tao_like.bundle import read_bundle

PROBABILITY_TOLERANCE = 1e-4


def status_lines(folder: Path) -> list[dict[str, Any]]:
    """The lines of a run folder's status.json."""
    return [json.loads(line) for line in (folder / "status.json").read_text("utf-8").splitlines()]


def graph_file(path: Path) -> Path:
    """An exported model's file; of one that is a folder of several graphs the first."""
    return path if path.is_file() else sorted(path.glob("*.onnx"))[0]


def model_size(path: Path) -> int:
    """Bytes of a model's file, or of all files of a folder."""
    return path.stat().st_size if path.is_file() else sum(file.stat().st_size for file in path.iterdir())


def copy_model(path: Path, target: Path) -> None:
    """Copies a model's file, or its folder."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        shutil.copytree(path, target)
    else:
        shutil.copyfile(path, target)


def csv_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def assert_failed(folder: Path, words: str) -> None:
    """The run in ``folder`` ended as a failure that says ``words``."""
    last = status_lines(folder)[-1]
    assert (last["status"], words in last["message"]) == ("FAILURE", True), last


def weights_of(path: Path) -> dict[str, Tensor]:
    """The weights of a bundle; of one of several parts with the part's name in front."""
    parts = read_bundle(path).parts
    if len(parts) == 1:
        return next(iter(parts.values())).weights
    return {f"{part}.{name}": tensor for part, one in parts.items() for name, tensor in one.weights.items()}


def assert_same_weights(first: Path, second: Path) -> None:
    """Two bundles hold the same weights, to the last bit."""
    one, other = weights_of(first), weights_of(second)
    assert one.keys() == other.keys()
    different = [name for name, tensor in one.items() if not tensor.equal(other[name])]
    assert not different


def distance(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> float:
    """The norm of the difference of two sets of tensors, as a fraction of the first's norm; all of one
    form."""
    assert {name: (tensor.shape, tensor.dtype) for name, tensor in first.items()} == {
        name: (tensor.shape, tensor.dtype) for name, tensor in second.items()
    }
    gaps = [(tensor.double() - second[name]).norm() for name, tensor in first.items()]
    sizes = [tensor.double().norm() for tensor in first.values()]
    return float(torch.stack(gaps).norm() / torch.stack(sizes).norm())


def assert_rows_agree(rows: Sequence[Mapping[str, Any]], others: Sequence[Mapping[str, Any]]) -> None:
    """Two lists of predictions: texts are equal, numbers within the tolerance of a probability."""
    assert len(rows) == len(others) > 0
    for row, other in zip(rows, others, strict=True):
        assert row.keys() == other.keys()
        for name, value in row.items():
            try:
                assert float(value) == pytest.approx(float(other[name]), abs=PROBABILITY_TOLERANCE), name
            except ValueError:
                assert value == other[name], name


def break_in_second_epoch(patch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Lets the next training end with ``error`` when its second epoch begins."""
    from tao_like.stages.train.loop import PhaseTraining

    train_epoch = PhaseTraining.train_epoch

    def train_or_break(training: PhaseTraining) -> None:
        if training.state.epoch == 1:
            raise error
        train_epoch(training)

    patch.setattr(PhaseTraining, "train_epoch", train_or_break)
