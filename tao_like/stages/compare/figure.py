"""A metric against latency, as an image."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image

from tao_like.plots.palette import ACCENT, NEUTRAL, WRONG, class_color
from tao_like.plots.scatter import Point, draw_named_points
from tao_like.stages.compare.table import Row

COLORS = {"bundle": ACCENT, "ONNX fp32": NEUTRAL, "ONNX int8": WRONG}


def draw_comparison(rows: Sequence[Row], primary_metric: str) -> Image.Image:
    """Latency at batch 1 to the right (logarithmic), the metric upwards, a point a model.

    Args:
        rows: of one comparison, all with a latency.
        primary_metric: the metric.
    """
    others = [form for form in dict.fromkeys(row["form"] for row in rows) if form not in COLORS]
    colors = COLORS | {form: class_color(2 + number) for number, form in enumerate(others)}
    points = [
        Point(row["name"], row["median_ms"], row["metrics"][primary_metric], colors[row["form"]], row["form"])
        for row in rows
    ]
    return draw_named_points(
        points, title=primary_metric, x_label="latency at batch 1, ms (further left is faster)"
    )
