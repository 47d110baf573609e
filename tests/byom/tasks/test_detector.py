"""An imported network as the backbone of a detector."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from box_images import write_coco
from foreign import model, random_tensor, saved, tensor
from onnx import helper
from stage_runs import assert_rows_agree, csv_rows
from tiny_detection import data_overrides, run, tiny_spec

from tao_like.bundle import read_bundle, write_bundle
from tao_like.byom.importing import import_file, to_bundle
from tao_like.cli.main import main
from tao_like.errors import ConversionError, SpecError
from tao_like.networks.imported.pyramid import build_imported_pyramid

WIDTHS = (8, 8, 8, 16, 24)


def stages(count: int, *, channels_last: bool = False) -> onnx.ModelProto:
    """A model of convolutions, each with a normalization and half as large as the one before."""
    node, nodes, constants, value, depth = helper.make_node, [], [], "x", 3
    if channels_last:
        nodes, value = [node("Transpose", ["x"], ["turned"], perm=[0, 3, 1, 2])], "turned"
    for index, width in enumerate(WIDTHS[:count]):
        name = f"s{index}"
        constants += [
            random_tensor(f"{name}.weight", width, depth, 3, 3, seed=index),
            tensor(f"{name}.scale", np.linspace(0.5, 1.5, width) ** 2),
            random_tensor(f"{name}.shift", width, seed=index),
            random_tensor(f"{name}.mean", width, seed=index + 9),
            tensor(f"{name}.var", np.full(width, 0.7)),
        ]
        nodes += [
            node("Conv", [value, f"{name}.weight"], [f"{name}c"], name, strides=[2, 2], pads=[1, 1, 1, 1]),
            node(
                "BatchNormalization",
                [f"{name}c", *(f"{name}.{part}" for part in ("scale", "shift", "mean", "var"))],
                [f"{name}n"],
                f"{name}.norm",
            ),
            node("Relu", [f"{name}n"], [f"{name}r"]),
        ]
        value, depth = f"{name}r", width
    shape = ["n", "h", "w", 3] if channels_last else ["n", 3, "h", "w"]
    return model(nodes, {"x": shape}, [value], constants)


def detector(boxes: int = 4, num_classes: int = 10) -> onnx.ModelProto:
    """Stages with a head of boxes and one of classes at strides 8, 16 and 32, whose scores are joined."""
    proto = stages(5)
    node = helper.make_node
    del proto.graph.output[:]
    joined = []
    for level, (index, width) in enumerate(zip((2, 3, 4), WIDTHS[2:], strict=True)):
        for what, count in (("box", boxes), ("cls", num_classes)):
            name = f"{what}{level}"
            proto.graph.initializer.extend(
                [
                    random_tensor(f"{name}.tower", width, width, 3, 3, seed=level),
                    random_tensor(f"{name}.weight", count, width, 1, 1, seed=level + 5),
                ]
            )
            proto.graph.node.extend(
                [
                    node("Conv", [f"s{index}r", f"{name}.tower"], [f"{name}t"], pads=[1, 1, 1, 1]),
                    node("Relu", [f"{name}t"], [f"{name}r"]),
                    node("Conv", [f"{name}r", f"{name}.weight"], [name]),
                ]
            )
        proto.graph.node.append(node("Concat", [f"box{level}", f"cls{level}"], [f"all{level}"], axis=1))
        proto.graph.node.append(node("Reshape", [f"all{level}", "flat"], [f"rows{level}"]))
        joined.append(f"rows{level}")
    proto.graph.initializer.append(tensor("flat", [0, boxes + num_classes, -1], np.int64))
    proto.graph.node.append(node("Concat", joined, ["y"], axis=2))
    proto.graph.output.append(helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None))
    return proto


def test_the_features_of_a_detector_are_what_its_heads_share(tmp_path: Path) -> None:
    """The last map of each stride would be its predictions, of 14 channels."""
    result = import_file(saved(detector(), tmp_path / "detector.onnx"), size=(64, 96))
    chosen = {cut.what: cut for cut in result.cuts}
    assert [chosen[f"stride {stride}"].value for stride in (8, 16, 32)] == ["s2r", "s3r", "s4r"]
    assert [chosen[f"stride {stride}"].channels for stride in (8, 16, 32)] == list(WIDTHS[2:])
    assert "box0, cls0" in chosen["stride 8"].why


def test_one_layer_that_gives_boxes_and_classes_is_no_feature(tmp_path: Path) -> None:
    """A head of a single layer, as YOLOv3 has it: what goes into it is the feature."""
    proto = detector()
    kept = [node for node in proto.graph.node if not node.output[0].startswith("cls")]
    del proto.graph.node[:]
    proto.graph.node.extend(kept)
    for level in range(3):
        concat = next(node for node in proto.graph.node if node.output[0] == f"all{level}")
        del concat.input[1:]
    next(item for item in proto.graph.initializer if item.name == "flat").CopyFrom(
        tensor("flat", [0, 4, -1], np.int64)
    )
    result = import_file(saved(proto, tmp_path / "one.onnx"), size=(64, 96))
    chosen = {cut.what: cut.value for cut in result.cuts}
    assert [chosen[f"stride {stride}"] for stride in (8, 16, 32)] == ["box0r", "box1r", "box2r"]


def test_the_command_line_names_three_cuts_and_refuses_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = saved(detector(), tmp_path / "detector.onnx")

    def convert(*words: str) -> tuple[int, str]:
        common = ["byom", "convert", "-m", str(file), "-o", str(tmp_path / "d.tltb"), "--input-size", "64x96"]
        with pytest.raises(SystemExit) as ended:
            main([*common, "--task", *words])
        said = capsys.readouterr()
        return int(str(ended.value.code)), said.out + said.err

    code, text = convert("detection")
    assert code == 0
    assert "detection stands on stride 16: 's3r'" in text
    code, text = convert("detection", "--cut", "s2n, s4n,s3n,")
    assert code == 0
    assert "detection stands on 's4n', named with --cut" in text
    bundle = read_bundle(tmp_path / "d.tltb")
    assert bundle.graph is not None
    pyramid = build_imported_pyramid(bundle.graph, bundle.extra, bundle.weights, (64, 96))
    assert pyramid.channels == WIDTHS[2:]
    # Behind the norm, in front of the ReLU: values below zero are there.
    assert all(bool((one < 0).any()) for one in pyramid.eval()(torch.rand(1, 3, 64, 96)))
    for words, message in (
        (["--cut", "s2r,s3r"], r"none at \[32\]"),
        (["--cut", "s1r,s3r,s4r"], r"'s1r' has the shape \[1, 8, 16, 24\]"),
        (["--cut", "s2r,s2n,s4r"], "'s2n' is a second of its stride"),
        (["--cut", "nowhere"], "no value 'nowhere'"),
    ):
        code, text = convert("detection", *words)
        assert code == 1
        assert re.search(message, " ".join(text.split()))
    code, text = convert("detection", "--cut", " ,")
    assert code == 2
    assert "names no value" in text
    code, text = convert("detection", "--input-size", "32x32")
    assert code == 1
    assert "needs stride 32, and at 3 x 32 x 32 no such features" in " ".join(text.split())
    code, text = convert("classification", "--cut", "s4r")
    assert code == 1
    assert "classification takes square images" in text


def bundle_of(proto, folder: Path, name: str = "little"):  # type: ignore[no-untyped-def]
    """The bundle of a foreign model, as a file."""
    result = import_file(saved(proto, folder / f"{name}.onnx"), size=(64, 96))
    write_bundle(folder / f"{name}.tltb", to_bundle(result, classes=[]))
    return folder / f"{name}.tltb"


@pytest.mark.parametrize("channels_last", [False, True])
def test_the_maps_are_those_of_the_source(channels_last: bool, tmp_path: Path) -> None:
    path = bundle_of(stages(5, channels_last=channels_last), tmp_path)
    bundle = read_bundle(path)
    assert bundle.graph is not None
    pyramid = build_imported_pyramid(bundle.graph, bundle.extra, bundle.weights, (64, 96)).eval()
    assert pyramid.channels == WIDTHS[2:]
    images = torch.rand(2, 3, 128, 96)
    maps = pyramid(images)
    assert [tuple(one.shape[2:]) for one in maps] == [(16, 12), (8, 6), (4, 3)]
    whole = import_file(tmp_path / "little.onnx", size=(64, 96)).imported.module
    with torch.inference_mode():
        expected = whole(images.permute(0, 2, 3, 1) if channels_last else images)
        torch.testing.assert_close(maps[2], expected)


def test_a_network_without_coarse_maps_is_refused(tmp_path: Path) -> None:
    bundle = read_bundle(bundle_of(stages(4), tmp_path))
    assert bundle.graph is not None
    with pytest.raises(ConversionError, match=r"strides \[32\]"):
        build_imported_pyramid(bundle.graph, bundle.extra, bundle.weights, (64, 96))


def test_a_detector_trains_on_it_without_its_first_bundle(tmp_path: Path) -> None:
    path = bundle_of(stages(5), tmp_path)
    data = data_overrides(write_coco(tmp_path / "pictures", {"train": 6, "val": 2, "test": 2}))
    words = ["model.backbone.type=byom", f"model.backbone.pretrained_backbone_path={path}"]
    trained = run("train", tmp_path / "a", *data, *words, "train.num_epochs=1")
    before, after = read_bundle(path), read_bundle(trained.bundle)
    assert after.graph == before.graph
    moved = after.weights["backbone.body.s0.weight"] - before.weights["s0.weight"]
    assert 0 < float(moved.abs().max()) < 1
    again = [words[0], f"model.backbone.pretrained_backbone_path={trained.bundle}"]
    with pytest.raises(SpecError, match="detection has trained"):
        run("train", tmp_path / "b", *data, *again)
    path.unlink()
    evaluated = run("evaluate", tmp_path / "a", *data)
    exported = run("export", tmp_path / "a", *data)
    in_onnx = run("evaluate", tmp_path / "c", *data, f"evaluate.checkpoint={exported.onnx_file}")
    assert_rows_agree(csv_rows(evaluated.predictions), csv_rows(in_onnx.predictions))


def test_the_spec_names_a_bundle() -> None:
    with pytest.raises(SpecError, match=r"pretrained_backbone_path.*byom convert"):
        tiny_spec("model.backbone.type=byom")
