"""The prune stage on classification: what the spec's keys do, and what is refused."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from stage_runs import assert_failed
from tiny_classification import data_overrides, run, tiny_spec

from tao_like.bundle import read_bundle, write_bundle
from tao_like.config import load_spec
from tao_like.errors import BundleError, ConversionError, SpecError
from tao_like.stages.results import TrainResult
from tao_like.tasks import spec_module, task_class
from tao_like.tasks.common.distillation import distillation_loss, multi_label_distillation_loss

FAST = ("prune.criterion=magnitude_l2", "prune.granularity=2")


@pytest.fixture(scope="module")
def trained(class_folders: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A bundle of the tiny network, and the overrides that name its data."""
    folder = tmp_path_factory.mktemp("trained")
    return run("train", folder, *data_overrides(class_folders), "train.num_epochs=1")


def prune(trained: TrainResult, folder: Path, *overrides: str) -> Any:
    return run("prune", folder, f"prune.checkpoint={trained.bundle}", *FAST, *overrides)


@pytest.mark.parametrize(
    "backbone",
    [
        "test_vit",
        *(pytest.param(name, marks=pytest.mark.acceptance) for name in ("test_convnext", "test_byobnet")),
    ],
)
def test_architectures_go_through_all_stages(backbone: str, class_folders: Path, tmp_path: Path) -> None:
    settings = [*data_overrides(class_folders), f"model.backbone.type={backbone}", "train.num_epochs=1"]
    run("train", tmp_path, *settings)
    pruned = run("prune", tmp_path, *settings, "prune.granularity=2", "prune.target_macs=0.7")
    assert pruned.macs_share == pytest.approx(0.7, abs=0.1)
    again = run("train", tmp_path / "again", *settings, f"train.pruned_model_path={pruned.bundle}")
    exported = run("export", tmp_path, *settings, f"export.checkpoint={again.bundle}")
    assert exported.difference < 1e-4
    parameters = sum(tensor.numel() for tensor in read_bundle(again.bundle).weights.values())
    assert parameters < sum(
        tensor.numel() for tensor in read_bundle(tmp_path / "train" / "model.tltb").weights.values()
    )


@pytest.mark.parametrize(
    ("criterion", "scope"),
    [
        ("magnitude_l1", "global"),
        ("L2", "local"),
        ("bn_scale", "global"),
        ("taylor", "global"),
        ("taylor", "local"),
        ("random", "local"),
    ],
)
def test_every_criterion_reaches_the_share_that_was_asked_for(
    criterion: str, scope: str, trained: TrainResult, class_folders: Path, tmp_path: Path
) -> None:
    overrides = [f"prune.criterion={criterion}", f"prune.scope={scope}", "prune.target_macs=0.5"]
    result = prune(trained, tmp_path, *data_overrides(class_folders), *overrides, "prune.granularity=1")
    assert result.macs_share == pytest.approx(0.5, abs=0.05)


def test_a_ratio_takes_that_fraction_of_the_channels(trained: TrainResult, tmp_path: Path) -> None:
    result = prune(trained, tmp_path, "prune.ratio=0.25", "prune.scope=local", "prune.granularity=1")
    changed = [layer for layer in result.report["layers"] if layer["after"] < layer["before"]]
    assert changed
    for layer in changed:
        assert layer["after"] == layer["before"] * 3 / 4


def test_without_data_there_are_no_metrics_and_no_taylor(trained: TrainResult, tmp_path: Path) -> None:
    assert prune(trained, tmp_path).report["metrics"] == {"before": {}, "after": {}}
    with pytest.raises(SpecError, match=r"prune\.criterion=taylor.*needs training data"):
        prune(trained, tmp_path, "prune.criterion=taylor")
    with pytest.raises(SpecError, match=r"prune\.steps=2 needs training data"):
        prune(trained, tmp_path, "prune.steps=2")


def test_excluded_layers_keep_their_channels(trained: TrainResult, tmp_path: Path) -> None:
    result = prune(trained, tmp_path, "prune.ratio=0.4", "prune.excluded_layers=[backbone.layer1.*]")
    for layer in result.report["layers"]:
        if layer["name"].startswith("backbone.layer1."):
            assert layer["after"] == layer["before"], layer["name"]
    assert result.macs_share < 1
    with pytest.raises(SpecError, match=r"prune\.excluded_layers: backbone\.none\.\* names no layer"):
        prune(trained, tmp_path / "none", "prune.excluded_layers=[backbone.none.*]")
    with pytest.raises(SpecError, match="nothing of this network can be pruned"):
        prune(trained, tmp_path / "all", "prune.excluded_layers=[backbone]")


def test_a_share_out_of_reach_says_how_far_it_goes(trained: TrainResult, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"prune\.target_macs=0\.01 cannot be reached"):
        prune(trained, tmp_path, "prune.target_macs=0.01", "prune.max_ratio=0.3")
    assert_failed(tmp_path / "prune", "cannot be reached")


def test_an_architecture_that_answers_otherwise_is_refused_and_nothing_is_left(
    trained: TrainResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Layers that lose other channels than their neighbours: what a wrong graph would do."""
    from tao_like.stages.prune.units import ChannelGroup

    remove = ChannelGroup.remove
    monkeypatch.setattr(
        ChannelGroup, "remove", lambda self, elements: remove(self, [self.size - 1 - e for e in elements])
    )
    with pytest.raises(ConversionError, match="cannot be pruned"):
        prune(trained, tmp_path)
    assert_failed(tmp_path / "prune", "cannot be pruned")
    assert not (tmp_path / "prune" / "model.tltb").exists()


def test_the_bundle_goes_where_it_is_wanted(trained: TrainResult, tmp_path: Path) -> None:
    file = tmp_path / "new folder" / "small.tltb"
    assert prune(trained, tmp_path, f"prune.pruned_file={file}").bundle == file
    assert read_bundle(file).structure


def test_an_onnx_file_is_not_pruned(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"")
    with pytest.raises(SpecError, match=r"prune\.checkpoint.*is not a bundle"):
        run("prune", tmp_path, f"prune.checkpoint={tmp_path / 'model.onnx'}")


@pytest.mark.parametrize(
    "change",
    [
        lambda sizes: sizes["modules"].pop("backbone.layer1.0.conv1"),
        lambda sizes: sizes["modules"]["backbone.fc"].update(out_features=10**9),
        lambda sizes: sizes["tensors"].update({"backbone.fc.weight": [-1, 4]}),
        lambda sizes: sizes.update(code="import os"),
    ],
)
def test_a_bundle_with_a_structure_of_something_else_is_named(
    change: Any, trained: TrainResult, class_folders: Path, tmp_path: Path
) -> None:
    bundle = read_bundle(prune(trained, tmp_path).bundle)
    sizes = json.loads(json.dumps(bundle.structure))
    change(sizes)
    bad = tmp_path / "bad.tltb"
    write_bundle(bad, dataclasses.replace(bundle, structure=sizes))
    for stage, key in (("evaluate", "checkpoint"), ("prune", "checkpoint"), ("train", "pruned_model_path")):
        with pytest.raises(BundleError, match=r"bad\.tltb.*structure"):
            run(stage, tmp_path / "results", *data_overrides(class_folders), f"{stage}.{key}={bad}")


# --- training a pruned network ---


def test_a_pruned_network_is_no_start_for_a_new_one(
    trained: TrainResult, class_folders: Path, tmp_path: Path
) -> None:
    pruned = prune(trained, tmp_path)
    data = data_overrides(class_folders)
    with pytest.raises(SpecError, match=r"pretrained_model_path.*train\.pruned_model_path"):
        run("train", tmp_path, *data, f"train.pretrained_model_path={pruned.bundle}")
    with pytest.raises(SpecError, match="keep one of them"):
        tiny_spec("train.pruned_model_path=a.tltb", "train.pretrained_model_path=b.tltb")


def test_the_users_spec_says_what_is_frozen_and_the_bundle_what_the_network_is(
    trained: TrainResult, class_folders: Path, tmp_path: Path
) -> None:
    pruned = prune(trained, tmp_path)
    settings = [
        *data_overrides(class_folders),
        f"train.pruned_model_path={pruned.bundle}",
        "model.backbone.type=resnet18",
        "model.backbone.freeze_backbone=true",
        "train.num_epochs=1",
        "train.tensorboard.enabled=false",
    ]
    again = run("train", tmp_path, *settings)
    assert read_bundle(again.bundle).spec["model"]["backbone"]["type"] == "test_resnet"
    assert "parameters are frozen" in (again.folder / "log.txt").read_text("utf-8")
    before, after = read_bundle(pruned.bundle).weights, read_bundle(again.bundle).weights
    changed = {name for name in before if not before[name].equal(after[name])}
    assert changed == {"backbone.fc.weight", "backbone.fc.bias"}


# --- learning from a teacher ---


def test_the_distance_to_a_teacher_by_hand() -> None:
    """Hinton et al. 2015: soft targets at a temperature, the loss times its square."""
    own, theirs, temperature = [0.5, -1.0, 2.0], [1.0, 0.0, 0.0], 4.0
    soft = [torch.tensor(row).div(temperature).exp() for row in (own, theirs)]
    student, teacher = (row / row.sum() for row in soft)
    expected = float((teacher * (teacher / student).log()).sum()) * temperature**2
    pair = [torch.tensor([row, row]) for row in (own, theirs)]
    assert float(distillation_loss(*pair, temperature)) == pytest.approx(expected, rel=1e-5)
    p, q = (torch.sigmoid(torch.tensor(value) / temperature) for value in (2.0, 0.0))
    binary = float(q * (q / p).log() + (1 - q) * ((1 - q) / (1 - p)).log()) * temperature**2
    single = multi_label_distillation_loss(torch.tensor([[2.0]]), torch.tensor([[0.0]]), temperature)
    assert float(single) == pytest.approx(binary, rel=1e-5)


def test_teacher_and_network_see_the_same_blended_images(class_folders: Path) -> None:
    blended = [
        "dataset.augmentation.mixup_cutmix=true",
        "dataset.augmentation.mixup_alpha=1.0",
        "model.head.loss.label_smooth_val=0.1",
    ]
    task = task_class("classification")(tiny_spec(*data_overrides(class_folders), *blended))
    seen: list[torch.Tensor] = []

    class Watch(torch.nn.Module):
        def __init__(self, logits: list[float]) -> None:
            super().__init__()
            self.logits = logits

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            seen.append(pixels.clone())
            return torch.tensor([self.logits] * len(pixels))

    data = task.data.dataset("train")
    phase = task.phases()[-1]
    batch = task.data.collate([data[index] for index in range(4)])
    network, teacher = Watch([1.0, 0.0, 0.0]), Watch([0.0, 2.0, 0.0])
    torch.manual_seed(3)
    parts = phase.distillation_losses(network, teacher, batch, loss_lambda=0.25, temperature=2.0)
    torch.manual_seed(3)
    alone = phase.losses(network, batch)["loss"]
    assert torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[0], batch.input.float())
    distance = distillation_loss(torch.tensor([[1.0, 0.0, 0.0]]), torch.tensor([[0.0, 2.0, 0.0]]), 2.0)
    assert float(parts["loss"]) == pytest.approx(0.75 * float(alone), rel=1e-6)
    assert float(parts["distillation_loss"]) == pytest.approx(0.25 * float(distance), rel=1e-5)


def test_a_teacher_of_another_input_size_is_refused(
    trained: TrainResult, class_folders: Path, tmp_path: Path
) -> None:
    teacher = f"train.distill.teacher_model_path={trained.bundle}"
    with pytest.raises(SpecError, match=r"teacher_model_path.*takes inputs of the shape"):
        run("train", tmp_path, *data_overrides(class_folders), teacher, "dataset.img_size=48")


# --- TAO's words ---


@pytest.mark.parametrize(
    ("given", "key", "value"),
    [
        ({"ch_sparsity": 0.2, "round_to": 16, "p": 1, "gpu_id": 0, "verbose": True}, "ratio", 0.2),
        ({"prune_setting": {"mode": "amount", "amount": 0.3, "granularity": 4}}, "ratio", 0.3),
        ({"prune_setting": {"granularity": 4, "raw_prune_score": "L1"}}, "granularity", 4),
        ({"model": "a.tltb", "pruning_thresh": 0.1}, "checkpoint", "a.tltb"),
    ],
)
def test_taos_words_for_pruning_are_understood(
    given: dict[str, Any], key: str, value: Any, tmp_path: Path
) -> None:
    file = tmp_path / "tao.yaml"
    file.write_text(json.dumps({"prune": given, "distill": {"loss_lambda": 0.3, "loss_type": "KL"}}))
    spec = load_spec(spec_module("classification").Spec, file).spec
    assert getattr(spec.prune, key) == value
    assert spec.train.distill.loss_lambda == 0.3


def test_ratio_and_target_are_not_given_together() -> None:
    with pytest.raises(SpecError, match=r"prune\.target_macs.*keep one of them"):
        tiny_spec("prune.ratio=0.5", "prune.target_macs=0.5")
