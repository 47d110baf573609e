"""A training with all that a resumed one could get wrong, and what two such trainings must agree in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stage_runs import assert_same_weights, status_lines
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tao_like.stages.results import TrainResult

HARD = (
    "dataset.batch_size=4",
    "dataset.augmentation.mixup_cutmix=true",
    "model.backbone.drop_rate=0.3",
    "train.num_epochs=2",
    "train.enable_ema=true",
    "train.accumulate_grad_batches=2",
    "train.optim.policy=cosine",
    "train.optim.warmup_epochs=1",
    "train.checkpoint_interval_unit=step",
    "train.checkpoint_interval=1000",
    "train.tensorboard={enabled: true, log_every_n_steps: 1, num_images: 4}",
)
"""Shuffling, augmentation and blending of samples, dropout, moving average, accumulation, a schedule. An
epoch of 24 images has 6 batches and 3 optimizer steps. Checkpoints are not due by themselves."""


def resume_from(results: Path) -> str:
    """The override that goes on from the last checkpoint of a results folder."""
    return f"train.resume_training_checkpoint_path={results / 'train' / 'checkpoints' / 'last.ckpt'}"


def epochs(folder: Path) -> list[tuple[int, int, dict[str, float]]]:
    """Number, steps and figures of each epoch that status.json tells of."""
    return [(line["epoch"], line["step"], line["kpi"]) for line in status_lines(folder) if "epoch" in line]


def curves(folder: Path) -> dict[str, Any]:
    """All points and the steps of all images that TensorBoard shows of a folder."""
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0}).Reload()
    tags = events.Tags()
    # Of files begun in one second TensorBoard reads number 10 before number 9: by step, then.
    points = {
        tag: sorted((event.step, event.value) for event in events.Scalars(tag)) for tag in tags["scalars"]
    }
    return points | {tag: sorted(event.step for event in events.Images(tag)) for tag in tags["images"]}


def assert_same_end(resumed: TrainResult, whole: TrainResult) -> None:
    """A resumed training ended as the unbroken one: weights, figures, status.json and curves."""
    assert_same_weights(resumed.bundle, whole.bundle)
    assert resumed.metrics == whole.metrics
    assert resumed.report["last_epoch"] == whole.report["last_epoch"]
    assert epochs(resumed.folder) == epochs(whole.folder)
    assert curves(resumed.folder) == curves(whole.folder)
