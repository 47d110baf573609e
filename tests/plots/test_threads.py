"""Charts from several threads, as a service draws them: matplotlib's settings belong to the whole process."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import matplotlib
from PIL import Image, ImageChops

from tao_like.plots.canvas import canvas, to_image


def chart(title: str) -> Image.Image:
    with canvas(300, 200, [title]) as figure:
        figure.add_subplot(title=title).plot([1, 3, 2])
        return to_image(figure)


def test_a_thread_waits_while_another_draws() -> None:
    entered = threading.Event()

    def other() -> None:
        with canvas(100, 100):
            entered.set()

    with matplotlib.rc_context({"font.size": 31.0}):
        thread = threading.Thread(target=other)
        with canvas(100, 100):
            thread.start()
            assert not entered.wait(0.3)
            assert matplotlib.rcParams["font.size"] == 9.5
        thread.join(10)
        assert entered.is_set()
        # The user's own settings are back, whoever came last.
        assert matplotlib.rcParams["font.size"] == 31.0


def test_charts_of_many_threads_look_like_those_of_one() -> None:
    names = [f"chart {number}" for number in range(6)]
    alone = [chart(name) for name in names]
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(chart, names))
    for one, other in zip(alone, together, strict=True):
        assert ImageChops.difference(one, other).getbbox() is None
