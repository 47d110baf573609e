"""What a training does to the weights, against the same sums done by hand."""

from __future__ import annotations

import math
import os
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from stage_runs import assert_same_weights, csv_rows, status_lines
from tiny_classification import UNCHANGED, data_overrides, run, tiny_spec
from torch import Tensor

from tao_like.bundle import read_bundle
from tao_like.errors import SpecError
from tao_like.stages.train.loop import PhaseTraining
from tao_like.tasks import task_class

# No norm layer of it looks at the other samples of a batch, so that sums over batches can be compared.
TRANSFORMER = "model.backbone.type=test_vit"
TASK = task_class("classification")
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


def weights_after(results: Path, data: Path, *overrides: str) -> dict[str, Tensor]:
    """The last weights of a training."""
    result = run("train", results, *data_overrides(data), "train.keep=last", *overrides)
    return read_bundle(result.bundle).weights


def start_weights(data: Path, *overrides: str) -> dict[str, Tensor]:
    """The weights that a training with the tiny settings begins with."""
    torch.manual_seed(tiny_spec().train.seed)
    task = TASK(tiny_spec(*data_overrides(data), *overrides))
    return dict(task.model(pretrained=True)[0].state_dict())


def epoch_figures(folder: Path) -> list[dict[str, float]]:
    """What status.json says of each epoch."""
    return [line["kpi"] for line in status_lines(folder) if "epoch" in line]


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Tensor]]:
    """Fills with a copy of all weights after every step."""
    seen: list[dict[str, Tensor]] = []
    step = PhaseTraining._optimizer_step

    def step_and_copy(self: PhaseTraining, losses: dict[str, Tensor]) -> None:
        step(self, losses)
        seen.append({name: tensor.clone() for name, tensor in self.model.state_dict().items()})

    monkeypatch.setattr(PhaseTraining, "_optimizer_step", step_and_copy)
    return seen


# --- freezing ---


def test_freezing_the_backbone_leaves_all_but_the_head_as_it_was(class_folders: Path, tmp_path: Path) -> None:
    freeze = "model.backbone.freeze_backbone=true"
    before, after = (
        start_weights(class_folders),
        weights_after(tmp_path, class_folders, freeze, "train.num_epochs=1"),
    )
    changed = {name for name in before if not before[name].equal(after[name])}
    assert changed == {"backbone.fc.weight", "backbone.fc.bias"}


def test_freezing_norm_layers_leaves_them_and_changes_the_rest(class_folders: Path, tmp_path: Path) -> None:
    freeze = "model.backbone.freeze_norm=true"
    before = start_weights(class_folders, freeze)
    after = weights_after(tmp_path, class_folders, freeze, "train.num_epochs=1")
    norms = {name.rpartition(".")[0] for name in before if name.endswith("running_mean")}
    assert len(norms) > 5
    for name in before:
        in_norm = name.rpartition(".")[0] in norms or name.startswith("normalise.")
        assert before[name].equal(after[name]) == in_norm, name


def test_without_freezing_everything_changes(class_folders: Path, tmp_path: Path) -> None:
    before, after = start_weights(class_folders), weights_after(tmp_path, class_folders, "train.num_epochs=1")
    same = {name for name in before if before[name].equal(after[name])}
    assert same == {"normalise.mean", "normalise.std"}


def test_the_backbone_waits_while_the_head_learns_alone(
    class_folders: Path, tmp_path: Path, steps: list[dict[str, Tensor]]
) -> None:
    before = start_weights(class_folders)
    weights_after(tmp_path, class_folders, "train.optim.head_epochs=1", "train.num_epochs=2")
    assert len(steps) == 6
    learnt = [name for name in before if name not in STATISTICS and not name.endswith(STATISTICS)]
    first, second = (
        {name for name in learnt if not before[name].equal(steps[place][name])} for place in (2, 5)
    )
    assert first == {"backbone.fc.weight", "backbone.fc.bias"}
    assert second == set(learnt) - {"normalise.mean", "normalise.std"}


# --- start ---


@pytest.mark.parametrize(
    "backbone", ["test_resnet", "test_vit", "test_efficientnet", "tf_efficientnet_lite0"]
)
def test_a_new_head_starts_undecided(backbone: str, class_folders: Path) -> None:
    """The loss of one who knows nothing of three classes is ln 3."""
    torch.manual_seed(0)
    spec = tiny_spec(*data_overrides(class_folders), f"model.backbone.type={backbone}")
    task = TASK(spec)
    model, _ = task.model(pretrained=True)
    batch = task.data.collate([task.data.dataset("train")[index] for index in range(12)])
    (phase,) = task.phases()
    loss = phase.losses(model.train(), batch)["loss"].detach()
    assert float(loss) == pytest.approx(math.log(3), abs=0.2)


# --- sums over steps ---


def test_the_moving_average_is_the_one_of_the_formula(
    class_folders: Path, tmp_path: Path, steps: list[dict[str, Tensor]]
) -> None:
    decay = 0.3
    shipped = weights_after(
        tmp_path, class_folders, "train.enable_ema=true", f"train.ema_decay={decay}", "train.num_epochs=2"
    )
    assert len(steps) == 6
    for name in ("backbone.fc.weight", "backbone.layer1.0.conv1.weight"):
        mean = steps[0][name]
        for count, weights in enumerate(steps[1:], 1):
            fraction = min(decay, (1 + count) / (10 + count))
            mean = fraction * mean + (1 - fraction) * weights[name]
        torch.testing.assert_close(shipped[name], mean, rtol=1e-5, atol=1e-7)
        assert not shipped[name].equal(steps[-1][name])


def test_the_best_epoch_of_a_moving_average_is_the_average_that_was_validated(
    class_folders: Path, tmp_path: Path
) -> None:
    ema = ["train.enable_ema=true", "train.num_epochs=2"]
    result = run("train", tmp_path, *data_overrides(class_folders), *ema)
    best = min(epoch_figures(result.folder), key=lambda figures: figures["val_loss"])
    for name in ("accuracy", "f1", "calibration_error"):
        assert result.metrics[name] == pytest.approx(best[f"val_{name}"], abs=1e-6)


def test_small_batches_summed_up_are_a_large_batch(class_folders: Path, tmp_path: Path) -> None:
    common = [TRANSFORMER, *UNCHANGED, "train.optim.optim=sgd", "train.optim.lr=0.05", "train.num_epochs=2"]
    large = weights_after(tmp_path / "large", class_folders, *common, "dataset.batch_size=8")
    small = weights_after(
        tmp_path / "small", class_folders, *common, "dataset.batch_size=4", "train.accumulate_grad_batches=2"
    )
    for name, tensor in large.items():
        torch.testing.assert_close(small[name], tensor, rtol=1e-4, atol=1e-5, msg=name)


def test_a_small_limit_on_the_gradient_s_norm_makes_a_small_step(
    class_folders: Path, tmp_path: Path, steps: list[dict[str, Tensor]]
) -> None:
    """One step of plain SGD moves all weights together by rate times the limit."""
    sgd = [
        "train.optim.optim=sgd",
        "train.optim.momentum=0",
        "train.optim.weight_decay=0",
        "train.optim.lr=1.0",
    ]
    before = start_weights(class_folders)
    weights_after(
        tmp_path, class_folders, *sgd, "train.optim.policy=constant", "train.clip_grad_norm=0.01",
        "train.num_epochs=1", "train.max_steps=1",
    )  # fmt: skip
    moved = [steps[0][name] - tensor for name, tensor in before.items() if not name.endswith(STATISTICS)]
    norm = torch.cat([change.flatten().double() for change in moved]).norm()
    assert float(norm) == pytest.approx(0.01, rel=1e-3)


def test_loading_processes_change_nothing(class_folders: Path, tmp_path: Path) -> None:
    results = []
    for workers in (0, 2):
        overrides = [*data_overrides(class_folders), f"dataset.workers={workers}", "train.num_epochs=1"]
        results.append(run("train", tmp_path / str(workers), *overrides))
    assert_same_weights(results[0].bundle, results[1].bundle)


def test_the_training_loss_of_an_epoch_is_the_mean_of_its_batches(
    class_folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, seen = PhaseTraining.training_step, []

    def step_and_note(self: PhaseTraining, batch: Any) -> dict[str, Tensor]:
        found = step(self, batch)
        seen.append(float(found["loss"].detach()))
        return found

    monkeypatch.setattr(PhaseTraining, "training_step", step_and_note)
    result = run("train", tmp_path, *data_overrides(class_folders), "train.num_epochs=2")
    assert len(seen) == 6
    told = [figures["train_loss"] for figures in epoch_figures(result.folder)]
    assert told == pytest.approx([sum(seen[:3]) / 3, sum(seen[3:]) / 3])


# --- which epoch, and when to stop ---


@pytest.mark.parametrize(("monitor", "choose"), [("val_loss", min), ("val_accuracy", max)])
def test_the_bundle_holds_the_best_epoch(
    monitor: str, choose: Any, class_folders: Path, tmp_path: Path
) -> None:
    # A rate at which epochs differ widely.
    settings = [f"train.optim.monitor_name={monitor}", "train.optim.lr=0.05", "train.num_epochs=4"]
    result = run("train", tmp_path, *data_overrides(class_folders), *settings)
    figures = epoch_figures(result.folder)
    best = choose(range(4), key=lambda epoch: figures[epoch][monitor])
    assert result.metrics["accuracy"] == pytest.approx(figures[best]["val_accuracy"], abs=1e-6)
    assert result.metrics["calibration_error"] == pytest.approx(
        figures[best]["val_calibration_error"], abs=1e-4
    )


def test_training_stops_when_it_no_longer_improves(class_folders: Path, tmp_path: Path) -> None:
    stopping = "train.early_stopping={enabled: true, patience: 2, min_delta: 100}"
    result = run("train", tmp_path, *data_overrides(class_folders), stopping, "train.num_epochs=9")
    assert len(epoch_figures(result.folder)) == 3
    assert read_bundle(result.bundle).history[-1]["epochs"] == 3


def test_max_steps_ends_a_training_in_mid_epoch(
    class_folders: Path, tmp_path: Path, steps: list[dict[str, Tensor]]
) -> None:
    result = run("train", tmp_path, *data_overrides(class_folders), "train.max_steps=4")
    assert len(steps) == 4
    assert result.bundle.is_file()


@pytest.mark.parametrize("monitor", ["val_exact_match", "val_top2_accuracy"])
def test_a_metric_that_this_training_does_not_report_cannot_be_monitored(
    monitor: str, class_folders: Path, tmp_path: Path
) -> None:
    """Known to the task, but for several labels only; or a top-k that is not asked for."""
    with pytest.raises(SpecError, match=r"train\.optim\.monitor_name"):
        run("train", tmp_path, *data_overrides(class_folders), f"train.optim.monitor_name={monitor}")


def test_a_top_k_accuracy_that_is_asked_for_can_be_monitored(class_folders: Path, tmp_path: Path) -> None:
    settings = ["model.head.topk=[1,2]", "train.optim.monitor_name=val_top2_accuracy", "train.num_epochs=1"]
    result = run("train", tmp_path, *data_overrides(class_folders), *settings)
    assert "top2_accuracy" in result.metrics


def test_a_checkpoint_is_kept_of_every_epoch_whatever_is_validated(
    class_folders: Path, tmp_path: Path
) -> None:
    settings = ["train.num_epochs=3", "train.validation_interval=2"]
    result = run("train", tmp_path, *data_overrides(class_folders), *settings)
    checkpoint = torch.load(result.folder / "checkpoints" / "last.ckpt", weights_only=True)
    assert checkpoint["tao_like"]["epoch"] == 3
    assert checkpoint["tao_like"]["step"] == 9


def test_checkpoints_can_come_by_steps(class_folders: Path, tmp_path: Path) -> None:
    settings = ["train.checkpoint_interval=2", "train.checkpoint_interval_unit=step", "train.max_steps=5"]
    result = run("train", tmp_path, *data_overrides(class_folders), *settings)
    checkpoint = torch.load(result.folder / "checkpoints" / "last.ckpt", weights_only=True)
    assert checkpoint["tao_like"]["step"] == 4


def test_training_without_validation_data_ships_the_last_weights(
    class_folders: Path, tmp_path: Path, steps: list[dict[str, Tensor]]
) -> None:
    train_only = [data_overrides(class_folders)[0], "dataset.split={val: 0, test: 0}"]
    with pytest.raises(SpecError, match=r"train\.keep"):
        run("train", tmp_path, *train_only)
    result = run("train", tmp_path, *train_only, "train.keep=last", "train.num_epochs=1")
    assert result.metrics == {}
    shipped = read_bundle(result.bundle).weights
    assert all(tensor.equal(shipped[name]) for name, tensor in steps[-1].items())


@pytest.mark.parametrize(
    "overrides",
    [
        ["train.precision=bf16"],
        [
            "dataset.augmentation.mixup_cutmix=true",
            "model.head.loss={label_smooth_val: 0.1, class_weights: balanced}",
        ],
        ["model.backbone.drop_rate=0.3", "train.clip_grad_norm=1.0"],
    ],
    ids=["bf16", "mixed targets", "dropout"],
)
def test_settings_of_all_kinds_train(overrides: list[str], class_folders: Path, tmp_path: Path) -> None:
    result = run("train", tmp_path, *data_overrides(class_folders), "train.num_epochs=2", *overrides)
    assert result.metrics["accuracy"] > 0.5
    losses = [figures["train_loss"] for figures in epoch_figures(result.folder)]
    assert losses[1] < losses[0]


def test_a_compiled_training_needs_a_compiler_and_says_so_at_once(
    class_folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SpecError, match=r"train\.compile: .*no (g|clang)\+\+ on the path"):
        run("train", tmp_path / "results", *data_overrides(class_folders), "train.compile=true")
    assert "FAILURE" in status_lines(tmp_path / "results" / "train")[-1]["status"]


# --- what is said ---


def test_an_epoch_of_one_works_with_a_warm_up_and_everything_is_told(
    class_folders: Path, tmp_path: Path
) -> None:
    words = [*data_overrides(class_folders), "train.num_epochs=1", "train.optim.warmup_epochs=1"]
    result = run("train", tmp_path, *words)
    log = (result.folder / "log.txt").read_text("utf-8")
    first, last = log.index("training on cpu: 1 epoch of 3 x 8 samples"), log.index("epoch 1/1: train_loss ")
    assert first < last
    assert "val_accuracy" in log[last:]


def test_a_row_an_epoch_for_a_spreadsheet(class_folders: Path, tmp_path: Path) -> None:
    settings = ["train.num_epochs=3", "train.validation_interval=2"]
    result = run("train", tmp_path, *data_overrides(class_folders), *settings)
    rows = csv_rows(result.folder / "metrics.csv")
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    told = epoch_figures(result.folder)
    for row, figures in zip(rows, told, strict=True):
        assert {name: float(row[name]) for name in figures} == pytest.approx(figures)
    assert [row["val_accuracy"] == "" for row in rows] == [True, False, True]


def test_a_training_leaves_its_process_as_it_was(class_folders: Path, tmp_path: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    before = torch.backends.cudnn.deterministic, list(warnings.filters), os.environ.copy()
    run("train", tmp_path, *data_overrides(class_folders), "train.max_steps=1", "train.keep=last")
    assert torch.rand(3).equal(expected)
    assert (torch.backends.cudnn.deterministic, list(warnings.filters), os.environ.copy()) == before
