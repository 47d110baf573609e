"""A training that diverges ends as a failure that says where, why and what to do, and leaves no bundle."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from stage_runs import assert_failed
from tiny_classification import data_overrides, run
from torch import Tensor

from tao_like.config.blocks.common import EarlyStoppingSpec
from tao_like.contract.metrics import Goal
from tao_like.errors import TaoLikeError
from tao_like.stages.train.checkpoints.state import State
from tao_like.stages.train.loop import PhaseTraining
from tao_like.stages.train.reporting.watch import Diverged

SGD = ("train.optim.optim=sgd", "train.optim.lr=10", "train.num_epochs=5")


def diverge(results: Path, data: Path, *words: str) -> str:
    """What a training says that must diverge; it has left no bundle."""
    with pytest.raises(Diverged) as caught:
        run("train", results, *data_overrides(data), *words)
    assert isinstance(caught.value, TaoLikeError)
    assert caught.value.exit_code == 1
    folder = results / "train"
    assert_failed(folder, "the training has diverged")
    assert not (folder / "model.tltb").exists()
    return str(caught.value)


@pytest.mark.parametrize(
    ("network", "momentum"), [("test_vit", 0.0), ("test_vit", 0.9), ("test_resnet", 0.9), ("test_resnet", 0)]
)
def test_a_rate_of_ten(network: str, momentum: float, class_folders: Path, tmp_path: Path) -> None:
    words = [f"model.backbone.type={network}", f"train.optim.momentum={momentum}"]
    told = diverge(tmp_path, class_folders, *SGD, *words)
    assert "at step " in told
    assert "learning rate 9." in told
    assert "Lower train.optim.lr, to 1 say" in told
    assert "train.optim.warmup_epochs=1" in told
    assert "train.clip_grad_norm=1" in told
    assert "resume_training_checkpoint_path" not in told


def poisoned(patch: pytest.MonkeyPatch, call: int, value: float) -> None:
    """Lets the next training's n-th batch have a loss, and gradients, of a value."""
    step, seen = PhaseTraining.training_step, []

    def step_and_poison(self: PhaseTraining, batch: Any) -> dict[str, Tensor]:
        losses = step(self, batch)
        seen.append(1)
        return {name: loss * value for name, loss in losses.items()} if len(seen) == call else losses

    patch.setattr(PhaseTraining, "training_step", step_and_poison)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e9])
def test_the_first_loss_out_of_bounds_ends_it_before_any_weight_has_learnt_from_it(
    value: float, class_folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the second of the second epoch's three batches, of which no checkpoint knows."""
    poisoned(monkeypatch, 5, value)
    told = diverge(tmp_path, class_folders)
    assert "at step 5 the loss is " in told
    checkpoint = tmp_path / "train" / "checkpoints" / "last.ckpt"
    assert f"the last checkpoint before it is {checkpoint}" in told
    content = torch.load(checkpoint, weights_only=True)
    assert content["tao_like"]["step"] == 3
    assert all(bool(tensor.isfinite().all()) for tensor in content["state_dict"].values())
    names = told.partition("batch of ")[2].partition(", ...")[0].split(", ")
    assert len(names) == 4
    assert all((class_folders / "train" / name).is_file() for name in names)


def test_a_gradient_that_is_none(
    class_folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hook(gradient: Tensor) -> Tensor:
        return gradient * math.nan

    step, seen = PhaseTraining.training_step, []

    def step_and_hook(self: PhaseTraining, batch: Any) -> dict[str, Tensor]:
        seen.append(1)
        if len(seen) == 2:
            next(self.model.parameters()).register_hook(hook)
        return step(self, batch)

    monkeypatch.setattr(PhaseTraining, "training_step", step_and_hook)
    told = diverge(tmp_path / "bounded", class_folders, "train.clip_grad_norm=1")
    assert "at step 2 the norm of the gradient is nan" in told
    # Where nobody measures the gradient, the next loss tells.
    seen.clear()
    assert "at step 3 the loss is nan" in diverge(tmp_path / "free", class_folders)


def test_weights_that_the_last_step_has_spoilt(
    class_folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No loss follows the last step of all."""
    step = PhaseTraining._optimizer_step

    def step_and_spoil(self: PhaseTraining, losses: dict[str, Tensor]) -> None:
        step(self, losses)
        if self.state.step == 4:
            with torch.no_grad():
                next(self.model.parameters()).fill_(math.nan)

    monkeypatch.setattr(PhaseTraining, "_optimizer_step", step_and_spoil)
    told = diverge(tmp_path, class_folders, "train.max_steps=4", "train.keep=last")
    assert "at step 4 weights are no longer finite" in told


def test_a_validation_out_of_bounds(
    class_folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    validate = PhaseTraining.validation_step

    def validate_and_poison(self: PhaseTraining, model: Any, batch: Any) -> Any:
        losses, outputs = validate(self, model, batch)
        return {name: loss * 9e14 for name, loss in losses.items()}, outputs

    monkeypatch.setattr(PhaseTraining, "validation_step", validate_and_poison)
    assert "at step 3 val_loss is " in diverge(tmp_path, class_folders)


@pytest.mark.parametrize(("higher", "values"), [(True, (0.2, 0.5)), (False, (0.5, 0.2))])
def test_no_number_is_worse_than_any(higher: bool, values: tuple[float, float]) -> None:
    goal, stopping = Goal("val_x", higher_is_better=higher), EarlyStoppingSpec(enabled=True, patience=2)
    state = State()
    assert not state.improves(goal, math.nan)
    assert [state.improves(goal, value) for value in (values[0], math.nan, values[1])] == [True, False, True]
    assert state.best == values[1]
    assert [state.stops_early(goal, value, stopping) for value in (values[0], math.nan, math.nan)] == [
        False,
        False,
        True,
    ]
