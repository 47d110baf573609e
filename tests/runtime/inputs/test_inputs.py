"""Graphs with several inputs: each is preprocessed by its kind and fed by its name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from PIL import Image

from tao_like.errors import BundleError, DatasetError
from tao_like.runtime import ImagePreprocessing, InputMetadata, ModelMetadata, load
from tao_like.runtime.metadata import METADATA_KEY
from tao_like.runtime.predictions.classes import MULTI_LABEL

SIDE = 2
WEIGHTS = np.array([0.5, 0.25], np.float32)


def image_input(side: int = SIDE) -> InputMetadata:
    """Pixels as they are."""
    preprocessing = ImagePreprocessing(side, side, "squash").to_dict()
    return InputMetadata("image", preprocessing, "uint8_nhwc", [0.0] * 3, [1.0] * 3)


def write_pair_model(path: Path, batches: tuple[int | str, int | str] = ("n", "n"), **changes: Any) -> Path:
    """A graph of two images: the mean red of ``first`` / 510 + the mean red of ``second`` / 1020."""
    nodes, added = [], []
    for name, weight in zip(("first", "second"), WEIGHTS, strict=True):
        nodes += [
            helper.make_node("Cast", [name], [f"{name} float"], to=TensorProto.FLOAT),
            helper.make_node("ReduceMean", [f"{name} float"], [f"{name} mean"], axes=[1, 2], keepdims=0),
            helper.make_node("Mul", [f"{name} mean", f"{name} weight"], [f"{name} part"]),
        ]
        added.append(helper.make_tensor(f"{name} weight", TensorProto.FLOAT, [], [weight / 255]))
    nodes.append(helper.make_node("Add", ["first part", "second part"], ["probabilities"]))
    graph = helper.make_graph(
        nodes,
        "pair",
        [
            helper.make_tensor_value_info(name, TensorProto.UINT8, [batch, SIDE, SIDE, 3])
            for name, batch in zip(("first", "second"), batches, strict=True)
        ],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", 3])],
        added,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    values: dict[str, Any] = {
        "task": "comparing",
        "inputs": {"second": image_input(), "first": image_input()},
        "prediction": "classes",
        "outputs": {"probabilities": MULTI_LABEL},
        "classes": ["red", "green", "blue"],
    }
    helper.set_model_props(model, {METADATA_KEY: ModelMetadata(**{**values, **changes}).to_json()})
    onnx.save(model, path)
    return path


def solid(red: int) -> Image.Image:
    return Image.new("RGB", (5, 4), (red, 0, 0))


@pytest.mark.parametrize("batches", [("n", "n"), (1, 1), (2, 2)])
def test_two_inputs_by_hand(tmp_path: Path, batches: tuple[int | str, int | str]) -> None:
    model = load(write_pair_model(tmp_path / "pair.onnx", batches))
    solid(51).save(tmp_path / "a.png")
    pairs: list[Mapping[str, Any]] = [
        {"first": solid(255), "second": solid(102)},
        {"second": solid(255), "first": tmp_path / "a.png"},
        {"first": np.zeros((3, 3, 3), np.uint8), "second": solid(0)},
    ]
    expected = [0.5 + 0.25 * 0.4, 0.5 * 0.2 + 0.25, 0.0]
    found = model.predict(pairs, batch_size=2)
    assert [one.probabilities["red"] for one in found] == pytest.approx(expected, abs=1e-6)
    assert [one.source for one in found] == [None, str(tmp_path / "a.png"), None]
    assert model.predict(pairs[1]).probabilities["red"] == pytest.approx(expected[1], abs=1e-6)
    preprocessed = [model.prepare(pair) for pair in pairs]
    batch = {name: np.stack([one[name] for one in preprocessed]) for name in ("first", "second")}
    outputs = model.run_preprocessed(batch)
    assert outputs["probabilities"][:, 0] == pytest.approx(np.array(expected), abs=1e-6)
    assert set(model.feed(batch)) == {"first", "second"}


def test_an_only_input_may_be_named(write_model: Any) -> None:
    model = load(write_model())
    image = Image.new("RGB", (6, 4), (0, 255, 0))
    expected = model.run_preprocessed(model.prepare(image)[None])["probabilities"]
    assert model.predict({"image": image}).label == "green"
    assert [one.label for one in model.predict([{"image": image}] * 2)] == ["green"] * 2
    batch = {"image": model.prepare({"image": image})["image"][None]}
    assert (model.run_preprocessed(batch)["probabilities"] == expected).all()
    with pytest.raises(DatasetError, match=r"names text are given; the inputs of .* are image"):
        model.predict({"text": "a cat"})


def test_what_a_model_of_two_inputs_refuses(tmp_path: Path) -> None:
    model = load(write_pair_model(tmp_path / "pair.onnx"))
    with pytest.raises(DatasetError, match=r"inputs first, second; give a mapping"):
        model.predict(solid(1))
    with pytest.raises(DatasetError, match=r"names first are given; the inputs of .*first, second"):
        model.predict({"first": solid(1)})
    with pytest.raises(DatasetError, match=r"different lengths: first 1, second 2"):
        model.run_preprocessed(
            {"first": np.zeros((1, 2, 2, 3), np.uint8), "second": np.zeros((2, 2, 2, 3), np.uint8)}
        )
    (tmp_path / "bad.png").write_bytes(b"no picture")
    skipped = model.predict([{"first": tmp_path / "bad.png", "second": solid(1)}], on_error="skip")
    assert "bad.png" in skipped[0].error


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"inputs": {"first": image_input()}}, r"2 inputs \(first, second\); the metadata describes first"),
        ({"inputs": {"first": image_input(), "third": image_input()}}, "describes first, third"),
        ({"inputs": {"first": image_input(), "second": image_input(4)}}, "the metadata promises"),
        ({"batches": (1, 2)}, "different batch sizes"),
    ],
)
def test_files_that_contradict_themselves(tmp_path: Path, changes: dict[str, Any], rule: str) -> None:
    path = write_pair_model(tmp_path / "odd.onnx", **changes)
    with pytest.raises(BundleError, match=rf"odd\.onnx: .*{rule}"):
        load(path)
