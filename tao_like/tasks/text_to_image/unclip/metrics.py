"""How near embeddings are to those that they should be near to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image
from typing_extensions import override

from tao_like.contract.batch import Batch
from tao_like.contract.metrics import Metrics, Report
from tao_like.contract.predictions import Predictions
from tao_like.contract.sample import Outputs, Sample
from tao_like.plots.cards import NEUTRAL, draw_card
from tao_like.tasks.text_to_image.data.data import Images

IMAGE, CAPTION, DRAWN = "image_embedding", "text_embedding", "drawn_embedding"


class Embedded(Predictions[dict[str, np.ndarray]]):
    """Embeddings of images, of their captions, and perhaps those that a prior draws: (D,) by name."""

    kind = "embeddings"

    @override
    def from_outputs(self, outputs: Outputs) -> list[dict[str, np.ndarray]]:
        count = len(outputs[IMAGE])
        return [{name: values[number] for name, values in outputs.items()} for number in range(count)]

    @override
    def targets(self, batch: Batch[Images]) -> list[str]:
        return list(batch.targets.captions)

    @override
    def csv_row(self, sample: Sample, prediction: dict[str, np.ndarray]) -> dict[str, Any]:
        return {"path": sample.key, "cosine": float(prediction[IMAGE] @ prediction[CAPTION])}

    @override
    def draw(
        self, sample: Sample, prediction: dict[str, np.ndarray], heatmap: np.ndarray | None = None
    ) -> Image.Image:
        del heatmap
        pixels = getattr(sample.target, "pixels", None)
        image = Image.new("RGB", (64, 64)) if pixels is None else Image.fromarray(pixels)
        return draw_card(image, [f"{prediction[IMAGE] @ prediction[CAPTION]:.3f}"], NEUTRAL)


class RetrievalMetrics(Metrics):
    """``recall_at_1``: how often an image's own caption is the nearest of all that differ."""

    def __init__(self) -> None:
        super().__init__()
        self.images: list[np.ndarray] = []
        self.texts: list[np.ndarray] = []
        self.captions: list[str] = []

    @override
    def reported(self) -> Mapping[str, bool]:
        return {"recall_at_1": True, "cosine": True}

    @override
    def add(self, prediction: dict[str, np.ndarray], target: str) -> float:
        self.images.append(prediction[IMAGE])
        self.texts.append(prediction[CAPTION])
        self.captions.append(target)
        return -float(prediction[IMAGE] @ prediction[CAPTION])

    @override
    def merge(self, other: RetrievalMetrics) -> None:
        self.images += other.images
        self.texts += other.texts
        self.captions += other.captions

    @override
    def compute(self) -> Report:
        if not self.captions:
            return Report({"recall_at_1": 0.0, "cosine": 0.0})
        images, texts = np.array(self.images), np.array(self.texts)
        candidates = {caption: number for number, caption in enumerate(self.captions)}
        cosines = images @ texts[list(candidates.values())].T
        own = np.array([list(candidates).index(caption) for caption in self.captions])
        right = np.take_along_axis(cosines, own[:, None], axis=1)
        # Of equally near ones the right one counts as the last: a collapsed network finds nothing.
        found = (cosines >= right).sum(axis=1) == 1
        values = {"recall_at_1": float(found.mean()), "cosine": float((images * texts).sum(axis=1).mean())}
        return Report(values)


class PriorMetrics(Metrics):
    """``cosine``: of drawn embeddings to the real images' own; ``text_cosine``: of captions to them."""

    def __init__(self) -> None:
        super().__init__()
        self.sums = np.zeros(2)

    @override
    def reported(self) -> Mapping[str, bool]:
        return {"cosine": True, "text_cosine": True}

    @override
    def add(self, prediction: dict[str, np.ndarray], target: str) -> float:
        del target
        cosines = np.array([prediction[name] @ prediction[IMAGE] for name in (DRAWN, CAPTION)])
        self.sums += cosines
        return -float(cosines[0])

    @override
    def merge(self, other: PriorMetrics) -> None:
        self.sums += other.sums

    @override
    def compute(self) -> Report:
        cosine, text = self.sums / max(self.count, 1)
        return Report({"cosine": float(cosine), "text_cosine": float(text)})
