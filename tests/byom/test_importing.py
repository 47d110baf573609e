"""A file as a bundle and back, proven, accounted for, and on the command line."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from click.testing import CliRunner
from foreign import classifier, model, random_tensor, saved, tensor
from onnx import helper, numpy_helper
from PIL import Image
from sample_images import shape
from test_patterns import traced

from tao_like.bundle import read_bundle, write_bundle
from tao_like.byom import importing
from tao_like.byom.importing import from_bundle, import_file, to_bundle
from tao_like.byom.proof.images import image_inputs
from tao_like.byom.source.graph import graph_of
from tao_like.cli.byom import byom
from tao_like.errors import BundleError, ConversionError, SpecError
from tao_like.networks.imported.backbone import build_imported


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A little classifier as a file."""
    return saved(classifier(), tmp_path / "little.onnx")


@pytest.mark.parametrize("keeps_norms", [True, False])
def test_norm_layers_that_an_exporter_has_folded_are_told_of(keeps_norms: bool, tmp_path: Path) -> None:
    layers = [
        part for _ in range(5) for part in (torch.nn.Conv2d(3, 3, 1, bias=False), torch.nn.BatchNorm2d(3))
    ]
    proto = traced(torch.nn.Sequential(*layers), torch.zeros(1, 3, 8, 8), keeps_norms=keeps_norms)
    found = import_file(saved(proto, tmp_path / "deep.onnx"))
    assert any("5 convolutions have biases" in note for note in found.report["notes"]) is not keeps_norms
    norms = [part for part in found.imported.module.modules() if isinstance(part, torch.nn.BatchNorm2d)]
    assert len(norms) == 5 * keeps_norms


def test_values_to_cut_at_are_found(path: Path) -> None:
    result = import_file(path)
    assert [(cut.what, cut.value, cut.channels) for cut in result.cuts] == [
        ("stride 2", "r1", 8),
        ("stride 4", "r2", 16),
        ("pooled features", "flat", 16),
    ]
    assert result.report["head"] == {
        "module": "head",
        "features": "flat",
        "channels": 16,
        "classes": 4,
        "squashed": True,
    }


def test_the_report_says_how_it_was_proven(path: Path, tmp_path: Path) -> None:
    files = []
    for number in range(2):
        files.append(tmp_path / f"{number}.png")
        shape(["red"], number, 48).save(files[-1])
    result = import_file(path, images=files)
    assert [(item.batch, item.what) for item in result.comparisons] == [
        (1, "noise"),
        (3, "noise"),
        (2, "pictures"),
    ]
    assert result.largest_difference < 1e-5
    assert json.loads(json.dumps(result.report))["largest_difference"] == result.largest_difference


def test_images_become_what_the_network_takes(tmp_path: Path) -> None:
    shape(["red"], 0, 48).save(tmp_path / "red.png")
    pixels = np.asarray(Image.open(tmp_path / "red.png").resize((48, 32), Image.Resampling.BILINEAR))
    graphs = {
        (3, 32, 48): ((pixels / 255 - 0.45) / 0.225).transpose(2, 0, 1),
        (32, 48, 3): (pixels / 255 - 0.45) / 0.225,
    }
    for axes, expected in graphs.items():
        node = helper.make_node("Identity", ["x"], ["y"])
        graph = graph_of(model([node], {"x": ["n", *axes]}, ["y"]))
        (given,) = image_inputs(graph, {"x": axes}, [tmp_path / "red.png"], freed=False).values()
        np.testing.assert_allclose(given, expected[None], atol=1e-6)
    with pytest.raises(ConversionError, match="one image"):
        image_inputs(graph, {"x": (7,)}, [tmp_path / "red.png"], freed=False)


@pytest.mark.parametrize("wrong", [1.0, float("nan"), float("inf")])
def test_a_wrong_conversion_fails(wrong: float, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = importing.convert

    def spoiled(model):  # type: ignore[no-untyped-def]
        imported = right(model)
        with torch.no_grad():
            imported.module.get_submodule("head").bias[0] += wrong
        return imported

    monkeypatch.setattr(importing, "convert", spoiled)
    with pytest.raises(ConversionError, match=r"little\.onnx.*differs from onnxruntime"):
        import_file(path)


def test_a_bundle_gives_the_network_back(path: Path, tmp_path: Path) -> None:
    result = import_file(path)
    with torch.no_grad():
        result.imported.module.get_submodule("head").weight.mul_(2)
    write_bundle(tmp_path / "a.tltb", to_bundle(result, classes=["a", "b", "c", "d"]))
    bundle = read_bundle(tmp_path / "a.tltb")
    assert (bundle.task, bundle.classes) == ("byom", ["a", "b", "c", "d"])
    again = from_bundle(bundle)
    given = torch.rand(2, 3, 32, 32)
    with torch.inference_mode():
        assert torch.equal(again.module(given), result.imported.module(given))
    with pytest.raises(BundleError, match="do not fit"):
        from_bundle(dataclasses.replace(bundle, weights={"head.weight": torch.zeros(1)}))
    with pytest.raises(BundleError, match=r"graph\.onnx"):
        from_bundle(dataclasses.replace(bundle, graph=None))


def test_class_names_and_cuts_must_fit(path: Path) -> None:
    result = import_file(path)
    with pytest.raises(ConversionError, match=r"2 class names.*4 classes"):
        to_bundle(result, classes=["a", "b"])
    with pytest.raises(ConversionError, match="nowhere"):
        to_bundle(result, classes=[], cuts=["nowhere"])


def test_converted_and_exported_it_answers_as_before(path: Path, tmp_path: Path) -> None:
    imported = import_file(path).imported
    given = torch.rand(2, 3, 32, 32)
    file = tmp_path / "again.onnx"
    torch.onnx.export(
        # Inside another module: the exporter takes a GraphModule itself for a graph of its own.
        torch.nn.Sequential(imported.module),
        (given,),
        file,
        dynamo=False,
        opset_version=17,
        input_names=["x"],
        dynamic_axes={"x": {0: "n"}},
    )
    sessions = [onnxruntime.InferenceSession(str(one)) for one in (path, file)]
    other = np.random.default_rng(0).random((5, 3, 32, 32), dtype=np.float32)
    first, second = (session.run(None, {"x": other})[0] for session in sessions)
    np.testing.assert_allclose(second, first, rtol=1e-4, atol=1e-6)


def quantised() -> onnx.ModelProto:
    """The little classifier as a quantiser leaves it: Q/DQ pairs around its first convolution."""
    proto = classifier()
    weight = next(item for item in proto.graph.initializer if item.name == "stem.weight")
    values = numpy_helper.to_array(weight)
    proto.graph.initializer.remove(weight)
    proto.graph.initializer.extend(
        [
            tensor("w_int", np.clip(np.round(values / 0.01), -127, 127), np.int8),
            tensor("w_scale", 0.01),
            tensor("w_zero", 0, np.int8),
            tensor("x_scale", 0.05),
            tensor("x_zero", 0, np.uint8),
        ]
    )
    node = helper.make_node
    pairs = [
        node("QuantizeLinear", ["x", "x_scale", "x_zero"], ["x_int"]),
        node("DequantizeLinear", ["x_int", "x_scale", "x_zero"], ["x_back"]),
        node("DequantizeLinear", ["w_int", "w_scale", "w_zero"], ["stem.weight"]),
    ]
    nodes = [*pairs, *proto.graph.node]
    nodes[3].input[0] = "x_back"
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)
    return proto


def test_a_quantised_file_is_imported_as_float(tmp_path: Path) -> None:
    result = import_file(saved(quantised(), tmp_path / "int8.onnx"))
    assert result.largest_difference < 1e-5
    assert any("scale of 0.05" in note for note in result.imported.notes)
    trained = [name for name, _ in result.imported.module.named_parameters()]
    assert "stem.weight" in trained
    rounded = onnxruntime.InferenceSession(str(tmp_path / "int8.onnx"))
    given = np.random.default_rng(0).random((2, 3, 32, 32), dtype=np.float32)
    with torch.inference_mode():
        ours = result.imported.module(torch.from_numpy(given)).numpy()
    # The rounding is left out, so the outputs are near those of the file, and not equal.
    np.testing.assert_allclose(ours, rounded.run(None, {"x": given})[0], atol=0.05)


def test_the_command_line_inspects_and_converts(path: Path, tmp_path: Path) -> None:
    runner = CliRunner()
    shown = runner.invoke(byom, ["inspect", "-m", str(path)])
    assert shown.exit_code == 0, shown.output
    for words in ("input    x  [batch, 3, 32, 32]  float32", "--cut flat", "bn.mean", "GlobalAveragePool"):
        assert words in shown.output
    names = tmp_path / "names.txt"
    names.write_text("\ufeffant\nbee\ncat\ndog\n", encoding="utf-8")  # as Windows' editors write it
    output, report = tmp_path / "new folder" / "little.tltb", tmp_path / "report.json"
    shape(["red"], 0).save(tmp_path / "red.png")
    words = ["convert", "-m", str(path), "-o", str(output), "--classes", str(names)]
    words += ["--pictures", str(tmp_path)]
    done = runner.invoke(byom, [*words, "--task", "classification", "--report", str(report)])
    assert done.exit_code == 0, done.output
    assert read_bundle(output).classes == ["ant", "bee", "cat", "dog"]
    written = json.loads(report.read_text())
    assert written["trainable_share"] == 1.0
    assert written["comparisons"][-1]["what"] == "pictures"
    before = output.read_bytes()
    again = runner.invoke(byom, [*words, "--cut", "nowhere"])
    assert isinstance(again.exception, ConversionError)
    assert output.read_bytes() == before
    assert [item.name for item in output.parent.iterdir()] == ["little.tltb"]


def test_the_command_line_refuses_what_it_does_not_have(path: Path, tmp_path: Path) -> None:
    words = ["convert", "-m", str(path), "-o", str(tmp_path / "a.tltb")]
    for more in (["--task", "juggling"], ["--input-size", "0x3"], ["--input-size", "large"]):
        assert CliRunner().invoke(byom, [*words, *more]).exit_code == 2
    wrong = CliRunner().invoke(byom, ["convert", "-m", str(path), "-o", str(tmp_path / "a.onnx")])
    assert wrong.exit_code == 2
    assert ".tltb" in wrong.output


def bound_to_one(*, mixes: bool) -> onnx.ModelProto:
    """A classifier of one sample whose graph has no place for others, or mixes them."""
    node = helper.make_node
    nodes = [node("Conv", ["x", "w"], ["c"], strides=[2, 2]), node("GlobalAveragePool", ["c"], ["p"])]
    if mixes:
        nodes += [node("ReduceMean", ["p"], ["m"], axes=[0], keepdims=1), node("Sub", ["p", "m"], ["d"])]
        nodes += [
            node("Add", ["d", "m"], ["s"]),
            node("Mul", ["s", "m"], ["f"]),
            node("Flatten", ["f"], ["g"]),
        ]
    else:
        nodes += [node("Squeeze", ["p"], ["s"]), node("Unsqueeze", ["s", "zero"], ["g"])]
    nodes.append(node("Gemm", ["g", "head"], ["y"]))
    constants = [random_tensor("w", 8, 3, 3, 3), random_tensor("head", 8, 4), tensor("zero", [0], np.int64)]
    return model(nodes, {"x": [1, 3, 16, 16]}, ["y"], constants)


@pytest.mark.parametrize("mixes", [True, False])
def test_a_file_that_stays_bound_to_its_batch_says_so(mixes: bool, tmp_path: Path) -> None:
    path = saved(bound_to_one(mixes=mixes), tmp_path / "one.onnx")
    result = import_file(path)
    assert result.report["batch"] == 1
    assert result.largest_difference < 1e-5
    assert any("dynamic_axes" in note for note in result.imported.notes)
    bundle = to_bundle(result, classes=[])
    assert bundle.graph is not None
    with pytest.raises(SpecError, match=r"pretrained_backbone_path.*1 sample at a time.*dynamic_axes"):
        build_imported(bundle.graph, bundle.extra, bundle.weights, num_classes=2, img_size=16)


def test_what_onnxruntime_refuses_is_a_fault_of_the_file(tmp_path: Path) -> None:
    nodes = [helper.make_node("Relu", ["x"], ["a"]), helper.make_node("Add", ["a", "b"], ["y"], axis=1)]
    path = saved(model(nodes, {"x": ["n", 3]}, ["y"], [random_tensor("b", 3)]), tmp_path / "odd.onnx")
    with pytest.raises(ConversionError, match=r"odd\.onnx.*onnxruntime cannot run this file") as caught:
        import_file(path)
    assert caught.value.exit_code == 2
