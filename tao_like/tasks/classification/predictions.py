"""Predictions of classification as images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from typing_extensions import override

from tao_like.contract.batch import Batch
from tao_like.contract.capabilities import Explains
from tao_like.contract.sample import Preprocessed, Sample
from tao_like.plots.cards import NEUTRAL, draw_card
from tao_like.runtime.inputs.image import preprocess
from tao_like.tasks.classification.data.data import ClassificationData
from tao_like.tasks.classification.draw import draw_prediction
from tao_like.tasks.classification.explain import class_activation_maps
from tao_like.tasks.classification.model import ClassificationNetwork
from tao_like.tasks.common.classes.class_predictions import ClassPredictions
from tao_like.tasks.common.image_input import IMAGE


class ClassificationPredictions(ClassPredictions):
    """One label an image, or several; see ``ClassPredictions``."""

    data: ClassificationData

    @override
    def draw(self, sample: Sample, prediction: np.ndarray, heatmap: np.ndarray | None = None) -> Image.Image:
        image = sample.data
        if heatmap is not None:
            # The map is of what the network saw, which may be the middle of the image alone.
            image = Image.fromarray(preprocess(sample.data, self.data.preprocessing))
        target = None if sample.target is None else self.target_names(sample.target)
        return draw_prediction(image, self.decided(prediction), target, Path(sample.key).name, heatmap)

    @override
    def draw_batch(self, batch: Batch[Any]) -> list[Image.Image]:
        labels = [", ".join(self.target_names(target)) for target in self.targets(batch)]
        images = batch.input.permute(0, 2, 3, 1).cpu().numpy()
        return [
            draw_card(Image.fromarray(pixels), [label], NEUTRAL)
            for pixels, label in zip(images, labels, strict=True)
        ]


class ClassActivation(Explains[ClassificationNetwork]):
    """Grad-CAM of the likeliest class."""

    @override
    def explain(self, model: ClassificationNetwork, preprocessed: Preprocessed) -> list[np.ndarray] | None:
        pixels = torch.from_numpy(preprocessed[IMAGE]).permute(0, 3, 1, 2)
        return class_activation_maps(model, pixels.to(model.normalise.mean.device))
