"""Charts show what they were given, and touch nothing of the user's matplotlib."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tao_like.plots.charts import Line, Panel, draw_bars, draw_panels, round_times
from tao_like.plots.classes import (
    THRESHOLDS,
    classifier_curves,
    draw_curves,
    draw_threshold_curves,
    threshold_curve,
)
from tao_like.plots.confusion import draw_confusion_matrix
from tao_like.plots.datasets import draw_box_sizes, draw_label_histogram
from tao_like.plots.palette import ACCENT, PALE, class_color, rgb
from tao_like.plots.scatter import Point, draw_named_points
from tao_like.stages.prune.report import Width, draw_widths
from tao_like.tasks.common.classes.class_scores import ClassScores


def pixels(image: Image.Image, color: str) -> np.ndarray:
    """Row and column of each pixel of a color, (N, 2)."""
    return np.argwhere((np.asarray(image) == rgb(color)).all(axis=2))


def test_bars_are_as_long_as_their_values() -> None:
    image = draw_bars(["whole", "half", "none"], [1.0, 0.5, 0.0], "three", most=1)
    kept, had = pixels(image, ACCENT), pixels(image, PALE)
    assert image.size == (900, 140)
    rows = np.unique(kept[:, 0])
    upper, lower = rows[rows < rows.mean()], rows[rows > rows.mean()]
    lengths = [np.isin(kept[:, 0], part).sum() / len(part) for part in (upper, lower)]
    assert lengths[1] / lengths[0] == pytest.approx(0.5, abs=0.02)
    # What was lost of the second and of the third: half a bar and a whole one.
    assert len(had) / len(kept) == pytest.approx(1.0, abs=0.05)


def test_widths_after_pruning_name_what_changed_and_say_what_is_left_out() -> None:
    changed = [Width(f"layer{number}", "channels", 8, 4) for number in range(300)]
    assert draw_widths(changed).height == 80 + 20 * 200
    assert draw_widths([*changed[:3], Width("same", "channels", 8, 8)]).height == 80 + 20 * 3
    assert draw_widths([Width("same", "heads", 8, 8)]).height == 100
    assert draw_widths([]).width == 900


def test_labels_and_box_sizes_are_drawn_for_every_kind_of_split() -> None:
    counts = {"train": {"a": 30, "b": 10}, "val": {"a": 3, "b": 0}}
    first = pixels(draw_label_histogram(counts), ACCENT)
    rows, lengths = np.unique(first[:, 0], return_counts=True)
    split = rows.mean()
    assert lengths[rows > split].max() / lengths[rows < split].max() == pytest.approx(1 / 3, abs=0.02)
    one = draw_box_sizes({"train": [[0, 0, 5, 5]]}, {"train": [[10, 10]]})
    none = draw_box_sizes({"train": [], "val": [[3, 3, 3, 9]]}, {"train": [], "val": [[0, 0]]})
    assert len(pixels(one, ACCENT)) > 100
    assert not len(pixels(none, ACCENT))


def test_curves_by_threshold_are_those_of_the_definition() -> None:
    draw = np.random.default_rng(3)
    scores = np.round(draw.random(40), 2)
    right = draw.random(40) < scores
    predictions = ClassScores.ordered(scores, right, 30)
    curve = threshold_curve(scores, right, 30, 0.4)
    for number in range(0, len(THRESHOLDS), 10):
        precision, recall, f1 = predictions.at(float(THRESHOLDS[number]))
        assert curve.recall[number] == pytest.approx(recall)
        assert curve.f1[number] == pytest.approx(f1)
        if (scores >= THRESHOLDS[number]).any():
            assert curve.precision[number] == pytest.approx(precision)
        else:
            assert np.isnan(curve.precision[number])


def test_curves_of_a_classifier_count_the_likeliest_class_alone() -> None:
    probabilities = np.array([[0.7, 0.3], [0.4, 0.6], [0.2, 0.8]])
    first = classifier_curves(probabilities, np.array([0, 0, 1]), ["a", "b"], [0.5, 0.5])["b"]
    # At 0.5 the second and third sample are told to be b, and one is; at 0.7 only the third is told so.
    at = [int(np.abs(THRESHOLDS - value).argmin()) for value in (0.5, 0.7, 0.9)]
    assert first.precision[at] == pytest.approx([0.5, 1.0, np.nan], nan_ok=True)
    assert first.recall[at] == pytest.approx([1, 1, 0])
    several = np.array([[1, 1], [1, 0], [0, 1]])
    second = classifier_curves(probabilities, several, ["a", "b"], [0.5, 0.5])["b"]
    # At 0.25 every sample is told to have b, and two have it.
    assert second.precision[50] == pytest.approx(2 / 3)
    assert second.f1[50] == pytest.approx(0.8)


def test_a_class_without_predictions_or_objects_is_drawn() -> None:
    empty = np.array([])
    curve = threshold_curve(empty, empty, 0, 0.5)
    assert np.isnan(curve.precision).all()
    assert (curve.f1 == 0).all()
    draw_threshold_curves({"none": curve})
    image = draw_curves({"none": ((empty, empty), (0.0, 0.0, 0.0))})
    assert len(pixels(image, class_color(0)))


@pytest.mark.parametrize("count", [1, 3, 30, 90])
def test_any_number_of_classes_has_its_curves_and_matrix(count: int) -> None:
    curve = threshold_curve(np.array([0.9, 0.3]), np.array([True, False]), 2, 0.5)
    assert draw_threshold_curves(dict.fromkeys(map(str, range(count)), curve)).height <= 520
    image = draw_confusion_matrix(np.eye(count, dtype=np.int64), [f"class {n}" for n in range(count)])
    assert image.width == image.height <= 1450
    assert len(pixels(image, ACCENT)) > 100


def test_a_confusion_is_seen_in_its_row_and_column() -> None:
    matrix = np.array([[0, 4, 0], [0, 4, 0], [0, 0, 4]])
    image = np.asarray(draw_confusion_matrix(matrix, ["a", "b", "c"])).astype(int)
    wrong = np.argwhere(image[..., 0] - image[..., 2] > 150)
    diagonal = pixels(Image.fromarray(image.astype(np.uint8)), ACCENT)
    # The first row, the second column: above the diagonal's second cell, which is in the same column.
    assert wrong[:, 0].mean() < diagonal[:, 0].min()
    second = diagonal[diagonal[:, 0] < diagonal[:, 0].mean()]
    assert wrong[:, 1].mean() == pytest.approx(second[:, 1].mean(), abs=3)


def test_names_of_points_cover_neither_points_nor_each_other() -> None:
    points = [Point(f"model number {n}", 10.0 + n / 10, 0.75, class_color(n), f"group {n}") for n in range(4)]
    image = draw_named_points(points, title="mAP", x_label="ms")
    sizes = [len(pixels(image, class_color(number))) for number in range(4)]
    assert min(sizes) > 0.9 * max(sizes) > 50


def test_a_gap_stays_a_gap_and_a_point_between_gaps_is_seen() -> None:
    nan = float("nan")
    image = draw_panels([Panel("", [Line("", [1, 2, 3, 4, 5], [1, nan, 1, nan, 1])])])
    assert len(pixels(image, class_color(0))) > 3 * 12


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.9, 12, [1, 2, 5, 10]),
        (3, 4, [3, 4]),
        (6, 26, [7, 10, 15, 20]),
        (0.5, 20000, [1, 10, 100, 1000, 10000]),
    ],
)
def test_ticks_of_a_logarithmic_axis(low: float, high: float, expected: Sequence[float]) -> None:
    assert round_times(low, high) == pytest.approx(expected)


def test_drawing_needs_no_display_and_leaves_the_user_s_matplotlib_as_it_was() -> None:
    script = """
import sys, logging
from tao_like.plots.charts import Line, Panel, draw_panels
assert "matplotlib" not in sys.modules
import matplotlib
matplotlib.rcParams["lines.linewidth"] = 17
matplotlib.rcParams["axes.facecolor"] = "black"
def settings():
    # To ask for the backend would make matplotlib choose one, and import pyplot for it.
    return {name: matplotlib.rcParams[name] for name in matplotlib.rcParams if name != "backend"}
before = settings()
image = draw_panels([Panel("", [Line("", [0, 1], [0, 1])])])
assert image.getpixel((200, 250)) == (255, 255, 255), "the user's style is used"
assert settings() == before
assert "matplotlib.pyplot" not in sys.modules
assert logging.getLogger("matplotlib").level == logging.NOTSET
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "")


def test_a_style_file_in_the_working_folder_and_a_home_that_cannot_be_written_are_no_matter(
    tmp_path: Path,
) -> None:
    style = "font.family: No Such Font\naxes.facecolor: black\nnonsense: 3\nbackend: TkAgg\n"
    (tmp_path / "matplotlibrc").write_text(style)
    script = """
from tao_like.plots.charts import Line, Panel, draw_panels
from tao_like.plots.text import drawable, load_font
drawable("é", load_font(10))
image = draw_panels([Panel("é 猫", [Line("", [0, 1], [0, 1])])])
assert image.getpixel((200, 250)) == (255, 255, 255)
"""
    environment = {name: value for name, value in os.environ.items() if name != "MPLCONFIGDIR"}
    environment |= {"HOME": "/proc/none", "PYTHONPATH": os.pathsep.join(sys.path)}
    for variable in ("XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
        environment.pop(variable, None)
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "")
