"""Made images, and images that went through the dVAE."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from typing_extensions import override

from tao_like.contract.batch import Batch
from tao_like.contract.predictions import Predictions
from tao_like.contract.sample import Outputs, Sample
from tao_like.errors import DatasetError
from tao_like.plots.cards import NEUTRAL, RIGHT, WRONG, draw_card
from tao_like.plots.grids import image_grid
from tao_like.runtime.generation.base import IMAGE, SEED, TEXT
from tao_like.runtime.generation.unclip import LABELS
from tao_like.runtime.predictions.image import save_image, to_pixels
from tao_like.tasks.text_to_image.data.data import Images, Target
from tao_like.tasks.text_to_image.judge import Attributes, Judge, words_of

SHOWN_LABELS = 3
"""Of a judged image."""


class LabelledImage(NamedTuple):
    """A made image that a CLIP has judged.

    Attributes:
        pixels: (H, W, 3) uint8.
        labels: with their probabilities, the likeliest first.
    """

    pixels: np.ndarray
    labels: dict[str, float]


class MadeImages(Predictions[np.ndarray | LabelledImage]):
    """What is made of captions: pixels (H, W, 3) uint8, with labels where images are judged by such.

    Args:
        attributes: what images are judged by.
        judge: made when it is first needed; None: there are no real images to judge by.
        labels: by which a way of generating judges, where it does.
    """

    kind = "picture"

    def __init__(
        self, attributes: Attributes, judge: Callable[[], Judge] | None, labels: Sequence[str] = ()
    ) -> None:
        self.attributes = attributes
        self._judge = judge
        self._labels = labels

    @override
    def from_outputs(self, outputs: Outputs) -> list[np.ndarray | LabelledImage]:
        made = to_pixels(outputs[IMAGE])
        if LABELS not in outputs:
            return list(made)
        judged = [label_probabilities(self._labels, row) for row in outputs[LABELS]]
        return [LabelledImage(*one) for one in zip(made, judged, strict=True)]

    @override
    def targets(self, batch: Batch[Images]) -> list[Target]:
        pixels = batch.targets.pixels.permute(0, 2, 3, 1).cpu().numpy()
        seeds = batch.inputs[SEED].tolist()
        given = batch.targets
        return [Target(*one) for one in zip(given.captions, seeds, pixels, given.groups, strict=True)]

    @override
    def csv_row(self, sample: Sample, prediction: np.ndarray | LabelledImage) -> dict[str, Any]:
        prompt, seed = asked(sample)
        pixels, labels = _parts(prediction)
        likeliest = {"label": next(iter(labels))} if labels else {}
        chances = {f"p({name})": round(labels[name], 4) for name in self._labels if labels}
        looks = self._looks(pixels)
        return {"path": sample.key, "prompt": prompt, "seed": seed, **looks, **likeliest, **chances}

    @override
    def draw(
        self,
        sample: Sample,
        prediction: np.ndarray | LabelledImage,
        heatmap: np.ndarray | None = None,
    ) -> Image.Image:
        del heatmap
        prompt, seed = asked(sample)
        pixels, labels = _parts(prediction)
        lines, color = [prompt or sample.key, f"seed {seed}"], NEUTRAL
        if labels:
            told = [f"{chance:.2f} {name}" for name, chance in list(labels.items())[:SHOWN_LABELS]]
            return draw_card(Image.fromarray(pixels), [lines[0], *told], color)
        if prompt and (found := self._looks(pixels)):
            wanted = words_of(prompt, self.attributes)
            wrong = [found[name] for name, word in wanted.items() if found[name] != word]
            color = WRONG if wrong else RIGHT
            lines[1] += f": looks {', '.join(wrong)}" if wrong else ""
        return draw_card(Image.fromarray(pixels), lines, color)

    def _looks(self, prediction: np.ndarray) -> dict[str, str]:
        """What an image looks like; empty where there is nothing to judge by."""
        if self._judge is None or not self.attributes:
            return {}
        try:
            return self._judge().one(prediction)
        except DatasetError:
            # Images can be made without any data; who scores them is told of it by the metrics.
            self._judge = None
            return {}

    @override
    def draw_batch(self, batch: Batch[Images]) -> list[Image.Image]:
        pixels = batch.targets.pixels.permute(0, 2, 3, 1).cpu().numpy()
        return [
            draw_card(Image.fromarray(one), [caption], NEUTRAL)
            for one, caption in zip(pixels, batch.targets.captions, strict=True)
        ]

    def save(self, path: Path, sample: Sample, prediction: np.ndarray | LabelledImage, model: str) -> None:
        """See `Generates.save`."""
        prompt, seed = asked(sample)
        made_of = {"prompt": prompt, "seed": str(seed), "model": model}
        save_image(Image.fromarray(_parts(prediction)[0]), path, made_of)


class Reconstructions(Predictions[tuple[np.ndarray, np.ndarray]]):
    """What the dVAE makes of images: pixels (H, W, 3) uint8 and codes (h, w)."""

    kind = "reconstruction"

    @override
    def from_outputs(self, outputs: Outputs) -> list[tuple[np.ndarray, np.ndarray]]:
        return list(zip(to_pixels(outputs[IMAGE]), outputs["codes"], strict=True))

    @override
    def targets(self, batch: Batch[Images]) -> list[Target]:
        pixels = batch.targets.pixels.permute(0, 2, 3, 1).cpu().numpy()
        return [Target(caption, 0, one) for caption, one in zip(batch.targets.captions, pixels, strict=True)]

    @override
    def csv_row(self, sample: Sample, prediction: tuple[np.ndarray, np.ndarray]) -> dict[str, Any]:
        return {"path": sample.key, "codes": prediction[1].ravel().tolist()}

    @override
    def draw(
        self, sample: Sample, prediction: tuple[np.ndarray, np.ndarray], heatmap: np.ndarray | None = None
    ) -> Image.Image:
        del heatmap
        made = Image.fromarray(prediction[0])
        real = sample.target.pixels if isinstance(sample.target, Target) else None
        both = [made] if real is None else [Image.fromarray(real), made]
        return draw_card(image_grid(both, columns=2, gap=1), [asked(sample)[0]], NEUTRAL)

    @override
    def draw_batch(self, batch: Batch[Images]) -> list[Image.Image]:
        return []


def label_probabilities(labels: Sequence[str], probabilities: np.ndarray) -> dict[str, float]:
    """Labels with their probabilities (K,), the likeliest first."""
    order = np.argsort(-probabilities, kind="stable")
    return {labels[number]: float(probabilities[number]) for number in order}


def _parts(prediction: np.ndarray | LabelledImage) -> tuple[np.ndarray, dict[str, float]]:
    """Pixels, and labels where there are some."""
    return prediction if isinstance(prediction, LabelledImage) else (prediction, {})


def asked(sample: Sample) -> tuple[str, int]:
    """Prompt and seed of a sample."""
    if sample.data is not None:
        return str(sample.data[TEXT]), int(sample.data[SEED])
    target = sample.target
    assert isinstance(target, Target)
    return target.caption, target.seed
