"""Timing in turns, with a clock that the candidates themselves move."""

from __future__ import annotations

import pytest

from tao_like.stages.lib.latency import Latency, measure_in_turns


class Workshop:
    """Candidates that take known times, and a diary of who was called."""

    def __init__(self) -> None:
        self.now = 0.0
        self.diary: list[str] = []

    def worker(self, name: str, *seconds: float) -> tuple[str, object]:
        times = list(seconds)

        def call() -> None:
            self.diary.append(name)
            self.now += times[(self.diary.count(name) - 1) % len(times)]

        return name, call

    def clock(self) -> float:
        return self.now


def test_medians_percentiles_and_throughput_are_those_of_the_times() -> None:
    shop = Workshop()
    calls = dict([shop.worker("steady", 0.002), shop.worker("uneven", 0.001, 0.003, 0.005, 0.101)])
    found = measure_in_turns(calls, rounds=4, warm_up=0, batch=8, clock=shop.clock)  # type: ignore[arg-type]
    assert found["steady"].samples_ms == pytest.approx([2, 2, 2, 2])
    assert sorted(found["uneven"].samples_ms) == pytest.approx([1, 3, 5, 101])
    assert found["uneven"].median_ms == pytest.approx(4)
    # Linear between the third and the fourth of four: 5 + 0.85 * 96.
    assert found["uneven"].p95_ms == pytest.approx(86.6)
    assert found["steady"].throughput == pytest.approx(4000)


def test_every_round_calls_each_once_in_changing_order() -> None:
    shop = Workshop()
    calls = dict([shop.worker(name, 0.001) for name in "abc"])
    measure_in_turns(calls, rounds=30, warm_up=0, clock=shop.clock)  # type: ignore[arg-type]
    rounds = [tuple(shop.diary[start : start + 3]) for start in range(0, 90, 3)]
    assert all(sorted(one) == ["a", "b", "c"] for one in rounds)
    assert len(set(rounds)) > 3
    assert {one[0] for one in rounds} == {"a", "b", "c"}


def test_warm_up_is_called_and_not_timed() -> None:
    shop = Workshop()
    calls = dict([shop.worker("slow start", 5, 5, 0.001, 0.001, 0.001)])
    found = measure_in_turns(calls, rounds=3, warm_up=2, clock=shop.clock)  # type: ignore[arg-type]
    assert len(shop.diary) == 5
    assert found["slow start"].samples_ms == pytest.approx([1, 1, 1])


def test_the_time_limit_ends_it_but_not_before_five_rounds() -> None:
    shop = Workshop()
    calls = dict([shop.worker("slow", 10)])
    found = measure_in_turns(calls, rounds=100, warm_up=0, seconds=1, clock=shop.clock)  # type: ignore[arg-type]
    assert len(found["slow"].samples_ms) == 5


def test_nothing_to_measure_is_an_error() -> None:
    with pytest.raises(ValueError, match="0 candidates"):
        measure_in_turns({})
    with pytest.raises(ValueError, match="rounds=0"):
        measure_in_turns({"one": lambda: None}, rounds=0)


def test_a_latency_of_one_sample_is_its_own_percentile() -> None:
    assert Latency((3.0,)).p95_ms == 3.0
