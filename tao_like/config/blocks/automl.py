"""The block of a spec that searches for hyper-parameters."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tao_like.config import MISSING, Problem, spec_field

ALGORITHMS = ("bayesian", "bfbo", "random", "grid", "asha", "hyperband", "hyperband_es", "bohb", "pbt")
NOT_HERE = {
    "dehb": "its differential evolution; bohb is the nearest",
    "llm": "a language model's suggestions; bayesian is the nearest",
}
"""Algorithms of TAO's that there are not, with what they would need and what is nearest."""


@dataclass
class AutomlParameterSpec:
    """A key that is varied, and how."""

    parameter: str = spec_field(MISSING, "The key, such as train.optim.lr")
    valid_min: float | None = spec_field(
        None, "Lowest value; empty: by the key's declaration", aliases=("min",)
    )
    valid_max: float | None = spec_field(
        None, "Highest value; empty: by the key's declaration", aliases=("max",)
    )
    valid_options: list[int | float | str | bool] = spec_field(
        [], "The values to choose from, in place of a range", aliases=("options",)
    )
    log: bool | None = spec_field(
        None, "Vary its logarithm; empty: where the range spans a factor of 50 or more"
    )
    steps: int = spec_field(3, "Values of a range that algorithm `grid` tries", ge=1, le=1000)

    def check(self) -> Iterator[Problem]:
        """A range has a lower and an upper end, and options have none."""
        low, high = self.valid_min, self.valid_max
        if self.valid_options and (low is not None or high is not None):
            yield Problem("valid_options", "is given together with a range; keep one of them")
        if low is not None and high is not None and low > high:
            yield Problem("valid_min", f"{low:g} is more than valid_max={high:g}")
        if self.log and low is not None and low <= 0:
            yield Problem("log", f"true needs a range above 0, and valid_min is {low:g}")


@dataclass
class AutomlSpec:
    """Trains with varied keys, and finds the values that do best on the validation data."""

    algorithm: str = spec_field(
        "bayesian",
        "bayesian: a Gaussian process, one trial at a time; bfbo: the same for several at a time; random; "
        "grid; asha and hyperband: random values, weak trials end early; hyperband_es: and those below a "
        "threshold; bohb: hyperband with values from a density of the good ones; pbt: a population trains in "
        "rounds, and the weakest go on from the strongest's checkpoints with other numbers",
        choices=(*ALGORITHMS, *NOT_HERE),
        aliases=("automl_algorithm",),
    )
    parameters: list[AutomlParameterSpec] = spec_field(
        [],
        "What is varied; empty: train.optim.lr, train.optim.weight_decay, and what the spec sets of the keys "
        "that are declared for it",
        aliases=("automl_hyperparameters",),
    )
    max_trials: int = spec_field(
        20,
        "Trainings, those that fail or end early too; grid may have fewer; pbt has its population",
        ge=1,
        le=100000,
        aliases=("automl_max_recommendations", "automl_max_trials"),
    )
    max_concurrent: int = spec_field(
        1, "Trainings side by side", ge=1, le=1000, aliases=("automl_max_concurrent",)
    )
    min_epochs: int = spec_field(
        1, "Epochs before which no trial ends early", unit="epochs", ge=1, aliases=("epoch_multiplier",)
    )
    reduction_factor: int = spec_field(
        3,
        "One of so many trials goes on at each round of asha, hyperband and bohb",
        ge=2,
        le=100,
        aliases=("automl_reduction_factor",),
    )
    early_stop_threshold: float | None = spec_field(
        None,
        "For hyperband_es: a trial whose metric is worse than this after min_early_stop_epochs ends",
        aliases=("automl_early_stop_threshold",),
    )
    min_early_stop_epochs: int = spec_field(
        1,
        "Epochs before the threshold counts",
        unit="epochs",
        ge=1,
        aliases=("automl_min_early_stop_epochs",),
    )
    population_size: int = spec_field(
        8, "Members of pbt's population", ge=2, le=1000, aliases=("automl_population_size",)
    )
    eval_interval: int = spec_field(
        1, "Epochs of a round of pbt", unit="epochs", ge=1, aliases=("automl_eval_interval",)
    )
    perturbation_factor: float = spec_field(
        1.2,
        "pbt multiplies or divides a number by this where a member takes over another's",
        gt=1,
        le=10,
        aliases=("automl_perturbation_factor",),
    )
    seed: int = spec_field(1234, "Seed of the values that are tried", ge=0)
    results_dir: str | None = spec_field(
        None, "Folder of this stage's results; empty: `results_dir/automl`", path=True
    )

    def check(self) -> Iterator[Problem]:
        """What there is not says so."""
        if self.algorithm in NOT_HERE:
            yield Problem("algorithm", f"{self.algorithm} is not here: {NOT_HERE[self.algorithm]}")
        if self.algorithm == "hyperband_es" and self.early_stop_threshold is None:
            yield Problem("early_stop_threshold", "hyperband_es needs one; give it, or take hyperband")
        if self.algorithm == "bayesian" and self.max_concurrent > 1:
            yield Problem(
                "max_concurrent",
                f"{self.max_concurrent} is not allowed with bayesian, which learns from each trial before "
                "the next; take bfbo",
            )
        names = [parameter.parameter for parameter in self.parameters]
        for number, name in enumerate(names):
            if name in names[:number]:
                yield Problem(f"parameters[{number}].parameter", f"{name} is named twice")
