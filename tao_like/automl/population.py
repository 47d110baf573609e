"""Population based training: members train in rounds; the weakest go on from the strongest's checkpoints.

Jaderberg et al. 2017, "Population Based Training of Neural Networks", https://arxiv.org/abs/1711.09846:
exploit by truncation (the last fifth takes over from the first), explore by a factor up or down.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tao_like.automl.space import Parameter, Scalar
from tao_like.config.blocks.automl import AutomlSpec
from tao_like.contract.metrics import Goal
from tao_like.errors import SpecError

if TYPE_CHECKING:
    import optuna

_FRACTION = 5
"""One of so many members takes over from another."""
_BLOCK = "train.optim."


def check_parameters(parameters: Sequence[Parameter]) -> None:
    """A training can go on with another number of its optimizer, and with nothing else.

    Raises:
        SpecError: names the keys that a running training cannot change.
    """
    wrong = [one.key for one in parameters if one.choices or not one.key.startswith(_BLOCK)]
    if wrong:
        raise SpecError(
            f"automl.parameters: pbt changes them within a training, which goes for numbers of train.optim "
            f"alone, and not for {', '.join(wrong)}; leave them out, or take asha"
        )


def enqueue(
    study: optuna.Study, settings: AutomlSpec, parameters: Sequence[Parameter], number: int, goal: Goal
) -> None:
    """Put a round's trials into the study, one for each member; those that are there stay.

    Args:
        study: has a trial for each member and round.
        settings: the spec's block.
        parameters: what is varied.
        number: of the round, from 0; the one before has ended.
        goal: says which values are better.
    """
    size = settings.population_size
    there = study.get_trials(deepcopy=False)
    chance = random.Random(settings.seed * 100_003 + number)
    members = (
        _first(parameters, size, chance)
        if number == 0
        else _next(there[(number - 1) * size : number * size], settings, parameters, goal, chance)
    )
    # Also what lies in wait of a round that was being put in when somebody broke the search off.
    for member, (values, source) in enumerate(members):
        if number * size + member >= len(there):
            study.enqueue_trial(values, {"member": member, "round": number, "from": source})


def _first(
    parameters: Sequence[Parameter], size: int, chance: random.Random
) -> list[tuple[dict[str, Any], int | None]]:
    return [({one.key: _anywhere(one, chance) for one in parameters}, None) for _ in range(size)]


def _next(
    before: Sequence[optuna.trial.FrozenTrial],
    settings: AutomlSpec,
    parameters: Sequence[Parameter],
    goal: Goal,
    chance: random.Random,
) -> list[tuple[dict[str, Any], int | None]]:
    """Each member's numbers, and the trial whose checkpoint it goes on from."""
    ranked = sorted(before, key=lambda trial: _worth(trial, goal), reverse=True)
    few = max(1, len(before) // _FRACTION)
    best = [trial for trial in ranked[:few] if trial.value is not None]
    weak = {trial.number for trial in ranked[len(ranked) - few :]}
    weak |= {trial.number for trial in before if trial.value is None}
    members: list[tuple[dict[str, Any], int | None]] = []
    for trial in before:
        if trial.number not in weak:
            members.append((dict(trial.params), trial.number))
        elif not best:
            members.append(({one.key: _anywhere(one, chance) for one in parameters}, None))
        else:
            source = chance.choice(best)
            values = {one.key: _near(one, source.params[one.key], settings, chance) for one in parameters}
            members.append((values, source.number))
    return members


def _worth(trial: optuna.trial.FrozenTrial, goal: Goal) -> float:
    if trial.value is None or math.isnan(trial.value):
        return -math.inf
    return trial.value if goal.higher_is_better else -trial.value


def _anywhere(parameter: Parameter, chance: random.Random) -> Scalar:
    assert parameter.low is not None
    assert parameter.high is not None
    if parameter.log:
        value = math.exp(chance.uniform(math.log(parameter.low), math.log(parameter.high)))
    else:
        value = chance.uniform(parameter.low, parameter.high)
    return _within(parameter, value)


def _near(parameter: Parameter, value: Scalar, settings: AutomlSpec, chance: random.Random) -> Scalar:
    """A number times or by the factor; a zero stays one, as it means that something is off."""
    assert isinstance(value, int | float)
    factor = settings.perturbation_factor
    return _within(parameter, value * chance.choice((factor, 1 / factor)))


def _within(parameter: Parameter, value: float) -> Scalar:
    assert parameter.low is not None
    assert parameter.high is not None
    value = min(max(value, parameter.low), parameter.high)
    return round(value) if parameter.whole else value
