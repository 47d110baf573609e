"""The layer that tells classes comes from a source of the same classes alone: as many are not the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tiny_classification
import tiny_detection
import tiny_pointpillars
import tiny_pose
import torch
from torch import Tensor

from tao_like.bundle import Bundle, read_bundle, write_bundle
from tao_like.config import load_spec
from tao_like.networks.backbones.build import create_backbone
from tao_like.networks.weights.class_layer import class_layer
from tao_like.networks.weights.loading import load_pretrained
from tao_like.tasks import spec_module, task_class
from tao_like.tasks.classification.model import ClassificationNetwork
from tao_like.tasks.classification.warm_start import warm_start
from tao_like.tasks.detection.model.build import build_network as build_detector
from tao_like.tasks.pointpillars.model.build import build_network as build_pillars
from tao_like.tasks.pointpillars.model.openpcdet import is_published
from tao_like.tasks.pose_classification.model.build import build_network as build_pose

BACKBONE = "test_resnet"
OWN = ["ant", "bee", "fly"]
FOREIGN = ["cat", "dog", "owl"]
TURNED = ["fly", "ant", "bee"]


def classifier() -> Any:
    module = create_backbone(BACKBONE, num_classes=3, img_size=32)
    return ClassificationNetwork(module, (0.5,) * 3, (0.5,) * 3)


def pillars_spec(*overrides: str) -> Any:
    return load_spec(spec_module("pointpillars").Spec, None, [*tiny_pointpillars.TINY, *overrides]).spec


def bundle(path: Path, task: str, spec: Any, classes: list[str], weights: dict[str, Tensor]) -> Path:
    write_bundle(path, Bundle(task, spec, classes, {}, {}, {}, None, [], weights))
    return path


def test_classes_are_compared_by_name_and_order() -> None:
    assert class_layer(OWN, OWN).is_same
    assert class_layer(OWN, FOREIGN).rows is None
    assert "cat, dog, owl" in class_layer(OWN, FOREIGN).text()
    assert "does not name its classes" in class_layer(OWN, []).text()
    # ant is the source's second output, bee its third, fly its first.
    assert class_layer(OWN, TURNED).rows == (1, 2, 0)
    values = torch.tensor([10.0, 20.0, 30.0])
    assert class_layer(OWN, TURNED).ordered(values).tolist() == [20, 30, 10]


@pytest.mark.parametrize(("theirs", "rows"), [(OWN, [0, 1, 2]), (TURNED, [1, 2, 0]), (FOREIGN, None)])
def test_a_bundle_gives_its_backbone_and_a_head_of_the_same_classes(
    theirs: list[str], rows: list[int] | None, tmp_path: Path
) -> None:
    source = classifier()
    spec = {"model": {"backbone": {"type": BACKBONE}}}
    path = bundle(tmp_path / "a.tltb", "classification", spec, theirs, source.state_dict())
    for by_backbone in (True, False):
        network = classifier()
        before = network.backbone.fc.weight.clone()
        if by_backbone:
            notes = load_pretrained(network.backbone, str(path), BACKBONE, OWN).text()
        else:
            notes = "\n".join(warm_start(network, path, OWN, BACKBONE))
        assert torch.equal(network.backbone.conv1[0].weight, source.backbone.conv1[0].weight)
        wanted = before if rows is None else source.backbone.fc.weight[rows]
        assert torch.equal(network.backbone.fc.weight, wanted)
        assert ("the head is new" if rows is None else "the head is kept") in notes


def test_a_file_without_class_names_gives_no_head(tmp_path: Path) -> None:
    source, network = classifier(), classifier()
    before = network.backbone.fc.weight.clone()
    torch.save(source.backbone.state_dict(), tmp_path / "weights.pth")
    report = load_pretrained(network.backbone, str(tmp_path / "weights.pth"), BACKBONE, OWN)
    assert torch.equal(network.backbone.fc.weight, before)
    assert report.fraction == 1
    assert "the head is new, since its file does not name its classes" in report.text()


def test_the_task_asks_for_the_classes_of_its_data(tmp_path: Path, class_folders: Path) -> None:
    """The whole way of the key, where a bundle has as many classes."""
    data = tiny_classification.data_overrides(class_folders)
    trained = tiny_classification.run("train", tmp_path, *data, "train.num_epochs=1", "train.keep=last")
    known = read_bundle(trained.bundle)
    spec = tiny_classification.tiny_spec(*data, f"model.backbone.pretrained_backbone_path={trained.bundle}")
    network, notes = task_class("classification")(spec).model(pretrained=True)
    assert torch.equal(network.backbone.fc.weight, known.weights["backbone.fc.weight"])
    assert any("the head is kept" in note for note in notes)
    known.classes = [f"other {name}" for name in known.classes]
    write_bundle(trained.bundle, known)
    network, notes = task_class("classification")(spec).model(pretrained=True)
    assert not torch.equal(network.backbone.fc.weight, known.weights["backbone.fc.weight"])
    assert any("the head is new, since the source's is for other classes (other " in note for note in notes)


@pytest.mark.parametrize(("theirs", "words"), [(OWN, "kept"), (TURNED, "another order"), (FOREIGN, "cat")])
def test_a_detector_keeps_its_class_layer_for_the_same_classes(
    theirs: list[str], words: str, tmp_path: Path
) -> None:
    source, _ = build_detector(tiny_detection.tiny_spec(), theirs, (64, 96), pretrained=False)
    spec = {"model": {"backbone": {"type": BACKBONE}}}
    path = bundle(tmp_path / "a.tltb", "detection", spec, theirs, source.state_dict())
    given = tiny_detection.tiny_spec(f"train.pretrained_model_path={path}")
    network, notes = build_detector(given, OWN, (64, 96), pretrained=True)
    state, known = network.state_dict(), source.state_dict()
    name = "head.class_outputs.0.weight"
    assert torch.equal(state[name], known[name]) == (theirs == OWN)
    assert torch.equal(state["head.box_outputs.0.weight"], known["head.box_outputs.0.weight"])
    assert words in notes[-1]


def test_yolox_takes_the_backbone_of_a_bundle_alone(tmp_path: Path) -> None:
    words = ("model.backbone.type=yolox_nano",)
    source, _ = build_detector(tiny_detection.tiny_spec(*words), OWN, (64, 96), pretrained=False)
    spec = {"model": {"backbone": {"type": "yolox_nano"}}}
    path = bundle(tmp_path / "a.tltb", "detection", spec, OWN, source.state_dict())
    given = tiny_detection.tiny_spec(*words, f"model.backbone.pretrained_backbone_path={path}")
    network, notes = build_detector(given, FOREIGN, (64, 96), pretrained=True)
    known = source.state_dict()
    same = {name: torch.equal(tensor, known[name]) for name, tensor in network.state_dict().items()}
    assert all(same[name] for name in same if name.startswith("backbone."))
    assert not same["head.class_outputs.0.weight"]
    assert not same["neck.reduce_coarse.conv.weight"]
    assert "all above it is new" in notes[0]


@pytest.mark.parametrize(("theirs", "rows"), [(OWN, [0, 1, 2]), (TURNED, [1, 2, 0]), (FOREIGN, None)])
def test_a_pose_network_keeps_its_last_layer_for_the_same_classes(
    theirs: list[str], rows: list[int] | None, tmp_path: Path
) -> None:
    source: Any = build_pose(tiny_pose.tiny_spec(), theirs, pretrained=False)[0]
    path = bundle(tmp_path / "a.tltb", "pose_classification", {}, theirs, source.state_dict())
    given = tiny_pose.tiny_spec(f"train.pretrained_model_path={path}")
    network: Any
    network, notes = build_pose(given, OWN, pretrained=True)
    head, known = network.streams["joint"].head.weight, source.streams["joint"].head.weight
    if rows is None:
        assert not torch.equal(head, known)
    else:
        assert torch.equal(head, known[rows])
    assert ("new" if rows is None else "kept") in notes[0]


def test_pillars_keep_their_head_for_the_same_classes(tmp_path: Path) -> None:
    own = ["Car", "Pedestrian"]
    for theirs, words in ((own, "kept"), (own[::-1], "another order"), (["Van", "Truck"], "Van")):
        source, _ = build_pillars(pillars_spec(), theirs, pretrained=False)
        path = bundle(tmp_path / "a.tltb", "pointpillars", {}, theirs, source.state_dict())
        given = pillars_spec(f"train.pretrained_model_path={path}")
        network, notes = build_pillars(given, own, pretrained=True)
        same = torch.equal(network.head.boxes.weight, source.head.boxes.weight)
        assert same == (theirs == own)
        assert words in notes[0]
    # OpenPCDet's files do not name theirs; those that are published tell these three.
    assert is_published(["Car", "Pedestrian", "Cyclist"])
    assert not is_published(["Car", "Van", "Cyclist"])
