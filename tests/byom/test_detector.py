"""An imported network as the backbone of a detector."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from box_pictures import write_coco
from foreign import model, random_tensor, saved, tensor
from onnx import helper
from stage_runs import assert_rows_agree, csv_rows
from tiny_detection import data_overrides, run, tiny_spec

from tao_like.bundle import read_bundle, write_bundle
from tao_like.byom.importing import import_file, to_bundle
from tao_like.errors import ConversionError, SpecError
from tao_like.networks.imported.pyramid import build_imported_pyramid

WIDTHS = (8, 8, 8, 16, 24)


def stages(count: int, *, channels_last: bool = False) -> list:
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
    pictures = torch.rand(2, 3, 128, 96)
    maps = pyramid(pictures)
    assert [tuple(one.shape[2:]) for one in maps] == [(16, 12), (8, 6), (4, 3)]
    whole = import_file(tmp_path / "little.onnx", size=(64, 96)).imported.module
    with torch.inference_mode():
        expected = whole(pictures.permute(0, 2, 3, 1) if channels_last else pictures)
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
