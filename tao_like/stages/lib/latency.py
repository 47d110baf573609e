"""How long models take, measured in turns: what else the machine does meets all of them alike."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Latency:
    """Times of one candidate.

    Attributes:
        samples_ms: milliseconds of each timed call, in the order of the rounds.
        batch: samples of a call.
    """

    samples_ms: tuple[float, ...]
    batch: int = 1

    @property
    def median_ms(self) -> float:
        """Half of the calls took at most this long, in milliseconds."""
        return float(np.median(self.samples_ms))

    @property
    def p95_ms(self) -> float:
        """19 of 20 calls took at most this long, in milliseconds."""
        return float(np.percentile(self.samples_ms, 95))

    @property
    def throughput(self) -> float:
        """Samples a second at the median."""
        return 1000.0 * self.batch / self.median_ms


def measure_in_turns(
    candidates: Mapping[str, Callable[[], object]],
    *,
    rounds: int = 30,
    warm_up: int = 3,
    seconds: float | None = None,
    batch: int = 1,
    seed: int = 0,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Latency]:
    """Times every candidate once a round, in an order that is drawn anew for each round.

    Measured one after the other, a slow minute of the machine would count against one candidate alone, and
    a fixed order would always put the same one behind a cold cache. Compare candidates by the ratio of
    their medians, or round by round. Threads are the business of the candidates: give all of them the same
    number, and say it beside the figures.

    Args:
        candidates: name to a call without arguments that does the whole work (on a GPU, waiting included).
        rounds: timed calls of each, 1 or more.
        warm_up: calls of each before that, which are not timed: first calls reserve memory.
        seconds: stop after the round in which this time is over, but not before 5 rounds; None: no limit.
        batch: samples of a call, for the throughput.
        seed: of the orders.
        clock: seconds that only rise.

    Returns:
        Name to times, in the order of ``candidates``.

    Raises:
        ValueError: nothing to measure, or ``rounds`` below 1.
    """
    if not candidates or rounds < 1:
        raise ValueError(f"{len(candidates)} candidates and rounds={rounds}; both must be 1 or more")
    for call in candidates.values():
        for _ in range(warm_up):
            call()
    order = list(candidates)
    shuffle = random.Random(seed).shuffle
    taken: dict[str, list[float]] = {name: [] for name in candidates}
    started = clock()
    for number in range(rounds):
        shuffle(order)
        for name in order:
            before = clock()
            candidates[name]()
            taken[name].append((clock() - before) * 1000)
        if seconds is not None and number + 1 >= _FEWEST_ROUNDS and clock() - started >= seconds:
            break
    return {name: Latency(tuple(times), batch) for name, times in taken.items()}


_FEWEST_ROUNDS = 5
"""A median of fewer says little, however slow the model is."""
