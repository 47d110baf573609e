"""Spec classes that the tests of the spec engine share; module level, so that their annotations resolve."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Optional, Union

from tao_like.config import MISSING, RuleBreak, spec_block, spec_field


@dataclass
class Optim:
    """How the weights are changed."""

    optim: str = spec_field(
        "adamw", "Optimizer", choices=("adamw", "adam", "sgd"), aliases=("type", "optimizer")
    )
    lr: float = spec_field(1e-3, "Learning rate at the end of the warm-up", gt=0, le=10, automl=True)
    betas: list[float] = spec_field([0.9, 0.999], "Decay rates", element_ge=0, element_lt=1)
    policy_params: dict[str, Any] = spec_field({"gamma": 0.1, "milestones": [10, 20]}, "Schedule")


@dataclass
class Layer:
    """How one layer is treated."""

    name: str = spec_field(MISSING, "Name of the layer")
    bits: int = spec_field(8, "Bits of a weight", choices=(4, 8))


@dataclass
class Train:
    """Training."""

    num_epochs: int = spec_field(10, "Passes over the data", unit="epochs", ge=1)
    warmup: int = spec_field(0, "Epochs of warm-up", unit="epochs", ge=0)
    batch_size: Union[int, str] = spec_field("auto", "Samples in a batch", ge=1, words=("auto",))  # noqa: UP007
    seed: Optional[int] = spec_field(None, "Seed of the random numbers", ge=0)  # noqa: UP045
    enable_ema: bool = spec_field(False, "Average the weights")
    gpu_ids: list[int] = spec_field([0], "GPUs to use", element_ge=0)
    class_weights: dict[str, float] = spec_field({}, "Weight of each class", element_gt=0)
    layers: list[Layer] = spec_field([], "Layers that differ from the rest")
    optim: Optim = spec_block(Optim, "Optimizer and schedule", aliases=("optimizer",))


@dataclass
class Evaluate:
    """Evaluation."""

    checkpoint: str = spec_field(MISSING, "Bundle or ONNX file", path=True)
    device: Optional[str] = spec_field(None, "Device", pattern="cpu|cuda(:[0-9]+)?")  # noqa: UP045


@dataclass
class Spec:
    """Spec of the tests."""

    ignored: ClassVar[dict[str, str]] = {
        "wandb": "logs go to TensorBoard",
        "train.cudnn.benchmark": "chosen by itself",
    }
    refused: ClassVar[dict[str, str]] = {"train.freeze": "give results_dir"}
    moved: ClassVar[dict[str, str | tuple[str, ...]]] = {
        "size": ("train.num_epochs", "train.seed"),
        "train.gamma": "train.optim.policy_params.gamma",
        "schedule.warmup": "train.warmup",
        "old_train": "train",
    }

    results_dir: str = spec_field("results", "Folder for all that a run writes", path=True, aliases=("out",))
    title: str = spec_field("", "Name of the run in tables")
    images: list[str] = spec_field([], "Folders of images", path=True)
    train: Train = spec_block(Train, "Training")
    evaluate: Evaluate = spec_block(Evaluate, "Evaluation")


@dataclass
class Schedule:
    """A schedule with a rule between its keys."""

    epochs: int = spec_field(10, "Epochs", ge=1)
    milestones: list[int] = spec_field([5], "Epochs at which the rate drops", element_ge=1)

    def check(self) -> Iterator[RuleBreak]:
        """Milestones lie inside the run."""
        for milestone in self.milestones:
            if milestone >= self.epochs:
                yield RuleBreak(
                    "milestones", f"{milestone} lies beyond epochs={self.epochs}; choose an earlier one"
                )


@dataclass
class CheckedSpec:
    """A spec whose blocks have rules."""

    schedule: Schedule = spec_block(Schedule, "Schedule", aliases=("plan",))
    phases: list[Schedule] = spec_field([], "Further schedules")
    total: int = spec_field(100, "Most epochs in all", ge=1)

    def check(self) -> Iterator[RuleBreak]:
        """The sum of the epochs has a limit."""
        if self.schedule.epochs > self.total:
            yield RuleBreak("total", f"is less than schedule.epochs={self.schedule.epochs}")
