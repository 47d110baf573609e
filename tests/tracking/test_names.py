"""Names that are no text, and cells that programs would run."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_classification import run

from tao_like.bundle import read_bundle
from tao_like.tracking.files import csv_cell, readable, to_plain


def test_bytes_that_are_no_text_are_escaped() -> None:
    latin = os.fsdecode(b"gr\xfcn.png")
    assert readable(latin) == "gr\\xfcn.png"
    assert readable("grün \ud800") == "grün \\ud800"
    assert to_plain({latin: [latin, Path(latin)]}) == {"gr\\xfcn.png": ["gr\\xfcn.png"] * 2}


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ("=1+2", "'=1+2"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0"),
        ("-x", "'-x"),
        ("\t=1", "'\t=1"),
        ("-0.25", "-0.25"),
        ("+3e5", "+3e5"),
        ("a/=b.png", "a/=b.png"),
        ("red\x1b[31m", "red?[31m"),
        (-0.5, -0.5),
        (True, True),
        (None, None),
    ],
)
def test_cells_that_a_table_program_would_run_are_text(value: object, cell: object) -> None:
    assert csv_cell(value) == cell


def test_names_that_are_not_utf8_go_through_training_and_inference(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    for split in (b"train", b"val"):
        for number, label in enumerate((b"=a", b"gr\xfcn")):
            folder = tmp_path / os.fsdecode(b"d\xe4ta") / os.fsdecode(split) / os.fsdecode(label)
            folder.mkdir(parents=True)
            for index in range(4):
                pixels = draw.integers(0, 100, (40, 40, 3)) + 100 * number
                Image.fromarray(pixels.astype(np.uint8)).save(
                    folder / os.fsdecode(b"fahrr\xe4der%d.png" % index)
                )
    data = tmp_path / os.fsdecode(b"d\xe4ta")
    words = [f"dataset.{split}_dataset.images_dir={data / split}" for split in ("train", "val")]
    trained = run("train", tmp_path / "results", *words, "train.num_epochs=1", "train.max_steps=1")
    bundle = read_bundle(trained.bundle)
    assert bundle.classes == ["=a", "gr\\xfcn"]
    # The split names the files themselves, so that they are found again.
    assert bundle.split is not None
    assert all((data / "val" / entry["file"]).is_file() for entry in bundle.split["val"])
    evaluated = run("evaluate", tmp_path / "results", *words)
    with evaluated.predictions.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert rows[0]["path"] == "'=a/fahrr\\xe4der0.png"
    assert rows[-1]["truth"] == "gr\\xfcn"
    json.loads((evaluated.folder / "report.json").read_text(encoding="utf-8"))
    asked = run("inference", tmp_path / "results", f"inference.source={data / 'val'}")
    assert len(asked.predictions.read_text(encoding="utf-8").splitlines()) == 9
