"""What a search varies: keys of the spec, with the ranges of their declarations or narrower ones."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tao_like.config import iter_fields
from tao_like.config.blocks.automl import AutomlParameterSpec
from tao_like.config.blocks.common import CommonSpec
from tao_like.config.structure import Block, Member, describe
from tao_like.errors import Problem, SpecError

DEFAULT_KEYS = ("train.optim.lr", "train.optim.weight_decay")
_NEAR = 10.0
"""A range that says little becomes the value times and by this."""
_WIDE = 50.0
"""From this ratio of its ends on a range is varied by its logarithm."""
_MOST_WHOLE = 1000
_NOT_VARIED = (
    "results_dir",
    "automl.",
    "execution.",
    "evaluate.",
    "inference.",
    "export.",
    "prune.",
    "quantize.",
    "compare.",
    "dataset_check.",
)

Scalar = int | float | str | bool


@dataclass(frozen=True)
class Parameter:
    """A key that is varied.

    Attributes:
        key: dotted.
        low, high: ends of the range, both of which may come; None where there are choices.
        whole: whole numbers alone.
        log: its logarithm is varied evenly.
        choices: the values, in place of a range.
        steps: values that a grid tries.
    """

    key: str
    low: float | None = None
    high: float | None = None
    whole: bool = False
    log: bool = False
    choices: tuple[Scalar, ...] = ()
    steps: int = 3

    def grid(self) -> list[Scalar]:
        """The values that a grid tries, from low to high."""
        if self.choices:
            return list(self.choices)
        assert self.low is not None
        assert self.high is not None
        if self.steps == 1 or self.low == self.high:
            fractions = [0.5]
        else:
            fractions = [step / (self.steps - 1) for step in range(self.steps)]
        if self.log:
            values = [self.low * (self.high / self.low) ** fraction for fraction in fractions]
        else:
            values = [self.low + (self.high - self.low) * fraction for fraction in fractions]
        values[0], values[-1] = (values[0], values[-1]) if len(values) == 1 else (self.low, self.high)
        return list(dict.fromkeys(round(value) if self.whole else value for value in values))

    def text(self) -> str:
        """What is varied, in words."""
        if self.choices:
            return f"{self.key}: {', '.join(map(str, self.choices))}"
        return f"{self.key}: {self.low:g} to {self.high:g}{', by its logarithm' if self.log else ''}"


def parameters_of(spec: CommonSpec, given: frozenset[str]) -> list[Parameter]:
    """What a spec's search varies.

    Args:
        spec: resolved.
        given: the keys that the user set.

    Raises:
        SpecError: a key does not exist, or has no range that could be searched; names each.
    """
    asked = spec.automl.parameters
    if not asked:
        declared = {field.key for field in iter_fields(type(spec)) if field.automl}
        wanted = [
            key for key in (*DEFAULT_KEYS, *sorted(declared & given)) if not key.startswith(_NOT_VARIED)
        ]
        return [
            parameter
            for key in dict.fromkeys(wanted)
            if (parameter := _usable(spec, AutomlParameterSpec(key))) is not None
        ]
    found, problems = [], []
    for number, one in enumerate(asked):
        try:
            found.append(_parameter(spec, one))
        except _Unusable as error:
            key = f"automl.parameters[{number}].{error.field}"
            problems.append(Problem(key, "", 0, error.text))
    if problems:
        raise SpecError("\n".join(map(str, problems)), problems=problems)
    return found


class _Unusable(Exception):
    def __init__(self, field: str, text: str) -> None:
        super().__init__(text)
        self.field, self.text = field, text


def _usable(spec: CommonSpec, asked: AutomlParameterSpec) -> Parameter | None:
    try:
        return _parameter(spec, asked)
    except _Unusable:
        return None


def _parameter(spec: CommonSpec, asked: AutomlParameterSpec) -> Parameter:
    member, value = _find(spec, asked.parameter)
    scalars = member.kind.scalars
    if asked.valid_options:
        return Parameter(asked.parameter, choices=tuple(asked.valid_options))
    if bool in scalars:
        return Parameter(asked.parameter, choices=(False, True))
    if member.rule.choices:
        return Parameter(asked.parameter, choices=tuple(member.rule.choices))
    if not {int, float} & set(scalars):
        raise _Unusable("valid_options", f"{asked.parameter} is no number; give the values to choose from")
    whole = float not in scalars
    low, high = _range(member, value, asked, whole)
    ratio = high / low if low > 0 else math.inf
    log = asked.log if asked.log is not None else low > 0 and ratio >= _WIDE
    if log and low <= 0:
        raise _Unusable("log", f"true needs a range above 0, and that of {asked.parameter} begins at {low:g}")
    return Parameter(asked.parameter, low, high, whole, log, steps=asked.steps)


def _range(member: Member, value: Any, asked: AutomlParameterSpec, whole: bool) -> tuple[float, float]:
    """Both ends, which the key's own bounds allow."""
    bounds, key = member.rule.bounds, asked.parameter
    tiny = 1 if whole else 1e-6
    least = bounds.ge if bounds.ge is not None else None if bounds.gt is None else bounds.gt + tiny
    most = bounds.le if bounds.le is not None else None if bounds.lt is None else bounds.lt - tiny
    low, high = asked.valid_min, asked.valid_max
    for name, end in (("valid_min", low), ("valid_max", high)):
        if end is not None and not bounds.hold(end):
            raise _Unusable(name, f"{end:g} is not allowed for {key}; it must be {bounds.sentence()}")
    number = value if isinstance(value, int | float) and not isinstance(value, bool) and value > 0 else None
    says_little = least is None or most is None or most - least > _MOST_WHOLE
    says_little = says_little or (number is not None and not whole and most / number > _WIDE)  # type: ignore[operator]
    if low is None:
        low = number / _NEAR if says_little and number is not None else least
        low = max(low, least) if low is not None and least is not None else low
    if high is None:
        high = number * _NEAR if says_little and number is not None else most
        high = min(high, most) if high is not None and most is not None else high
    if low is None or high is None:
        name = "valid_min" if low is None else "valid_max"
        raise _Unusable(name, f"{key} is declared without an end on this side; give one")
    if whole:
        low, high = math.ceil(low), math.floor(high)
    if low > high:
        raise _Unusable("valid_min", f"the range of {key}, {low:g} to {high:g}, is empty")
    return float(low), float(high)


def _find(spec: CommonSpec, key: str) -> tuple[Member, Any]:
    """The declaration of a key, and its value."""
    block: Block | None = describe(type(spec))
    value: Any = spec
    for name in key.split("."):
        member = block.members.get(name) if block is not None else None
        if member is None:
            raise _Unusable("parameter", f"there is no key {key}; use the names that default_specs prints")
        value = getattr(value, name)
        block = describe(member.kind.block) if member.kind.block is not None else None
    assert member is not None
    if block is not None or key.startswith(_NOT_VARIED):
        raise _Unusable("parameter", f"{key} cannot be varied in a training; name a key of its own")
    if member.rule.path:
        # Also a server's promise: it has looked at the paths of the spec, and not at these.
        raise _Unusable("parameter", f"{key} is a path, and paths are not varied; name a number or a choice")
    return member, value


def laid_on(base: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """A spec with dotted keys set; the base stays as it is."""
    result = dict(base)
    for key, value in values.items():
        *parents, name = key.split(".")
        here = result
        for parent in parents:
            here[parent] = dict(here[parent])
            here = here[parent]
        here[name] = value
    return result


def sentences(parameters: list[Parameter]) -> Iterator[str]:
    """What is varied, a line each."""
    for parameter in parameters:
        yield parameter.text()
