"""Optimizer and learning-rate schedule, which every task has. Field names are TAO's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

from tao_like.config import Problem, spec_block, spec_field

OPTIMIZERS = (
    "sgd",
    "adam",
    "adamw",
    "adamax",
    "nadam",
    "nadamw",
    "radam",
    "rmsprop",
    "lamb",
    "lion",
    "adafactor",
)
TAO_OPTIMIZERS = {
    "torch.optim.SGD": "sgd",
    "torch.optim.Adam": "adam",
    "torch.optim.Adamax": "adamax",
    "AdamW": "adamw",
}
TAO_POLICIES = {
    "MultiStep": "multistep",
    "StepLR": "step",
    **dict.fromkeys(("WarmupPoly", "Warmuppoly", "warmuppoly"), "linear"),
}
"""TAO's WarmupPoly has no warm-up, and falls to zero as the 0.9th power of what is left."""
TAO_METRICS = {"train_loss": "val_loss"}
"""TAO's mask2former names the training's loss, which tells no epoch apart from a better one."""


@dataclass
class PolicyParamsSpec:
    """What the learning-rate policies need beside their name."""

    step_size: int = spec_field(30, "Epochs between two drops, for policy `step`", unit="epochs", ge=1)
    gamma: float = spec_field(
        0.1, "Factor of each drop, for policies `step` and `multistep`", gt=0, le=1, automl=True
    )
    milestones: list[int] = spec_field([10, 20], "Epochs of the drops, for policy `multistep`", unit="epochs")
    min_lr_ratio: float = spec_field(
        0.0, "Rate at the end as a fraction of the highest, for `linear` and `cosine`", ge=0, le=1
    )
    pct_start: float = spec_field(
        0.4, "Fraction of the training in which the rate rises, for `one_cycle`", gt=0, lt=1, automl=True
    )
    div_factor: float = spec_field(
        10.0, "Highest rate over the first one, for `one_cycle`", ge=1, automl=True
    )
    moms: list[float] = spec_field(
        [0.95, 0.85],
        "Momentum (of optimizers with betas the first) while the rate is low and where it is highest, for "
        "`one_cycle`; empty: it stays as it is",
        element_ge=0,
        element_lt=1,
    )

    def check(self) -> Iterator[Problem]:
        """Two momenta, or none."""
        if len(self.moms) not in (0, 2):
            yield Problem("moms", f"{self.moms} is not allowed; give two numbers, or none")


@dataclass
class OptimSpec:
    """Optimizer and learning-rate schedule."""

    shorthands: ClassVar[Mapping[str, Mapping[str, str]]] = {
        "adam_onecycle": {"optim": "adamw", "policy": "one_cycle"}
    }

    optim: str = spec_field(
        "adamw",
        "Optimizer. Built by timm's factory",
        choices=OPTIMIZERS,
        synonyms=TAO_OPTIMIZERS,
        aliases=("type", "name", "optimizer", "optimizer_type"),
    )
    lr: float = spec_field(
        1e-3, "Highest learning rate, of the head and of all that is new", gt=0, le=10, automl=True
    )
    lr_backbone: float | None = spec_field(
        None, "Highest learning rate of the pretrained part; empty: as `lr`", gt=0, le=10, automl=True
    )
    backbone_multiplier: float = spec_field(
        1.0,
        "In the place of lr_backbone: highest learning rate of the pretrained part as a fraction of `lr`",
        gt=0,
        le=1,
        automl=True,
    )
    lr_batch_size: int | None = spec_field(
        None,
        "Samples a step that `lr` and `lr_backbone` are meant for: with more or fewer, over all devices and "
        "accumulated batches, both grow or shrink in proportion; empty: they stand as they are",
        ge=1,
    )
    momentum: float = spec_field(0.9, "Momentum of SGD and RMSprop", ge=0, lt=1, automl=True)
    weight_decay: float = spec_field(
        0.01,
        "Weight decay; biases, affine terms of norm layers and what the network itself leaves out (position "
        "embeddings, class tokens) have none",
        ge=0,
        le=1,
        automl=True,
    )
    betas: list[float] = spec_field([0.9, 0.999], "Betas of the Adam family")
    layer_decay: float | None = spec_field(
        None,
        "Rate of each layer as a fraction of that of the layer after it, for transformers (0.65 to 0.75 is "
        "usual): the first layers, which know most already, change least; empty: no difference",
        gt=0,
        le=1,
        automl=True,
    )
    skip_names: list[str] = spec_field([], "Parameters whose name contains one of these get no weight decay")
    policy: str = spec_field(
        "cosine",
        "How the learning rate falls, step by step; `one_cycle` rises first, along a cosine too, while the "
        "momentum falls, and then both go back",
        choices=("constant", "linear", "cosine", "step", "multistep", "one_cycle"),
        synonyms=TAO_POLICIES,
        aliases=("lr_scheduler",),
    )
    policy_params: PolicyParamsSpec = spec_block(PolicyParamsSpec, "Details of the policy")
    warmup_epochs: float = spec_field(
        0.0,
        "Epochs in which the rate rises from zero, half of the training at most where this would fill it; "
        "without effect on `one_cycle`, which rises by itself",
        unit="epochs",
        ge=0,
        aliases=("warmup_epoch",),
    )
    head_epochs: float = spec_field(
        0.0,
        "First epochs in which the head alone learns; the backbone waits at rate zero",
        unit="epochs",
        ge=0,
    )
    monitor_name: str = spec_field(
        "val_loss",
        "Metric that picks the best epoch and stops early; one of those that validation reports",
        synonyms=TAO_METRICS,
        aliases=("monitor", "lr_monitor"),
    )

    @property
    def backbone_rate(self) -> float:
        """Highest learning rate of the pretrained part."""
        return self.lr * self.backbone_multiplier if self.lr_backbone is None else self.lr_backbone

    def check(self) -> Iterator[Problem]:
        """Rules that join several keys of this block."""
        if self.lr_backbone is not None and self.backbone_multiplier != 1:
            yield Problem(
                "backbone_multiplier",
                f"{self.backbone_multiplier:g} is given together with lr_backbone={self.lr_backbone:g}; both "
                "say the rate of the pretrained part: keep one",
            )
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            yield Problem("betas", f"{self.betas} is not allowed; give two numbers from 0 to below 1")
        milestones = self.policy_params.milestones
        if self.policy == "one_cycle" and self.policy_params.moms and self.optim == "adafactor":
            yield Problem("policy_params.moms", "adafactor has no momentum that could change; give []")
        if self.policy == "multistep" and (not milestones or milestones != sorted(set(milestones))):
            yield Problem("policy_params.milestones", f"{milestones} is not allowed; give rising epochs")
