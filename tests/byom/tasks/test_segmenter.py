"""A foreign segmenter along the whole path of segmentation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from foreign import model, random_tensor, saved, tensor
from onnx import helper
from stage_runs import assert_rows_agree, csv_rows
from test_detector import WIDTHS, detector, stages
from tiny_segmentation import data_overrides, run, scene, tiny_spec, write_masks

from tao_like import runtime
from tao_like.bundle import read_bundle
from tao_like.byom.importing import import_file
from tao_like.cli.main import main
from tao_like.errors import ConversionError, SpecError
from tao_like.networks.imported.dense import ClassMaps, build_imported_dense

SIDE = 64


def segmenter(*, argmax: bool = False) -> onnx.ModelProto:
    """Two class layers, over the maps at strides 4 and 8, whose scores are added and enlarged."""
    proto = stages(3)
    node = helper.make_node
    proto.graph.initializer.extend(
        [
            random_tensor("fine.weight", 5, WIDTHS[1], 1, 1, seed=3),
            random_tensor("coarse.weight", 5, WIDTHS[2], 3, 3, seed=4),
            tensor("twice", [1.0, 1.0, 2.0, 2.0]),
            tensor("four", [1.0, 1.0, 4.0, 4.0]),
        ]
    )
    proto.graph.node.extend(
        [
            node("Conv", ["s1r", "fine.weight"], ["fine"]),
            node("Conv", ["s2r", "coarse.weight"], ["coarse"], pads=[1, 1, 1, 1]),
            node("Resize", ["coarse", "", "twice"], ["wide"], mode="linear"),
            node("Add", ["fine", "wide"], ["both"]),
            node("Resize", ["both", "", "four"], ["logits"], mode="linear"),
            node("ArgMax", ["logits"], ["classes"], axis=1, keepdims=0),
        ]
    )
    name, kind = ("classes", onnx.TensorProto.INT64) if argmax else ("logits", onnx.TensorProto.FLOAT)
    del proto.graph.output[:]
    proto.graph.output.append(helper.make_tensor_value_info(name, kind, None))
    return proto


def convert(file: Path, output: Path, *words: str) -> None:
    """Converts a file for segmentation, as the command line does."""
    common = ["byom", "convert", "-m", str(file), "-o", str(output), "--task", "segmentation"]
    with pytest.raises(SystemExit) as ended:
        main([*common, "--input-size", str(SIDE), *words])
    assert ended.value.code == 0


@pytest.mark.parametrize("argmax", [False, True])
def test_the_maps_before_all_layers_of_classes_are_found(argmax: bool, tmp_path: Path) -> None:
    result = import_file(saved(segmenter(argmax=argmax), tmp_path / "s.onnx"), size=(SIDE, SIDE))
    found = [(cut.value, cut.channels) for cut in result.cuts if cut.what == "dense features"]
    assert found == [("s1r", WIDTHS[1]), ("s2r", WIDTHS[2])]


def test_a_detector_and_a_classifier_have_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    node = helper.make_node
    constants = [random_tensor("w", 4, 3, 3, 3), random_tensor("head", 4, 5)]
    nodes = [
        node("Conv", ["x", "w"], ["c"]),
        node("GlobalAveragePool", ["c"], ["p"]),
        node("Flatten", ["p"], ["f"]),
        node("MatMul", ["f", "head"], ["y"]),
    ]
    for name, proto in (
        ("d", detector()),
        ("c", model(nodes, {"x": ["n", 3, SIDE, SIDE]}, ["y"], constants)),
    ):
        file = saved(proto, tmp_path / f"{name}.onnx")
        words = ["byom", "convert", "-m", str(file), "-o", str(tmp_path / "x.tltb"), "--task", "segmentation"]
        with pytest.raises(SystemExit) as ended:
            main([*words, "--input-size", str(SIDE)])
        assert ended.value.code != 0
        assert "segmentation needs dense features" in capsys.readouterr().err
        assert not (tmp_path / "x.tltb").exists()


def test_answers_of_all_layers_are_added_at_the_finest_size() -> None:
    layers = ClassMaps((2, 3), 4)
    maps = [torch.zeros(1, 2, 8, 8), torch.zeros(1, 3, 4, 4)]
    biases = [layer.bias for layer in layers.layers if isinstance(layer, torch.nn.Conv2d)]
    expected = sum(bias for bias in biases if bias is not None)
    assert torch.allclose(layers(maps), torch.as_tensor(expected).reshape(1, 4, 1, 1).expand(1, 4, 8, 8))


def test_it_goes_the_whole_path(tmp_path: Path) -> None:
    bundle = tmp_path / "s.tltb"
    convert(saved(segmenter(), tmp_path / "s.onnx"), bundle)
    data = data_overrides(write_masks(tmp_path / "data"))
    words = ["model.backbone.type=byom", f"model.backbone.pretrained_backbone_path={bundle}"]
    words += ["model.decode_head.channels=[]", "train.num_epochs=1"]
    first = run("train", tmp_path / "a", *data, *words)
    moved = (
        read_bundle(first.bundle).weights["network.encoder.body.s0.weight"]
        - read_bundle(bundle).weights["s0.weight"]
    )
    assert 0 < float(moved.abs().max()) < 1
    cut = ["prune.target_macs=0.8", "prune.granularity=2", f"prune.checkpoint={first.bundle}"]
    pruned = run("prune", tmp_path / "b", *data, *words, *cut)
    assert pruned.report["macs_share"] == pytest.approx(0.8, abs=0.1)
    run("train", tmp_path / "c", *data, *words, f"train.pruned_model_path={pruned.bundle}")
    bundle.unlink()  # what a task has trained needs it no longer
    evaluated = run("evaluate", tmp_path / "c", *data)
    exported = run("export", tmp_path / "c", *data)
    assert exported.report["largest_difference"] < 1e-5
    in_onnx = run("evaluate", tmp_path / "d", *data, f"evaluate.checkpoint={exported.onnx_file}")
    assert_rows_agree(csv_rows(evaluated.predictions), csv_rows(in_onnx.predictions))
    whole = run(
        "quantize", tmp_path / "e", *data, f"quantize.checkpoint={exported.onnx_file}", "quantize.max_drop=1"
    )
    models = f"compare.checkpoints=['{exported.onnx_file}','{whole.onnx_file}']"
    run("compare", tmp_path / "f", *data, models, "compare.rounds=1")
    picture = scene(900)[0]
    assert runtime.load(exported.onnx_file).predict(np.asarray(picture)) is not None


def test_sizes_and_places_that_cannot_be_are_refused(tmp_path: Path) -> None:
    proto = segmenter()
    shape = proto.graph.input[0].type.tensor_type.shape
    for axis in (2, 3):
        shape.dim[axis].dim_value = SIDE
    proto.graph.initializer.append(tensor("flat", [0, 5, SIDE // 4 * SIDE // 4], np.int64))
    proto.graph.initializer.append(tensor("map", [0, 5, SIDE // 4, SIDE // 4], np.int64))
    values = [one.output[0] for one in proto.graph.node]
    at = values.index("both") + 1
    for number, (given, sizes, result) in enumerate((("both", "flat", "row"), ("row", "map", "again"))):
        proto.graph.node.insert(at + number, helper.make_node("Reshape", [given, sizes], [result]))
    next(one for one in proto.graph.node if one.output[0] == "logits").input[0] = "again"
    convert(saved(proto, tmp_path / "s.onnx"), tmp_path / "s.tltb")
    bundle = read_bundle(tmp_path / "s.tltb")
    assert bundle.graph is not None
    given = (bundle.graph, bundle.extra, bundle.weights)
    with pytest.raises(SpecError, match=r"dataset\.img_size.*96 x 96"):
        build_imported_dense(*given, num_classes=2, size=(96, 96))
    with pytest.raises(SpecError, match=r"train_crop_size.*32 x 32"):
        build_imported_dense(*given, num_classes=2, size=(SIDE, SIDE), crop=(32, 32))
    flat = bundle.extra | {"cut": ["row"]}
    with pytest.raises(ConversionError, match="stands on a map"):
        build_imported_dense(bundle.graph, flat, bundle.weights, num_classes=2, size=(SIDE, SIDE))


def test_the_spec_names_a_bundle() -> None:
    with pytest.raises(SpecError, match=r"pretrained_backbone_path.*byom convert"):
        tiny_spec("model.backbone.type=byom")
