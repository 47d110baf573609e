"""Models of several graphs: values by hand, and folders that are refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from PIL import Image

from tao_like.errors import BundleError, DatasetError, SpecError
from tao_like.runtime import (
    ImagePreprocessing,
    InputMetadata,
    Model,
    ModelMetadata,
    Pipeline,
    load,
    write_pipeline,
)
from tao_like.runtime.predictions.classes import MULTI_LABEL
from tao_like.runtime.predictions.embedding import EMBEDDING

GREEN = Image.new("RGB", (5, 4), (51, 255, 0))
INPUTS = {
    "image": InputMetadata(
        "image", ImagePreprocessing(2, 2, "squash").to_dict(), "uint8_nhwc", [0.0] * 3, [1.0] * 3
    )
}


def save_graph(
    path: Path, nodes: list[Any], inputs: list[Any], outputs: list[Any], constants: list[Any]
) -> None:
    graph = helper.make_graph(nodes, "graph", inputs, outputs, constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def floats(name: str, *shape: int | str) -> Any:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def write_folder(folder: Path, **changes: Any) -> Path:
    """``image`` means the channels to features of 0 to 1; ``head`` multiplies them by the constant ``scale``.

    ``other`` adds one to what it is given, and is run alone.
    """
    save_graph(
        folder / "image.onnx",
        [
            helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
            helper.make_node("ReduceMean", ["float"], ["mean"], axes=[1, 2], keepdims=0),
            helper.make_node("Div", ["mean", "most"], ["features"]),
        ],
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", 2, 2, 3])],
        [floats("features", "n", 3)],
        [helper.make_tensor("most", TensorProto.FLOAT, [], [255.0])],
    )
    save_graph(
        folder / "head.onnx",
        [helper.make_node("Mul", ["features", "scale"], ["scores"])],
        [floats("features", "n", 3), floats("scale", 3)],
        [floats("scores", "n", 3)],
        [],
    )
    save_graph(
        folder / "other.onnx",
        [helper.make_node("Add", ["x", "one"], ["y"])],
        [floats("x", 2)],
        [floats("y", 2)],
        [helper.make_tensor("one", TensorProto.FLOAT, [], [1.0])],
    )
    (folder / "words.txt").write_text("red\ngreen\n")
    metadata = ModelMetadata(
        task="searching",
        inputs=INPUTS,
        prediction="classes",
        outputs={"scores": MULTI_LABEL},
        classes=["red", "green", "blue"],
    )
    values: dict[str, Any] = {
        "metadata": metadata,
        "graphs": {"image": "image.onnx", "head": "head.onnx", "other": "other.onnx"},
        "order": ["image", "head"],
        "constants": {"scale": [0.5, 0.75, 1], "guidance": 7.5},
        "files": {"tokenizer": "words.txt"},
    }
    write_pipeline(folder, **{**values, **changes})
    return folder


def test_a_pipeline_predicts_as_one_model_does(tmp_path: Path) -> None:
    model = load(write_folder(tmp_path))
    assert isinstance(model, Pipeline)
    assert isinstance(model, Model)
    prediction = model.predict(GREEN)
    assert prediction.probabilities == pytest.approx({"red": 0.1, "green": 0.75, "blue": 0.0}, abs=1e-6)
    assert prediction.label == "green"
    GREEN.save(tmp_path / "green.png")
    assert [one.labels for one in model.predict([tmp_path / "green.png"] * 3, batch_size=2)] == [
        ("green",)
    ] * 3
    assert (model.classes, model.order) == (["red", "green", "blue"], ["image", "head"])
    assert model.constants["guidance"] == 7.5
    assert model.files["tokenizer"].read_text().split() == ["red", "green"]


def test_graphs_run_alone(tmp_path: Path) -> None:
    model = load(write_folder(tmp_path))
    assert isinstance(model, Pipeline)
    batch = np.stack([model.prepare(GREEN)] * 2)
    features = model.run("image", {"image": batch})["features"]
    assert features == pytest.approx(np.array([[0.2, 1, 0]] * 2), abs=1e-6)
    scores = model.run("head", {"features": features})["scores"]
    assert scores == pytest.approx(np.array([[0.1, 0.75, 0]] * 2), abs=1e-6)
    doubled = model.run("head", {"features": features, "scale": np.full(3, 2, np.float32)})["scores"]
    assert doubled == pytest.approx(2 * features)
    assert model["other"].run({"x": np.array([1, 2], np.float32)})["y"].tolist() == [2, 3]
    assert (model["head"].inputs, model["head"].outputs) == (["features", "scale"], ["scores"])
    with pytest.raises(SpecError, match=r"no graph 'tail' in .*head, image, other"):
        model.run("tail", {})
    with pytest.raises(DatasetError, match="graph other is given z; its inputs are x"):
        model.run("other", {"z": features})
    with pytest.raises(DatasetError, match="graph other cannot run on what it is given"):
        model.run("other", {"x": np.zeros(5, np.float32)})
    with pytest.raises(DatasetError, match="preprocessed images are"):
        model.run("image", {"image": batch[:, :1]})


def test_embeddings_are_predictions_too(tmp_path: Path) -> None:
    metadata = ModelMetadata(
        task="searching", inputs=INPUTS, prediction="embedding", outputs={"features": EMBEDDING}
    )
    model = load(write_folder(tmp_path, metadata=metadata, order=["image"]))
    assert model.predict(GREEN).embedding == pytest.approx(np.array([0.2, 1, 0]), abs=1e-6)
    (tmp_path / "bad.png").write_bytes(b"")
    (bad,) = model.predict([tmp_path / "bad.png"], on_error="skip")
    assert "bad.png" in bad.error
    assert len(bad.embedding) == 0


def test_equal_pipelines_are_equal_files(tmp_path: Path) -> None:
    first = (write_folder(tmp_path) / "pipeline.json").read_bytes()
    assert (write_folder(tmp_path) / "pipeline.json").read_bytes() == first
    assert not [path for path in tmp_path.iterdir() if path.suffix == ".tmp"]


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"graphs": {"image": "gone.onnx"}}, r"gone\.onnx is not a file"),
        ({"graphs": {"image": "../image.onnx"}}, "no file name"),
        ({"graphs": {"../image": "image.onnx"}}, r"graphs has the name '\.\./image'"),
        ({"graphs": {}, "order": []}, "graphs is empty"),
        ({"order": ["tail"]}, "order must be a list of names of graphs; the graphs are image, head, other"),
        ({"constants": {"x": float("nan")}}, "cannot be written as JSON"),
        ({"constants": {"x": Path("a")}}, "cannot be written as JSON"),
    ],
)
def test_what_is_not_written(tmp_path: Path, changes: dict[str, Any], rule: str) -> None:
    with pytest.raises(BundleError, match=rule):
        write_folder(tmp_path, **changes)
    assert not (tmp_path / "pipeline.json").exists()


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"order": ["head", "image"]}, "graph head takes features, which no graph before it gives"),
        ({"order": ["image"]}, "no graph of the order gives the outputs scores"),
        ({"order": ["image", "image"]}, "gives features, which is there already"),
        ({"constants": {}}, "graph head takes scale, which"),
        ({"constants": {"scale": "big"}}, r"constants\.scale is no array of numbers"),
        ({"graphs": {"head": "head.onnx"}, "order": ["head"]}, "no graph takes its inputs image"),
    ],
)
def test_graphs_that_do_not_fit_together(tmp_path: Path, changes: dict[str, Any], rule: str) -> None:
    folder = write_folder(tmp_path, **changes)
    with pytest.raises(BundleError, match=rule):
        load(folder)


def entry(kind: str, name: str, **values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda pipeline: pipeline[kind][name].update(values)


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (lambda pipeline: pipeline.update(schema="x"), "does not say that its schema"),
        (lambda pipeline: pipeline.update(schema_version=2, news=1), "schema 2.*up to 1; update tao_like"),
        (lambda pipeline: pipeline.update(schema_version=True), "schema_version is True"),
        (lambda pipeline: pipeline.update(news=1), "misses or adds the fields news"),
        (lambda pipeline: pipeline.pop("order"), "misses or adds the fields order"),
        (lambda pipeline: pipeline.update(constants=[]), "constants must be an object"),
        (lambda pipeline: pipeline.update(graphs=[]), "graphs must be an object"),
        (lambda pipeline: pipeline.update(order=[[]]), "order must be a list of names"),
        (lambda pipeline: pipeline.update(metadata={}), "metadata misses or adds"),
        (lambda pipeline: pipeline["graphs"].update({"A": {}}), "graphs has the name 'A'"),
        (
            lambda pipeline: pipeline["graphs"].update(a={}),
            r"graphs\.a must be an object with file and sha256",
        ),
        (entry("graphs", "head", sha256=7), r"graphs\.head\.sha256 must be a text"),
        (entry("graphs", "head", sha256="00"), r"graphs\.head: head\.onnx is not the file that"),
        (entry("files", "tokenizer", sha256="00"), r"files\.tokenizer: words\.txt is not the file that"),
        (entry("graphs", "head", file="/etc/passwd"), "'/etc/passwd' is no file name"),
        (entry("graphs", "head", file="../head.onnx"), "no file name"),
        (entry("graphs", "head", file=".head"), "no file name"),
        (entry("graphs", "head", file="head.onnx\n"), "no file name"),
        (entry("graphs", "head", file=7), "no file name"),
        (entry("graphs", "head", file="gone.onnx"), "is not a file in"),
    ],
)
def test_descriptions_that_are_none(tmp_path: Path, change: Callable[[Any], Any], rule: str) -> None:
    path = write_folder(tmp_path) / "pipeline.json"
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))
    with pytest.raises(BundleError, match=rf"(?s)pipeline\.json: .*{rule}"):
        load(tmp_path)


@pytest.mark.parametrize(
    "text", [b"{", b"\xff", b"[" * 100_000, b'{"a": NaN}', b'{"a": 1, "a": 1}', b'{"a": 1e999}']
)
def test_json_that_is_none(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "pipeline.json").write_bytes(text)
    with pytest.raises(BundleError, match=r"pipeline\.json: it is not valid JSON"):
        load(tmp_path)


def test_files_out_of_the_folder_and_changed_ones(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    folder = write_folder(tmp_path / "model")
    outside = (folder / "head.onnx").rename(tmp_path / "head.onnx")
    (folder / "head.onnx").symlink_to(outside)
    with pytest.raises(BundleError, match=r"head\.onnx is not a file in"):
        load(folder)
    (folder / "head.onnx").unlink()
    (folder / "head.onnx").write_bytes(outside.read_bytes() + b"\0")
    with pytest.raises(BundleError, match=r"head\.onnx is not the file that it was written for"):
        load(folder)
    (tmp_path / "empty").mkdir()
    with pytest.raises(BundleError, match=r"empty is no exported model: it holds no pipeline\.json"):
        load(tmp_path / "empty")
