"""Quantization of a trained network: what is searched, what is read, what is written."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from stage_runs import assert_failed, status_lines
from tiny_classification import data_overrides, run

from tao_like import runtime
from tao_like.bundle import read_bundle, write_bundle
from tao_like.config import load_spec
from tao_like.errors import ConversionError, DatasetError, SpecError
from tao_like.runtime.processor import warn_of_overflow
from tao_like.stages.lib.latency import Latency
from tao_like.stages.lib.processor import Processor
from tao_like.stages.quantize import stage
from tao_like.stages.quantize.calibration_data import CalibrationData
from tao_like.stages.quantize.report import drawbacks, latency_report, summary
from tao_like.tasks import spec_module
from tao_like.tasks.classification.data.data import ClassificationData

OUTLIER = 1e5
CHANNEL = 5


def int8_weights(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    """The int8 weights of a quantized graph, by name."""
    return {
        tensor.name: numpy_helper.to_array(tensor)
        for tensor in model.graph.initializer
        if tensor.data_type == onnx.TensorProto.INT8 and len(tensor.dims) > 1
    }


@pytest.fixture(scope="module")
def data(class_folders: Path) -> list[str]:
    return data_overrides(class_folders)


@pytest.fixture(scope="module")
def trained(data: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that tells the three classes apart without a mistake."""
    result = run("train", tmp_path_factory.mktemp("trained"), *data, "train.num_epochs=4")
    assert result.metrics["accuracy"] == 1.0
    return result.bundle


@pytest.fixture(scope="module")
def spoilt(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network with one channel that is huge, the same everywhere, and read with weights of zero.

    In float it changes nothing. In int8 all channels share one scale, which rounds all others to zero.
    """
    bundle = read_bundle(trained)
    weights = {name: tensor.clone() for name, tensor in bundle.weights.items()}
    weights["backbone.conv1.1.weight"][CHANNEL] = 0
    weights["backbone.conv1.1.bias"][CHANNEL] = OUTLIER
    weights["backbone.conv1.3.weight"][:, CHANNEL] = 0
    path = tmp_path_factory.mktemp("spoilt") / "spoilt.tltb"
    write_bundle(path, dataclasses.replace(bundle, weights=weights))
    return path


def quantize(checkpoint: Path, data: list[str], results: Path, *overrides: str) -> Any:
    return run("quantize", results, *data, f"quantize.checkpoint={checkpoint}", *overrides)


# --- the search ---


def test_the_layers_that_int8_ruins_are_found_and_left_in_float(
    spoilt: Path, data: list[str], tmp_path: Path
) -> None:
    anyway = quantize(spoilt, data, tmp_path / "anyway", "quantize.max_drop=1")
    assert anyway.float_metrics["accuracy"] == 1.0
    assert anyway.metrics["accuracy"] < 0.9
    assert anyway.float_layers == {}
    result = quantize(spoilt, data, tmp_path / "searched", "quantize.max_drop=0.01")
    assert result.metrics["accuracy"] >= 0.99
    # The outlier lies between these two: one writes it, the other reads it.
    guilty = {name for name in result.report["layer_costs"] if "/conv1.0/" in name or "/conv1.3/" in name}
    costs = result.report["layer_costs"]
    assert len(guilty) == 2
    assert set(list(costs)[:2]) == guilty
    assert set(result.float_layers) == guilty
    assert all("alone it changes the outputs" in reason for reason in result.float_layers.values())
    extra = runtime.load(result.onnx_file).metadata.extra["quantization"]
    assert set(extra["float_layers"]) == guilty
    assert any("in float" in line["message"] for line in status_lines(result.folder))


def test_where_no_choice_holds_the_loss_nothing_is_written(
    trained: Path, data: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def worse(self: Any, model: Any, name: str) -> dict[str, float]:
        calls.append(name)
        return {"accuracy": 1.0 if name == "fp32" else 0.5}

    monkeypatch.setattr(stage._Quantization, "_metrics", worse)
    with pytest.raises(ConversionError, match=r"0\.5000.*quantize\.max_drop=0\.01") as caught:
        quantize(trained, data, tmp_path)
    assert caught.value.exit_code == 1
    assert_failed(tmp_path / "quantize", "quantize.max_drop")
    assert not (tmp_path / "quantize" / "model_int8.onnx").exists()
    assert len(calls) < 10


# --- the file ---


def test_weights_are_int8_with_a_scale_for_each_output_channel(
    trained: Path, data: list[str], tmp_path: Path
) -> None:
    result = quantize(trained, data, tmp_path)
    graph = onnx.load(result.onnx_file)
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.graph.initializer}
    producers = {node.output[0]: node for node in graph.graph.node}
    layers = [node for node in graph.graph.node if node.op_type in ("Conv", "Gemm")]
    assert len(layers) == len(result.report["int8_layers"]) > 10
    for layer in layers:
        dequantize = producers[layer.input[1]]
        weight, scale = (constants[name] for name in dequantize.input[:2])
        assert weight.dtype == np.int8
        assert scale.shape == (weight.shape[0],)
        assert {item.name: item.i for item in dequantize.attribute}["axis"] == 0
        largest = np.abs(weight.astype(int).reshape(len(weight), -1)).max(axis=1)
        assert 63 <= largest.min() <= largest.max() <= 64


@pytest.mark.parametrize(
    ("overflows", "words", "limit"),
    [
        (True, (), 64),
        (False, (), 64),
        (True, ("quantize.target=this",), 64),
        (False, ("quantize.target=this",), 127),
        (True, ("quantize.target=vnni",), 127),
        (False, ("quantize.reduce_range=auto",), 127),
        (False, ("quantize.reduce_range=true",), 64),
    ],
)
def test_weights_have_the_bits_of_the_target_and_the_file_says_so(
    overflows: bool,
    words: tuple[str, ...],
    limit: int,
    trained: Path,
    data: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stage, "this_processor", lambda: Processor("Test", 2, "", overflows))
    result = quantize(trained, data, tmp_path, "quantize.num_samples=4", *words)
    largest = {int(np.abs(w.astype(int)).max()) for w in int8_weights(onnx.load(result.onnx_file)).values()}
    assert max(largest) <= limit
    assert min(largest) > limit - 3
    bits = 7 if limit == 64 else 8
    stated = runtime.load(result.onnx_file).metadata.extra["quantization"]
    assert stated["weight_bits"] == result.report["target"]["weight_bits"] == bits
    assert stated["processors"] == ("any" if bits == 7 else "x86 with VNNI, ARM")
    log = (result.folder / "log.txt").read_text("utf-8")
    assert f"Weights have {bits} bits" in log
    assert ("a slower form" in log) is (overflows and bits == 8)


def test_keys_that_contradict_each_other_are_named() -> None:
    spec = spec_module("classification").Spec
    with pytest.raises(SpecError, match=r"quantize\.reduce_range.*target: vnni"):
        load_spec(spec, None, ["quantize.target=vnni", "quantize.reduce_range=true"])
    with pytest.raises(SpecError, match=r"quantize\.target.*any.*arm"):
        load_spec(spec, None, ["quantize.target=avx2"])


@pytest.mark.parametrize("exact", [True, False])
def test_only_where_metrics_may_be_wrong_the_runtimes_warning_stays(
    exact: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        runtime, "load", lambda path: warn_of_overflow(path, ["CPUExecutionProvider"], exact=exact)
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        stage._open(Path("m.onnx"))
    assert len(caught) == (0 if exact else 1)


# --- what it says ---


@pytest.mark.parametrize(
    ("milliseconds", "size", "words"),
    [
        (2.0, 400, []),
        (3.0, 400, ["slower than fp32 here (3.00 ms, fp32 2.50 ms)"]),
        (2.0, 1001, ["larger than the fp32 file (1,001 bytes, fp32 1,000)"]),
        (3.0, 1001, ["slower", "larger"]),
    ],
)
def test_a_file_that_is_slower_or_larger_than_fp32_says_so(
    milliseconds: float, size: int, words: list[str]
) -> None:
    latency = {
        name: latency_report(Latency((median,) * 3))
        for name, median in (("fp32", 2.5), ("int8", milliseconds))
    }
    report: dict[str, Any] = {
        "bytes": size,
        "bytes_fp32": 1000,
        "latency": latency,
        "speed": 2.5 / milliseconds,
        "int8_layers": ["a"],
        "target": {"processors": "any", "weight_bits": 7},
        "metrics": {},
    }
    report["drawbacks"] = drawbacks(report)
    assert len(report["drawbacks"]) == len(words)
    lines = summary(Path("m.onnx"), report, [], "accuracy")
    for sentence, word in zip(report["drawbacks"], words, strict=True):
        assert word in sentence
        assert sentence in lines
    assert any("any" in line and "7 bits" in line for line in lines)


def test_the_report_of_a_run_has_the_drawbacks_that_its_figures_show(
    trained: Path, data: list[str], tmp_path: Path
) -> None:
    result = quantize(trained, data, tmp_path, "quantize.num_samples=4")
    report = result.report
    worse = (report["speed"] < 1) + (report["bytes"] > report["bytes_fp32"])
    assert len(report["drawbacks"]) == worse
    assert set(report["drawbacks"]) <= set(result.summary)


def test_pixels_are_quantized_once_and_the_end_is_in_float(
    trained: Path, data: list[str], tmp_path: Path
) -> None:
    graph = onnx.load(quantize(trained, data, tmp_path).onnx_file).graph
    readers = {name: node for node in graph.node for name in node.input}
    chain = [readers["image"]]
    while chain[-1].op_type != "Conv":
        chain.append(readers[chain[-1].output[0]])
    kinds = [node.op_type for node in chain]
    assert kinds == ["Transpose", "Cast", "Mul", "Add", "QuantizeLinear", "DequantizeLinear", "Conv"]
    last = next(node for node in graph.node if node.output[0] == "probabilities")
    before = next(node for node in graph.node if last.input[0] in node.output)
    assert [before.op_type, last.op_type] == ["Gemm", "Softmax"]


def test_the_answers_stay_near_those_of_fp32(trained: Path, data: list[str], tmp_path: Path) -> None:
    result = quantize(trained, data, tmp_path)
    expected = run("evaluate", tmp_path / "fp32", *data, f"evaluate.checkpoint={trained}")
    actual = run("evaluate", tmp_path / "int8", *data, f"evaluate.checkpoint={result.onnx_file}")
    assert actual.metrics["accuracy"] == expected.metrics["accuracy"] == 1.0
    assert abs(actual.metrics["calibration_error"] - expected.metrics["calibration_error"]) < 0.05
    assert 0 < result.report["largest_difference"] < 0.1


# --- the data ---


def test_ranges_come_from_training_samples_alone(
    trained: Path, data: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, str]] = []
    calibrating: list[bool] = []
    made = ClassificationData.dataset

    def watched(self: Any, split: str, *, augment: bool = False) -> Any:
        dataset = made(self, split, augment=augment)  # type: ignore[arg-type]
        sample = dataset.sample
        monkeypatch.setattr(
            dataset, "sample", lambda index: (seen.append((split, sample(index).key)), sample(index))[1]
        )
        return dataset

    calibrate = stage.calibrate

    def marked(model: Any, tensors: Any, feeds: Any, *rest: Any) -> Any:
        def only() -> Iterator[Any]:
            seen.clear()
            yield from feeds()
            calibrating.append(True)
            assert {split for split, _ in seen} == {"train"}

        return calibrate(model, tensors, only, *rest)

    monkeypatch.setattr(ClassificationData, "dataset", watched)
    monkeypatch.setattr(stage, "calibrate", marked)
    result = quantize(trained, data, tmp_path, "quantize.num_samples=6")
    assert calibrating == [True]
    assert result.report["calibration"]["samples"] == 6


def test_the_samples_are_spread_over_the_classes(
    trained: Path, data: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen: list[list[int]] = []

    def noted(*arguments: Any) -> Any:
        made = CalibrationData(*arguments)
        chosen.append(made.numbers)
        return made

    monkeypatch.setattr(stage, "CalibrationData", noted)
    quantize(trained, data, tmp_path, "quantize.num_samples=3")
    # 24 samples, 8 of each class one after the other.
    assert chosen == [[0, 8, 16]]


def test_without_training_data_it_says_what_to_give(trained: Path, data: list[str], tmp_path: Path) -> None:
    without = [word for word in data if "train_dataset" not in word]
    with pytest.raises(DatasetError, match=r"dataset\.train_dataset"):
        quantize(trained, without, tmp_path)


def test_without_validation_data_it_warns_that_the_loss_is_not_known(
    trained: Path, data: list[str], tmp_path: Path
) -> None:
    without = [word for word in data if "val_dataset" not in word]
    without += ["dataset.split.val=0", "train.keep=last"]
    result = quantize(trained, without, tmp_path)
    assert result.metrics == {}
    assert "no validation data" in (result.folder / "log.txt").read_text("utf-8")


# --- where it starts ---


def test_the_default_is_what_export_left_unless_it_is_of_another_training(
    trained: Path, spoilt: Path, data: list[str], tmp_path: Path
) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "model.tltb").write_bytes(trained.read_bytes())
    words = [*data, "quantize.max_drop=1"]
    assert run("quantize", tmp_path, *words).report["checkpoint"].endswith("train/model.tltb")
    run("export", tmp_path, *data)
    assert run("quantize", tmp_path, *words).report["checkpoint"].endswith("export/model.onnx")
    (tmp_path / "train" / "model.tltb").write_bytes(spoilt.read_bytes())
    assert run("quantize", tmp_path, *words).report["checkpoint"].endswith("train/model.tltb")


def test_words_of_tao_are_understood_or_named_in_one_line() -> None:
    spec = spec_module("classification").Spec
    given = ["quantize.model_path=a.onnx", "quantize.algorithm=minmax", "quantize.skip_names=[head]"]
    loaded = load_spec(spec, None, [*given, "quantize.backend=torchao", "quantize.mode=static_ptq"])
    assert loaded.spec.quantize.checkpoint == "a.onnx"
    assert loaded.spec.quantize.skip_names == ["head"]
    assert len(loaded.notes) == 1
    assert "quantize.backend" in loaded.notes[0]
    assert "quantize.mode" in loaded.notes[0]
