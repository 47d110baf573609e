"""The comparison: its names, its table, its image, and when it fails."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stage_runs import assert_failed
from tiny_classification import data_overrides, run

from tao_like.errors import BundleError, ConversionError, SpecError
from tao_like.plots.palette import rgb
from tao_like.stages.compare import comparison_table, stage
from tao_like.stages.compare.figure import COLORS, draw_comparison
from tao_like.stages.compare.models import short_names
from tao_like.stages.compare.table import processor_lines, short_number, table_text, write_csv


@pytest.fixture(scope="module")
def bundles(class_folders: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two bundles of the same classes, hardly trained."""
    made = []
    for seed in (1, 2):
        results = tmp_path_factory.mktemp(f"seed{seed}")
        words = [*data_overrides(class_folders), "train.max_steps=1", f"train.seed={seed}"]
        made.append(run("train", results, *words).bundle)
    return made


def row(name: str, accuracy: float, milliseconds: float | None = 2.0, **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "path": f"/somewhere/{name}",
        "form": "ONNX fp32",
        "runs_in": "onnxruntime",
        "metrics": {"accuracy": accuracy, "f1": accuracy / 2},
        "drop": 0.9 - accuracy,
        "bytes": 13_500_000,
        "parameters": 3_330_000,
        "macs": 384_000_000,
        "median_ms": milliseconds,
        "p95_ms": milliseconds,
        "throughput": 123.456,
        "throughput_batch": 8,
        **more,
    }


def test_the_table_says_what_the_rows_say() -> None:
    rows = [row("a.onnx", 0.9, 8.0), row("b.onnx", 0.875, 2.0, bytes=3_800_000, macs=None)]
    lines = table_text(comparison_table(rows, "accuracy")).splitlines()
    cells = [line.split() for line in lines]
    assert cells[1] == [
        "model",
        "form",
        "accuracy",
        "lost",
        "MB",
        "params",
        "MACs",
        "ms",
        "p95",
        "x",
        "/s",
        "at",
        "8",
    ]
    assert cells[2] == [
        "a.onnx",
        "ONNX",
        "fp32",
        "0.9000",
        "+0.0000",
        "13.5",
        "3.33M",
        "384M",
        "8.00",
        "8.00",
        "1.00",
        "123.5",
    ]
    assert cells[3] == [
        "b.onnx",
        "ONNX",
        "fp32",
        "0.8750",
        "+0.0250",
        "3.8",
        "3.33M",
        "-",
        "2.00",
        "2.00",
        "4.00",
        "123.5",
    ]


@pytest.mark.parametrize(
    ("processors", "overflows", "words"),
    [
        ("any", True, "hold on any processor"),
        (
            "x86 with VNNI, ARM",
            False,
            "hold on x86 with VNNI, ARM (weights of 8 bits), latency on this processor;",
        ),
        ("x86 with VNNI, ARM", True, "a slower form"),
        (None, False, "does not say"),
    ],
)
def test_int8_figures_say_for_which_processors_they_hold(
    processors: str | None, overflows: bool, words: str
) -> None:
    rows = [row("a.onnx", 0.9), row("b.onnx", 0.8, form="ONNX int8", processors=processors)]
    (line,) = processor_lines(rows, overflows=overflows)
    assert line.startswith("b.onnx")
    assert words in line


@pytest.mark.parametrize(
    ("value", "text"), [(None, "-"), (999, "999"), (1500, "1.5k"), (25_600_000, "25.6M"), (4.1e9, "4.1G")]
)
def test_large_numbers_in_short(value: int | None, text: str) -> None:
    assert short_number(value) == text


def test_names_are_short_and_differ() -> None:
    assert short_names([Path("r/train/model.tltb")]) == ["model.tltb"]
    assert short_names([Path("a/train/model.tltb"), Path("b/train/model.tltb")]) == [
        "a/train/model.tltb",
        "b/train/model.tltb",
    ]


def test_the_image_puts_the_faster_model_left_and_the_better_one_higher() -> None:
    quick, slow = row("q", 0.7, 1.0, form="ONNX int8"), row("s", 0.9, 10.0, form="bundle")
    pixels = np.asarray(draw_comparison([slow, quick], "accuracy"))

    def center(form: str) -> np.ndarray:
        found = np.argwhere((pixels == rgb(COLORS[form])).all(axis=2))
        # The first is the point; the other lies in the legend, at the lower edge.
        return found[found[:, 0] < 480].mean(axis=0)

    faster, better = center("ONNX int8"), center("bundle")
    assert faster[1] < better[1]
    assert faster[0] > better[0]


@pytest.mark.parametrize("rows", [[row("one", 0.5)], [row("x", 1.0, 3.0), row("y", 1.0, 3.0)]])
def test_the_image_of_one_or_of_equal_models_is_drawn(rows: list[dict[str, Any]]) -> None:
    assert draw_comparison(rows, "accuracy").size == (900, 560)


def test_a_loss_above_the_limit_fails_and_the_table_is_written(
    bundles: list[Path], class_folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = {str(path.parent.parent.name): value for path, value in zip(bundles, (0.9, 0.85), strict=True)}

    def fixed(candidate: Any, *_: Any) -> dict[str, float]:
        return {"accuracy": scores[candidate.path.parent.parent.name]}

    monkeypatch.setattr(stage, "_metrics", fixed)
    given = f"compare.checkpoints=['{bundles[0]}','{bundles[1]}']"
    words = [*data_overrides(class_folders), given, "compare.rounds=0"]
    with pytest.raises(ConversionError, match=r"compare\.max_drop=0\.04.*0\.0500") as caught:
        run("compare", tmp_path, *words, "compare.max_drop=0.04")
    assert caught.value.exit_code == 1
    assert_failed(tmp_path / "compare", "compare.max_drop")
    rows = json.loads((tmp_path / "compare" / "report.json").read_text("utf-8"))["rows"]
    assert [line["drop"] for line in rows] == pytest.approx([0, 0.05])
    assert (tmp_path / "compare" / "comparison.csv").is_file()
    # Nothing was timed, so there is nothing to draw.
    assert not (tmp_path / "compare" / "comparison.png").exists()
    assert run("compare", tmp_path, *words, "compare.max_drop=0.06").rows[1]["median_ms"] is None


def test_wrong_lists_of_models_are_named(bundles: list[Path], class_folders: Path, tmp_path: Path) -> None:
    data = data_overrides(class_folders)
    text = tmp_path / "notes.txt"
    text.write_text("no model")
    for given, words in (
        (f"['{bundles[0]}','{tmp_path / 'none.onnx'}']", "no file .*none.onnx"),
        (f"['{bundles[0]}','{bundles[0]}']", "given twice"),
        (f"['{bundles[0]}','{text}']", "neither a bundle"),
    ):
        with pytest.raises((SpecError, BundleError), match=words):
            run("compare", tmp_path, *data, f"compare.checkpoints={given}", "compare.rounds=0")


def test_other_test_samples_are_warned_of(bundles: list[Path], class_folders: Path, tmp_path: Path) -> None:
    train = f"dataset.train_dataset.images_dir={class_folders / 'train'}"
    divided = []
    for seed in (0, 1):
        words = [train, "dataset.split.val=0.2", "dataset.split.test=0.2", f"dataset.split.seed={seed}"]
        divided.append(run("train", tmp_path / f"split{seed}", *words, "train.max_steps=1").bundle)
    given = f"compare.checkpoints=['{divided[0]}','{divided[1]}']"
    run("compare", tmp_path, *words, given, "compare.rounds=0")
    log = (tmp_path / "compare" / "log.txt").read_text("utf-8")
    assert "another division of the data" in log


def test_names_in_the_table_are_text(tmp_path: Path) -> None:
    name = "=2+5[bold]x\x1b[31m.onnx"
    rows = [row(name, 0.9), row("-0.5", 0.9, path=os.fsdecode(b"/gr\xfcn.onnx"))]
    rows[0]["metrics"] = rows[1]["metrics"] = {"accuracy": 0.9, "@AP": -0.25}
    write_csv(tmp_path / "comparison.csv", rows)
    with (tmp_path / "comparison.csv").open(newline="", encoding="utf-8") as file:
        read = list(csv.DictReader(file))
    assert read[0]["name"] == "'=2+5[bold]x?[31m.onnx"
    # A number is a number, whoever wrote it.
    assert (read[1]["name"], read[1]["path"], read[0]["'@AP"]) == ("-0.5", "/gr\\xfcn.onnx", "-0.25")
    text = table_text(comparison_table(rows, "accuracy"))
    assert "=2+5[bold]x?[31m.onnx" in text
    assert "\x1b" not in text
