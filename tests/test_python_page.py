"""docs/python.md: its examples run, one after another, and what it refers to is there."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx_graphs import graph, node, weights
from PIL import Image

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "python.md").read_text("utf-8")

SPEC = """\
results_dir: results/photos
model: {backbone: {type: test_resnet}}
dataset:
  train_dataset: {images_dir: photos}
  split: {val: 0.25, test: 0.25}
  img_size: 32
  batch_size: 4
  workers: 0
train: {accelerator: cpu, num_epochs: 1, optim: {warmup_epochs: 0}}
"""


def test_the_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    draw = np.random.default_rng(0)
    for label, level in (("cats", 60), ("dogs", 180)):
        folder = tmp_path / "photos" / label
        folder.mkdir(parents=True)
        for number in range(1, 9):
            pixels = draw.normal(level, 20, (40, 40, 3)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{number:03d}.jpg")
    (tmp_path / "photos.yaml").write_text(SPEC, encoding="utf-8")
    model = graph([node("MatMul", "x w", "y")], {"x": ["n", 3]}, ["y"], {"w": weights(3, 2)})
    onnx.save(model, tmp_path / "foreign.onnx")
    names: dict[str, Any] = {}
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) >= 8
    for block in blocks:
        exec(compile(block, "docs/python.md", "exec"), names)
    assert [epoch for epoch, _ in names["curve"].points] == [1, 2]
    for image in ("inputs.png", "curves.png", "confusion.png"):
        assert (tmp_path / image).is_file()


def test_every_reference_leads_somewhere_and_has_a_sentence_before_it() -> None:
    for name in re.findall(r"^::: ([\w.]+)$", PAGE, re.MULTILINE):
        module, _, member = name.rpartition(".")
        try:
            importlib.import_module(name)
        except ModuleNotFoundError:
            assert hasattr(importlib.import_module(module), member), name
    for section in PAGE.split("\n## ")[1:]:
        before = section.partition(":::")[0].splitlines()[1:]
        assert len(" ".join(before).split()) >= 15, section.splitlines()[0]
