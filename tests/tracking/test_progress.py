from __future__ import annotations

import io

import pytest
from rich.console import Console

from tao_like.tracking.progress import Progress, ProgressDisplay


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("tao_like.tracking.progress.time", clock)
    return clock


def plain() -> tuple[ProgressDisplay, io.StringIO]:
    output = io.StringIO()
    return ProgressDisplay(Console(file=output, width=100)), output


def terminal() -> tuple[ProgressDisplay, io.StringIO]:
    output = io.StringIO()
    return ProgressDisplay(Console(file=output, width=120, force_terminal=True)), output


def test_plain_lines_now_and_then_with_the_time_to_go(clock: Clock) -> None:
    display, output = plain()
    with Progress(display, "epoch 3", 100) as progress:
        for step in range(100):
            clock.now += 0.25
            progress.advance(loss=1 / (step + 1))
    assert output.getvalue().splitlines() == [
        "epoch 3: 40 of 100 (40%), 0:00:15 to go, loss=0.025",
        "epoch 3: 80 of 100 (80%), 0:00:05 to go, loss=0.0125",
        "epoch 3: 100 of 100 in 0:00:25, loss=0.01",
    ]


@pytest.mark.parametrize("make", [plain, terminal])
def test_quick_work_shows_nothing(clock: Clock, make: object) -> None:
    display, output = make()  # type: ignore[operator]
    with Progress(display, "export", 10) as progress:
        for _ in range(10):
            clock.now += 0.19
            progress.advance()
    assert output.getvalue() == ""


def test_plain_work_between_two_and_ten_seconds_is_quiet_too(clock: Clock) -> None:
    display, output = plain()
    with Progress(display, "export", 2) as progress:
        clock.now += 4
        progress.advance()
        clock.now += 4
        progress.advance()
    assert output.getvalue() == ""


def test_a_bar_on_a_terminal(clock: Clock) -> None:
    display, output = terminal()
    with Progress(display, "epoch [1]", 4) as progress:
        clock.now += 3
        progress.advance(loss=0.123456)
        display.console.print("a message above the bar")
        clock.now += 3
        progress.advance()
    text = output.getvalue()
    assert "epoch [1]" in text
    assert "1/4" in text
    assert "loss=0.1235" in text
    assert "a message above the bar" in text
    assert text.rstrip().endswith("epoch [1]: 2 of 4 in 0:00:06, loss=0.1235")


def test_bars_inside_bars_share_the_display(clock: Clock) -> None:
    display, output = terminal()
    with Progress(display, "epochs", 2) as outer:
        for _ in range(2):
            with Progress(display, "steps", 2) as inner:
                for _ in range(2):
                    clock.now += 5
                    inner.advance()
            outer.advance()
    with Progress(display, "evaluate", 1) as after:
        clock.now += 5
        after.advance()
    text = output.getvalue()
    assert all(word in text for word in ("epochs", "steps", "evaluate: 1 of 1 in 0:00:05"))


@pytest.mark.parametrize("make", [plain, terminal])
def test_an_error_ends_the_display_without_a_word(clock: Clock, make: object) -> None:
    display, output = make()  # type: ignore[operator]

    def work() -> None:
        with Progress(display, "epoch", 4) as progress:
            clock.now += 11
            progress.advance()
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        work()
    assert "of 4 in" not in output.getvalue()
    display.console.print("still usable")
    assert output.getvalue().endswith("still usable\n")
