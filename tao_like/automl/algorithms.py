"""TAO's algorithms as samplers and pruners of Optuna."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tao_like.automl.space import Parameter
from tao_like.config.blocks.automl import AutomlSpec
from tao_like.errors import SpecError

if TYPE_CHECKING:
    import optuna

STUDY_FILE = "study.jsonl"
STUDY = "automl"


def distributions(parameters: Sequence[Parameter]) -> dict[str, Any]:
    """What Optuna is told of the parameters."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    found: dict[str, Any] = {}
    for one in parameters:
        if one.choices:
            found[one.key] = CategoricalDistribution(one.choices)
            continue
        assert one.low is not None
        assert one.high is not None
        if one.whole:
            found[one.key] = IntDistribution(int(one.low), int(one.high), log=one.log)
        else:
            found[one.key] = FloatDistribution(one.low, one.high, log=one.log)
    return found


def open_study(
    folder: Path, settings: AutomlSpec, parameters: Sequence[Parameter], epochs: int, *, maximize: bool
) -> optuna.Study:
    """The study of a folder: that of a search that was broken off, or a new one.

    Args:
        folder: of the search.
        settings: the spec's block.
        parameters: what is varied.
        epochs: of a whole training.
        maximize: whether more is better.

    Raises:
        SpecError: the search that was broken off had other parameters or another algorithm.
    """
    import optuna
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    # A line an event: killed in the midst of one, it loses that one. A dead process's lock ends by itself.
    storage = optuna.storages.JournalStorage(JournalFileBackend(str(folder / STUDY_FILE)))
    study = optuna.create_study(
        storage=storage,
        study_name=STUDY,
        sampler=_sampler(settings, parameters, done=0),
        pruner=_pruner(settings, epochs),
        direction="maximize" if maximize else "minimize",
        load_if_exists=True,
    )
    said = {"algorithm": settings.algorithm, "parameters": [one.text() for one in parameters]}
    before = study.user_attrs.get("search")
    if before is None:
        study.set_user_attr("search", said)
    elif before != said:
        raise SpecError(
            f"automl: {folder} holds a search that was broken off, over {'; '.join(before['parameters'])} by "
            f"{before['algorithm']}; go on with the same spec, or choose another results_dir"
        )
    if settings.algorithm == "grid" and not study.trials:
        # Not Optuna's GridSampler, which asks a study that is only told to stop itself, and fails.
        for point in _grid(settings, parameters):
            study.enqueue_trial(point)
    # A search that goes on must not try the same random values again.
    study.sampler = _sampler(settings, parameters, done=len(study.trials))
    return study


def _grid(settings: AutomlSpec, parameters: Sequence[Parameter]) -> list[dict[str, Any]]:
    """The points of a grid, in random order where not all of them are tried."""
    keys = [one.key for one in parameters]
    points = [dict(zip(keys, values, strict=True)) for values in product(*(one.grid() for one in parameters))]
    if len(points) > settings.max_trials:
        random.Random(settings.seed).shuffle(points)
    return points[: settings.max_trials]


def _sampler(settings: AutomlSpec, parameters: Sequence[Parameter], done: int) -> Any:
    import optuna

    seed = settings.seed + done
    if settings.algorithm in ("bayesian", "bfbo"):
        startup = min(10, max(4, settings.max_trials // 3))
        return optuna.samplers.GPSampler(seed=seed, n_startup_trials=startup)
    if settings.algorithm == "bohb":
        return optuna.samplers.TPESampler(seed=seed, multivariate=True, n_startup_trials=5)
    return optuna.samplers.RandomSampler(seed=seed)


def _pruner(settings: AutomlSpec, epochs: int) -> Any:
    import optuna

    least, factor = min(settings.min_epochs, epochs), settings.reduction_factor
    if settings.algorithm == "asha":
        return optuna.pruners.SuccessiveHalvingPruner(min_resource=least, reduction_factor=factor)
    if settings.algorithm in ("hyperband", "bohb", "hyperband_es"):
        return optuna.pruners.HyperbandPruner(
            min_resource=least, max_resource=epochs, reduction_factor=factor
        )
    return optuna.pruners.NopPruner()


def below_threshold(settings: AutomlSpec, epoch: int, value: float, *, maximize: bool) -> bool:
    """Whether hyperband_es ends a trial for its value alone."""
    threshold = settings.early_stop_threshold
    if settings.algorithm != "hyperband_es" or threshold is None or epoch < settings.min_early_stop_epochs:
        return False
    return value < threshold if maximize else value > threshold


def number_of_trials(settings: AutomlSpec, parameters: Sequence[Parameter], epochs: int) -> int:
    """Trainings at most; a grid has no more than its points, a population one for each member and round."""
    if settings.algorithm == "pbt":
        return settings.population_size * -(-epochs // settings.eval_interval)
    if settings.algorithm != "grid":
        return settings.max_trials
    return min(settings.max_trials, math.prod(len(one.grid()) for one in parameters))
