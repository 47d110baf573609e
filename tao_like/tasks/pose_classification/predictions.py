"""Predictions of pose classification as images, moving or not, and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from typing_extensions import override

from tao_like.contract.batch import Batch
from tao_like.contract.capabilities import Animates, WritesFiles
from tao_like.contract.sample import Sample
from tao_like.plots.cards import NEUTRAL, draw_card
from tao_like.tasks.common.classes.class_predictions import ClassPredictions
from tao_like.tasks.pose_classification.data.data import PoseData
from tao_like.tasks.pose_classification.draw import prediction_card


class PosePredictions(ClassPredictions, Animates, WritesFiles):
    """One label a sequence; see ``ClassPredictions``."""

    data: PoseData

    @override
    def draw(self, sample: Sample, prediction: np.ndarray, heatmap: np.ndarray | None = None) -> Image.Image:
        del heatmap
        return self._card(self.data.view(sample.data).image(), sample, prediction)

    @override
    def draw_batch(self, batch: Batch[Any]) -> list[Image.Image]:
        pairs = zip(batch.input.cpu().numpy(), self.targets(batch), strict=True)
        return [
            draw_card(self.data.view(joints).image(), self.target_names(target), NEUTRAL)
            for joints, target in pairs
        ]

    @override
    def animate(self, sample: Sample, prediction: np.ndarray) -> list[Image.Image]:
        frames = self.data.view(sample.data).animation()
        return [self._card(image, sample, prediction) for image in frames]

    @override
    def record(self, sample: Sample, prediction: np.ndarray) -> dict[str, Any]:
        decision = self.decided(prediction)
        return {
            "path": sample.key,
            "label": decision.label,
            "score": round(decision.score, 6),
            "probabilities": {name: round(value, 6) for name, value in decision.probabilities.items()},
        }

    @override
    def files(self, records: Sequence[dict[str, Any]]) -> dict[str, str]:
        return {"predictions.json": json.dumps(list(records), indent=1, ensure_ascii=False) + "\n"}

    def _card(self, image: Image.Image, sample: Sample, prediction: np.ndarray) -> Image.Image:
        target = None if sample.target is None else self.target_names(sample.target)[0]
        return prediction_card(image, self.decided(prediction), target, Path(sample.key).name)
