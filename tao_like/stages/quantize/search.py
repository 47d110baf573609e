"""Which layers must stay in float, where int8 everywhere loses too much."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from tao_like.contract.sample import Outputs
from tao_like.errors import ConversionError


@dataclass(frozen=True)
class Search:
    """What was tried.

    Attributes:
        kept: layers left in float, the costliest first.
        drop: loss of the metric with these.
        costs: what each layer costs alone, by name, the costliest first; empty where nothing was searched.
        tried: number of layers left in float and the loss that came with it, in the order of the trials.
    """

    kept: list[str]
    drop: float
    costs: dict[str, float] = field(default_factory=dict)
    tried: list[tuple[int, float]] = field(default_factory=list)


def find_float_layers(
    layers: Sequence[str],
    drop_with: Callable[[Sequence[str]], float],
    costs_of: Callable[[], Mapping[str, float]],
    max_drop: float,
) -> Search:
    """Leaves as few layers in float as the allowed loss needs.

    Layers are taken by what each costs alone, the costliest first: 1, 2, 4 ... of them until the loss is
    small enough, then the smallest such number by halving. Losses of several layers do not add up exactly,
    so this is a good set, not the best of all.

    Args:
        layers: those that may compute in int8.
        drop_with: loss of the metric with these layers left in float and the others in int8.
        costs_of: what each layer costs when it alone computes in int8; called only if it is needed.
        max_drop: largest loss allowed.

    Raises:
        ConversionError: only with every layer in float the loss is small enough.
    """
    first = drop_with([])
    tried = [(0, first)]
    if first <= max_drop:
        return Search([], first, {}, tried)
    costs = dict(sorted(costs_of().items(), key=lambda item: -item[1]))
    ranked = list(costs)
    # At least one layer computes in int8.
    failed, passed, most = 0, 1, len(layers) - 1
    # Not `> max_drop`: a loss that is not a number must count as too large.
    while failed < most and not (drop := drop_with(ranked[:passed])) <= max_drop:
        tried.append((passed, drop))
        failed, passed = passed, min(2 * passed, most)
    if failed >= most:
        smallest = min(loss for _, loss in tried)
        raise ConversionError(
            f"int8 loses {first:.4f} on validation data, and at best {smallest:.4f} with some of its "
            f"{len(layers)} layers left in float, more than quantize.max_drop={max_drop:g}; nothing was "
            "written. Try quantize.algorithm=entropy or percentile, or allow more"
        )
    tried.append((passed, drop))
    best = drop
    while passed - failed > 1:
        middle = (failed + passed) // 2
        drop = drop_with(ranked[:middle])
        tried.append((middle, drop))
        if drop <= max_drop:
            passed, best = middle, drop
        else:
            failed = middle
    return Search(ranked[:passed], best, costs, tried)


def relative_error(wanted: Sequence[Outputs], given: Sequence[Outputs]) -> float:
    """Sum of the squared differences over the sum of the squares, over all outputs and samples."""
    pairs = [(one[name], other[name]) for one, other in zip(wanted, given, strict=True) for name in one]
    error = sum(float(np.square(one - other, dtype=np.float64).sum()) for one, other in pairs)
    return error / max(sum(float(np.square(one, dtype=np.float64).sum()) for one, _ in pairs), 1e-30)
