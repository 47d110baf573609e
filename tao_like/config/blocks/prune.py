"""The blocks of a spec that make a trained network smaller, and let it learn from the larger one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tao_like.config import Problem, spec_field

CRITERIA = ("magnitude_l1", "magnitude_l2", "bn_scale", "taylor", "random", "L1", "L2")
DEFAULT_TARGET_MACS = 0.5

# TAO's keys of pruning that are called otherwise here, or mean nothing.
MOVED_TAO_KEYS: Mapping[str, str] = {
    "prune.prune_setting.amount": "prune.ratio",
    "prune.prune_setting.granularity": "prune.granularity",
    "prune.prune_setting.raw_prune_score": "prune.criterion",
    "distill.pretrained_teacher_model_path": "train.distill.teacher_model_path",
    "distill.loss_lambda": "train.distill.loss_lambda",
}
IGNORED_TAO_KEYS_OF_PRUNING: Mapping[str, str] = {
    "prune.gpu_id": "train.accelerator says where to train between the steps",
    "prune.p": "prune.criterion says it: magnitude_l1 or magnitude_l2",
    "prune.verbose": "--debug shows more",
    "prune.prune_setting.mode": "prune.ratio, prune.target_macs and prune.scope say it",
    "prune.prune_setting.threshold": "prune.ratio or prune.target_macs says how much goes",
    "distill.teacher": "the teacher's bundle knows its architecture",
    "distill.bindings": "the predictions are compared, not the layers",
    "distill.loss_type": "the predictions are compared by their KL divergence",
    "distill.mode": "the predictions are compared, not the layers",
    "distill.use_mlp": "the predictions are compared, not the layers",
    "distill.mlp_hidden_size": "the predictions are compared, not the layers",
    "distill.mlp_num_inner": "the predictions are compared, not the layers",
    "distill.results_dir": "train.results_dir says where",
}


@dataclass
class PruneSpec:
    """Takes away the channels and attention heads of a bundle that matter least."""

    checkpoint: str | None = spec_field(
        None,
        "Bundle to prune; empty: the one that train left in results_dir",
        path=True,
        aliases=("model_path", "model"),
    )
    ratio: float | None = spec_field(
        None,
        "Fraction of all prunable channels and heads that goes; empty: as `target_macs` needs it",
        gt=0,
        lt=1,
        automl=True,
        aliases=("ch_sparsity", "pruning_ratio", "pruning_thresh", "amount"),
    )
    target_macs: float | None = spec_field(
        None,
        f"Fraction of the multiply-accumulates that stays; empty: {DEFAULT_TARGET_MACS} if no `ratio` is "
        f"given",
        gt=0,
        lt=1,
        automl=True,
    )
    criterion: str = spec_field(
        "taylor",
        "What counts as mattering: the size of weights, the scale of batch norms, or how much the loss would "
        "change without (taylor: needs training data); L1 and L2 are TAO's words for the first two",
        choices=CRITERIA,
        automl=True,
        aliases=("raw_prune_score",),
    )
    scope: str = spec_field(
        "global",
        "Rank the channels of all layers together, or take the same fraction of every layer",
        choices=("global", "local"),
        automl=True,
    )
    granularity: int = spec_field(
        8,
        "Each layer keeps a multiple of this many channels, which processors like",
        ge=1,
        le=1024,
        aliases=("round_to",),
    )
    max_ratio: float = spec_field(
        0.9,
        "No layer loses more than this fraction of its channels",
        gt=0,
        lt=1,
        aliases=("max_pruning_ratio",),
    )
    excluded_layers: list[str] = spec_field(
        [], "Layers that stay as they are: names or patterns such as `backbone.blocks.0.*`"
    )
    steps: int = spec_field(1, "Prune in this many steps, with training in between", ge=1, le=100)
    epochs_per_step: int = spec_field(
        1, "Passes over the training data between two steps, by the train block", unit="epochs", ge=1
    )
    criterion_samples: int = spec_field(
        256,
        "Training samples whose loss `taylor` looks at",
        ge=1,
    )
    pruned_file: str | None = spec_field(
        None, "Where to write the bundle; empty: results_dir/prune/model.tltb", path=True
    )
    results_dir: str | None = spec_field(
        None, "Folder of this stage's results; empty: `results_dir/prune`", path=True
    )

    def check(self) -> Iterator[Problem]:
        """How much goes is said once."""
        if self.ratio is not None and self.target_macs is not None:
            yield Problem(
                "target_macs",
                f"{self.target_macs:g} is given together with ratio={self.ratio:g}; keep one of them",
            )


@dataclass
class DistillSpec:
    """Learning from a larger network's predictions beside the labels (Hinton et al. 2015)."""

    teacher_model_path: str | None = spec_field(
        None,
        "Bundle of the teacher, such as the network before pruning; empty: none",
        path=True,
        aliases=("pretrained_teacher_model_path",),
    )
    loss_lambda: float = spec_field(
        0.5, "The teacher's fraction of the loss; the labels have the rest", ge=0, le=1, automl=True
    )
    temperature: float = spec_field(
        2.0,
        "Divides the logits before the predictions are compared: above 1 softens them",
        gt=0,
        le=100,
        automl=True,
    )
