"""Sequences with their predictions, and what the network learnt of the graph, as figures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from tao_like.data.skeletons.layouts import Layout
from tao_like.plots.cards import draw_card
from tao_like.plots.charts import draw_bars
from tao_like.plots.palette import NEUTRAL, RIGHT, WRONG
from tao_like.runtime.predictions.classes import ClassPrediction


def prediction_card(
    image: Image.Image, decision: ClassPrediction, target: str | None, name: str
) -> Image.Image:
    """An image of the sequence with prediction and target; its name where there is no target."""
    nearest, score = decision.top(1)[0]
    told = f"{nearest} {score:.0%}" if decision.label else f"none sure ({nearest} {score:.0%})"
    if target is None:
        return draw_card(image, [told, name], NEUTRAL)
    return draw_card(image, [told, f"target: {target}"], RIGHT if target == decision.label else WRONG)


def bar_chart(values: Sequence[float], names: Sequence[str], title: str) -> Image.Image:
    """Bars from 0 to 1 with their names and values.

    Args:
        values: each 0 to 1.
        names: of the bars.
        title: above them.
    """
    return draw_bars(names, values, title, most=1, labels=[f"{value:.2f}" for value in values])


def joint_importance(matrices: Sequence[npt.NDArray[np.floating]], layout: Layout, title: str) -> Image.Image:
    """How much the others take from each joint: the mean over blocks, as fractions of the largest.

    Args:
        matrices: (K, V, V) of each block: what joint w takes from joint v stands at [k, v, w].
        layout: names the joints.
        title: above the bars.
    """
    given = np.mean([np.abs(matrix).sum(axis=(0, 2)) for matrix in matrices], axis=0)
    fractions = given / max(float(given.max()), 1e-9)
    return bar_chart(fractions.tolist(), layout.joints, title)
