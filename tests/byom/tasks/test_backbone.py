"""An imported network as the backbone of a classifier: built, trained, stored, exported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from foreign import classifier, model, random_tensor, saved, tensor
from onnx import helper, numpy_helper
from PIL import Image
from sample_images import write_class_folders
from stage_runs import assert_rows_agree, csv_rows
from test_patterns import traced
from test_proof import halved
from tiny_classification import data_overrides, run, tiny_spec
from torch import Tensor, nn
from torch.nn import functional

from tao_like.bundle import read_bundle, write_bundle
from tao_like.byom.importing import import_file, to_bundle
from tao_like.errors import BundleError, ConversionError, SpecError
from tao_like.networks.backbones.build import head_prefixes
from tao_like.networks.imported.backbone import ImportedBackbone, build_imported
from tao_like.tasks import task_class


def backbone_of(
    proto: onnx.ModelProto, folder: Path, cut: str | None = None, img_size: int = 32
) -> ImportedBackbone:
    """The backbone of a foreign model, for two classes."""
    result = import_file(saved(proto, folder / "model.onnx"))
    bundle = to_bundle(result, classes=[], cuts=[cut] if cut else [])
    assert bundle.graph is not None
    return build_imported(bundle.graph, bundle.extra, bundle.weights, num_classes=2, img_size=img_size).eval()


def test_it_keeps_the_contract_of_timms_networks(tmp_path: Path) -> None:
    proto = classifier(side="side")
    backbone = backbone_of(proto, tmp_path, img_size=48)
    images = torch.rand(3, 3, 48, 48)
    maps = backbone.forward_features(images)
    assert maps.shape == (3, 16, 12, 12)
    assert backbone.forward_head(maps, pre_logits=True).shape == (3, 16)
    assert torch.equal(backbone.forward_head(maps), backbone(images))
    assert head_prefixes(backbone) == ("head",)
    assert backbone.num_features == 16


def test_its_own_head_gives_the_answers_of_the_source(tmp_path: Path) -> None:
    backbone = backbone_of(classifier(), tmp_path)
    source = import_file(tmp_path / "model.onnx").imported.module
    backbone.take_own_head([3, 1])
    images = torch.rand(3, 3, 32, 32)
    with torch.inference_mode():
        probabilities = source(images)[:, [3, 1]]
        expected = probabilities / probabilities.sum(1, keepdim=True)
        torch.testing.assert_close(backbone(images).softmax(1), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("cut", "channels"), [("r1", 8), ("r2", 16), ("pool", 16), ("flat", 16)])
def test_it_can_be_cut_elsewhere(cut: str, channels: int, tmp_path: Path) -> None:
    backbone = backbone_of(classifier(), tmp_path, cut)
    assert backbone.num_features == channels
    assert backbone(torch.rand(2, 3, 32, 32)).shape == (2, 2)


def test_a_network_that_takes_channels_last_gets_them(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Transpose", ["x"], ["nchw"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["nchw", "w"], ["c"], strides=[2, 2]),
        helper.make_node("GlobalAveragePool", ["c"], ["p"]),
        helper.make_node("Reshape", ["p", "sizes"], ["f"]),
        helper.make_node("Gemm", ["f", "head"], ["y"]),
    ]
    constants = [
        random_tensor("w", 8, 3, 3, 3),
        tensor("sizes", [0, -1], np.int64),
        random_tensor("head", 8, 5),
    ]
    proto = model(nodes, {"x": ["n", 32, 32, 3]}, ["y"], constants)
    backbone = backbone_of(proto, tmp_path)
    source = import_file(tmp_path / "model.onnx").imported.module
    backbone.take_own_head([0, 4])
    images = torch.rand(2, 3, 32, 32)
    with torch.inference_mode():
        expected = source(images.permute(0, 2, 3, 1))[:, [0, 4]]
        torch.testing.assert_close(backbone(images), expected, rtol=1e-4, atol=1e-5)


def test_what_no_classifier_can_stand_on_is_refused(tmp_path: Path) -> None:
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"])]
    proto = model(nodes, {"x": ["n", 3, 32, 32]}, ["y"], [random_tensor("w", 1, 3, 1, 1)])
    with pytest.raises(ConversionError, match="--cut"):
        backbone_of(proto, tmp_path)
    with pytest.raises(ConversionError, match="nowhere"):
        backbone_of(classifier(), tmp_path, "nowhere")
    two = model(nodes, {"x": ["n", 2, 32, 32]}, ["y"], [random_tensor("w", 8, 2, 1, 1)])
    with pytest.raises(ConversionError, match=r"1, 3 or 4 channels.*has 2"):
        backbone_of(two, tmp_path, "y")


@pytest.mark.parametrize(
    ("channels", "shape"), [(1, ["n", 1, 32, 32]), (4, ["n", 4, 32, 32]), (1, ["n", 32, 32, 1])]
)
def test_gray_and_four_channel_networks_take_color_images(
    channels: int, shape: list[Any], tmp_path: Path
) -> None:
    last = shape[3] == channels
    nodes = [
        *([helper.make_node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2])] if last else []),
        helper.make_node("Conv", ["t" if last else "x", "w"], ["y"]),
    ]
    proto = model(nodes, {"x": shape}, ["y"], [random_tensor("w", 8, channels, 3, 3)])
    backbone = backbone_of(proto, tmp_path, "y")
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    gray = torch.from_numpy(np.array(Image.fromarray(pixels).convert("L"))).float() / 255
    images = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255
    given = gray[None, None] if channels == 1 else torch.cat([images, torch.zeros(1, 1, 32, 32)], 1)
    weight = torch.from_numpy(numpy_helper.to_array(proto.graph.initializer[0]))
    # Pillow rounds its gray to whole numbers.
    torch.testing.assert_close(
        backbone.forward_features(images), functional.conv2d(given, weight), rtol=0, atol=0.02
    )
    assert len(backbone.layout.notes()) == 1


def test_a_size_that_the_graph_cannot_take_is_an_error_of_the_spec(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Flatten", ["c"], ["f"]),
        helper.make_node("Gemm", ["f", "head"], ["y"]),
    ]
    constants = [random_tensor("w", 4, 3, 3, 3), random_tensor("head", 4 * 16 * 16, 3)]
    proto = model(nodes, {"x": ["n", 3, 32, 32]}, ["y"], constants)
    assert backbone_of(proto, tmp_path)(torch.rand(2, 3, 32, 32)).shape == (2, 2)
    with pytest.raises(SpecError, match=r"dataset\.img_size.*64.*32"):
        backbone_of(proto, tmp_path, img_size=64)


# --- in the task ---


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with a little imported network that knows the classes of the images, and others."""
    folder = tmp_path_factory.mktemp("imported")
    result = import_file(saved(classifier(side="side"), folder / "little.onnx"))
    write_bundle(folder / "little.tltb", to_bundle(result, classes=["x", "blue", "y", "red"]))
    return folder / "little.tltb"


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Overrides that name a few images of each split."""
    folder = tmp_path_factory.mktemp("pictures")
    return data_overrides(write_class_folders(folder, {"train": 4, "val": 2, "test": 2}))


def settings(bundle: Path) -> list[str]:
    """Overrides that name an imported network."""
    return ["model.backbone.type=byom", f"model.backbone.pretrained_backbone_path={bundle}"]


def test_it_goes_through_the_stages_without_its_first_bundle(
    imported: Path, images: list[str], tmp_path: Path
) -> None:
    own = tmp_path / "mine.tltb"
    own.write_bytes(imported.read_bytes())
    trained = run("train", tmp_path, *images, *settings(own), "train.num_epochs=2")
    before, after = read_bundle(own), read_bundle(trained.bundle)
    assert after.graph == before.graph
    assert not torch.equal(after.weights["backbone.body.stem.weight"], before.weights["stem.weight"])
    # What was trained must stand alone: on another machine the first bundle is not there.
    own.unlink()
    evaluated = run("evaluate", tmp_path, *images)
    exported = run("export", tmp_path, *images)
    assert exported.report["largest_difference"] < 1e-4
    checkpoint = f"evaluate.checkpoint={exported.onnx_file}"
    in_onnx = run("evaluate", tmp_path / "onnx", *images, checkpoint)
    assert_rows_agree(csv_rows(evaluated.predictions), csv_rows(in_onnx.predictions))


def test_a_trained_one_can_be_trained_further(imported: Path, images: list[str], tmp_path: Path) -> None:
    first = run("train", tmp_path / "a", *images, *settings(imported), "train.num_epochs=1")
    still = ["train.num_epochs=1", "train.optim.lr=1e-12"]
    second = run("train", tmp_path / "b", *images, *settings(first.bundle), *still)
    before, after = read_bundle(first.bundle).weights, read_bundle(second.bundle).weights
    names = [name for name in before if name.endswith(("weight", "bias"))]
    assert all(torch.allclose(before[name], after[name], atol=1e-6) for name in names)


def test_its_norm_layers_measure_the_training_images(
    imported: Path, images: list[str], tmp_path: Path
) -> None:
    result = run("train", tmp_path, *images, *settings(imported), "train.num_epochs=1")
    before, after = read_bundle(imported).weights, read_bundle(result.bundle).weights
    for name in ("bn.running_mean", "bn.running_var"):
        assert not torch.allclose(after[f"backbone.body.{name}"], before[name], rtol=1e-3), name


def test_freezing_leaves_the_backbone_as_it_was(imported: Path, images: list[str], tmp_path: Path) -> None:
    freeze = "model.backbone.freeze_backbone=true"
    result = run("train", tmp_path, *images, *settings(imported), freeze, "train.num_epochs=1")
    before, after = read_bundle(imported).weights, read_bundle(result.bundle).weights
    for name in ("stem.weight", "bn.running_mean", "deep.weight"):
        assert torch.equal(after[f"backbone.body.{name}"], before[name]), name


def test_a_lower_rate_for_the_backbone_reaches_it_all(imported: Path, images: list[str]) -> None:
    task = task_class("classification")(tiny_spec(*images, *settings(imported)))
    network, _ = task.model(pretrained=True)
    below = {
        id(value)
        for module in task.phases()[0].backbone(network)
        for value in module.parameters(recurse=False)
    }
    head = {id(value) for part in network.head for value in part.parameters()}
    assert below == {id(value) for value in network.parameters()} - head


def test_the_head_is_kept_where_it_knows_the_classes(
    imported: Path, images: list[str], tmp_path: Path
) -> None:
    task = task_class("classification")(tiny_spec(*images, *settings(imported)))
    network, notes = task.model(pretrained=True)
    known = read_bundle(imported)
    assert set(task.data.labels.names) - set(known.classes), (
        "the images have a class that the head does not know"
    )
    assert any("head is new" in note for note in notes)
    fitting = tmp_path / "fitting.tltb"
    known.classes = [*task.data.labels.names, "x", "y", "z"][: len(known.classes)]
    write_bundle(fitting, known)
    task = task_class("classification")(tiny_spec(*images, *settings(fitting)))
    network, notes = task.model(pretrained=True)
    assert any("head is kept" in note for note in notes)
    expected = known.weights["head.weight"][: len(task.data.labels.names)]
    assert torch.equal(network.backbone.head.weight, expected)


def test_a_wrong_bundle_is_named(imported: Path, images: list[str], tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"pretrained_backbone_path.*byom convert"):
        tiny_spec("model.backbone.type=byom")
    with pytest.raises(SpecError, match=r"nowhere\.tltb"):
        run("train", tmp_path / "a", *images, *settings(tmp_path / "nowhere.tltb"))
    bundle = read_bundle(imported)
    bundle.graph = None
    write_bundle(tmp_path / "other.tltb", bundle)
    with pytest.raises(BundleError, match=r"other\.tltb"):
        run("train", tmp_path / "b", *images, *settings(tmp_path / "other.tltb"))
    with pytest.raises(SpecError, match="drop_path_rate"):
        run("train", tmp_path / "c", *images, *settings(imported), "model.backbone.drop_path_rate=0.1")


def test_a_training_starts_from_one_that_knew_other_classes(
    imported: Path, images: list[str], tmp_path: Path
) -> None:
    first = run("train", tmp_path / "a", *images, *settings(imported), "train.num_epochs=1")
    known = read_bundle(first.bundle)
    known.classes = [f"other {name}" for name in known.classes]
    write_bundle(tmp_path / "other.tltb", known)
    start = f"train.pretrained_model_path={tmp_path / 'other.tltb'}"
    task = task_class("classification")(tiny_spec(*images, *settings(imported), start))
    network, notes = task.model(pretrained=True)
    assert any("head is new" in note for note in notes)
    assert torch.equal(network.backbone.body.stem.weight, known.weights["backbone.body.stem.weight"])
    assert not torch.equal(network.backbone.head.weight, known.weights["backbone.head.weight"])
    known.weights["backbone.body.stem.weight"] = torch.zeros(1, 3, 3, 3)
    write_bundle(tmp_path / "other.tltb", known)
    with pytest.raises(SpecError, match=r"pretrained_model_path.*another network"):
        task_class("classification")(tiny_spec(*images, *settings(imported), start)).model(pretrained=True)


class Exported(nn.Module):
    """A network with the parts of LCNet (Cui et al. 2021): depthwise layers, gates, hard swishes."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16)
        self.deep, self.wide = nn.Conv2d(16, 16, 3, 1, 1, groups=16), nn.Conv2d(16, 32, 1)
        self.down, self.up = nn.Conv2d(32, 8, 1), nn.Conv2d(8, 32, 1)
        self.head = nn.Linear(32, 5)

    def forward(self, values: Tensor) -> Tensor:
        values = functional.hardswish(self.deep(functional.hardswish(self.norm(self.stem(values)))))
        values = functional.hardswish(self.wide(values))
        gate = functional.relu(self.down(values.mean((2, 3), keepdim=True)))
        values = values * functional.hardsigmoid(self.up(gate))
        result: Tensor = self.head(values.mean((2, 3))).softmax(1)
        return result


class HiddenLayer(nn.Module):
    """A classifier with a layer between its pooled map of 144 channels and its head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 8, 3, 4, 1), nn.BatchNorm2d(8)
        self.deep, self.hidden, self.head = nn.Conv2d(8, 144, 1), nn.Linear(144, 128), nn.Linear(128, 5)

    def forward(self, values: Tensor) -> Tensor:
        maps = functional.relu(self.deep(functional.relu(self.norm(self.stem(values)))))
        result: Tensor = self.head(functional.hardswish(self.hidden(maps.mean((2, 3)))))
        return result


def test_a_head_with_a_hidden_layer_is_pruned(images: list[str], tmp_path: Path) -> None:
    file = saved(traced(HiddenLayer(), torch.randn(1, 3, 32, 32), opset=15), tmp_path / "exported.onnx")
    write_bundle(tmp_path / "new.tltb", to_bundle(import_file(file), classes=[]))
    first = run("train", tmp_path / "a", *images, *settings(tmp_path / "new.tltb"), "train.num_epochs=1")
    # So little is taken away that the map stays wider than the hidden layer was.
    cut = ["prune.target_macs=0.95", "prune.granularity=2", f"prune.checkpoint={first.bundle}"]
    pruned = run("prune", tmp_path / "b", *images, *cut)
    assert pruned.report["largest_difference"] < 1e-4
    checkpoint = f"evaluate.checkpoint={pruned.bundle}"
    assert run("evaluate", tmp_path / "b", *images, checkpoint).metrics.keys()


def test_it_is_pruned_trained_again_quantised_and_compared(images: list[str], tmp_path: Path) -> None:
    torch.manual_seed(0)
    file = saved(traced(Exported(), torch.randn(1, 3, 32, 32), opset=15), tmp_path / "exported.onnx")
    write_bundle(tmp_path / "new.tltb", to_bundle(import_file(file), classes=[]))
    first = run("train", tmp_path / "a", *images, *settings(tmp_path / "new.tltb"), "train.num_epochs=1")
    cut = ["prune.target_macs=0.6", "prune.granularity=2", f"prune.checkpoint={first.bundle}"]
    pruned = run("prune", tmp_path / "b", *images, *cut)
    assert pruned.report["macs_share"] == pytest.approx(0.6, abs=0.1)
    assert pruned.report["largest_difference"] < 1e-4
    again = run(
        "train", tmp_path / "c", *images, f"train.pruned_model_path={pruned.bundle}", "train.num_epochs=1"
    )
    exported = run("export", tmp_path / "c", *images)
    assert exported.report["largest_difference"] < 1e-4
    checkpoint = [f"quantize.checkpoint={exported.onnx_file}", "quantize.max_drop=1"]
    quantised = run("quantize", tmp_path / "d", *images, *checkpoint)
    models = [first.bundle, again.bundle, exported.onnx_file, quantised.onnx_file]
    names = ",".join(f"'{model}'" for model in models)
    compared = run("compare", tmp_path / "e", *images, f"compare.checkpoints=[{names}]", "compare.rounds=5")
    assert len(compared.rows) == 4


def test_a_network_in_half_precision_trains_in_single_precision(tmp_path: Path) -> None:
    backbone = backbone_of(halved(classifier()), tmp_path)
    source = import_file(tmp_path / "model.onnx").imported.module
    backbone.take_own_head([3, 1])
    images = torch.rand(3, 3, 32, 32)
    with torch.inference_mode():
        probabilities = source(images.half())[:, [3, 1]].float()
        expected = probabilities / probabilities.sum(1, keepdim=True)
        torch.testing.assert_close(backbone(images).softmax(1), expected, rtol=0, atol=5e-3)
    backbone.train()(images).square().sum().backward()
    assert {parameter.dtype for parameter in backbone.parameters()} == {torch.float32}
    assert all(parameter.grad is not None for parameter in backbone.parameters())
