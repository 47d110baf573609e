"""Images of classification: a sample with target and prediction."""

from __future__ import annotations

import numpy as np
from PIL import Image

from tao_like.plots.cards import draw_card
from tao_like.plots.palette import NEUTRAL, RIGHT, WRONG
from tao_like.runtime.predictions.classes import ClassPrediction


def draw_prediction(
    image: Image.Image,
    decision: ClassPrediction,
    target: list[str] | None,
    name: str,
    heatmap: np.ndarray | None,
) -> Image.Image:
    """The image with the prediction and the target; its file's name where that is not known."""
    if decision.labels:
        told = ", ".join(f"{label} {decision.probabilities[label]:.0%}" for label in decision.labels)
    else:
        nearest, score = decision.top(1)[0]
        told = f"none sure ({nearest} {score:.0%})"
    if target is None:
        return draw_card(image, [told, name], NEUTRAL, heatmap)
    color = RIGHT if set(target) == set(decision.labels) else WRONG
    return draw_card(image, [told, f"target: {', '.join(target) or 'none'}"], color, heatmap)
