"""The table and the curves that a training leaves."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tao_like.plots.curves import draw_training_curves, history_csv, write_curves
from tao_like.plots.palette import ACCENT, rgb
from tao_like.tracking.files import atomic_path

HISTORY = [
    {"epoch": 1, "train_loss": 2.0},
    {"epoch": 2, "train_loss": 1.0, "val_loss": 1.5, "val_accuracy": 0.5},
    {"epoch": 3, "train_loss": 0.5, "val_loss": float("nan"), "val_accuracy": 0.75},
]


def test_a_line_an_epoch_with_empty_cells_where_there_is_no_value() -> None:
    assert history_csv(HISTORY).splitlines() == [
        "epoch,train_loss,val_loss,val_accuracy",
        "1,2,,",
        "2,1,1.5,0.5",
        "3,0.5,nan,0.75",
    ]


def test_both_files_are_written_and_the_table_is_read_back(tmp_path: Path) -> None:
    write_curves(tmp_path, HISTORY, atomic_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["curves.png", "metrics.csv"]
    with (tmp_path / "metrics.csv").open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    found = [{name: float(cell) for name, cell in row.items() if cell} for row in rows]
    np.testing.assert_equal(found, HISTORY)
    with Image.open(tmp_path / "curves.png") as image:
        assert image.size == (840, 300)
    write_curves(tmp_path / "none", [], atomic_path)
    assert not (tmp_path / "none" / "metrics.csv").exists()


def test_a_broken_writing_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_curves(tmp_path, HISTORY[:1], atomic_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    @contextmanager
    def full(final: Path) -> Iterator[Path]:
        with atomic_path(final) as path:
            yield path
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        write_curves(tmp_path, HISTORY, full)

    def fails(self: Image.Image, *_: object, **__: object) -> None:
        raise OSError("full")

    monkeypatch.setattr(Image.Image, "save", fails)
    with pytest.raises(OSError, match="full"):
        write_curves(tmp_path, HISTORY, atomic_path)
    assert {path.name for path in tmp_path.iterdir()} == set(before)
    assert (tmp_path / "curves.png").read_bytes() == before["curves.png"]


def test_a_falling_loss_falls_and_one_epoch_is_a_dot() -> None:
    pixels = np.asarray(draw_training_curves(HISTORY))
    found = np.argwhere((pixels[:, :300] == rgb(ACCENT)).all(axis=2))
    assert found[found[:, 1].argmin(), 0] < found[found[:, 1].argmax(), 0]
    single = np.asarray(draw_training_curves(HISTORY[:1]))
    assert (single == rgb(ACCENT)).all(axis=2).sum() > 20
    draw_training_curves([])
