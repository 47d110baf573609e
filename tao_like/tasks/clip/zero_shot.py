"""Classes by their words, and what is known of a sample."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from tao_like.contract.sample import Outputs, Preprocessed
from tao_like.data.captions.record import class_captions
from tao_like.runtime.inputs.text import Tokenizer
from tao_like.runtime.predictions.embedding import averaged
from tao_like.tasks.clip.data.dataset import TEXT

TEXT_BATCH = 64
IMAGE_EMBEDDING, TEXT_EMBEDDING, SCALING = "image_embedding", "text_embedding", "text_scaling"
"""Names of the graphs' outputs."""
Run = Callable[[Preprocessed], Outputs]
Array = npt.NDArray[np.float32]


@dataclass
class PairPrediction:
    """What the towers make of a sample.

    Attributes:
        image: (D,) of length 1; None where there was no image.
        text: (D,) of length 1; None where there was no text.
        cosines: (classes,) of the image with the classes' words; None where there are no classes.
    """

    image: Array | None
    text: Array | None
    cosines: Array | None = None


@dataclass
class ClassTexts:
    """The classes that images are told apart by.

    Attributes:
        names: of the classes.
        templates: sentences for each.
        embeddings: (classes, D) of length 1, the mean over the templates; None until a network is there.
        scale: of cosines; bias: what is added to them.
        probed: embeddings and labels of training images, for a linear probe.
    """

    names: list[str]
    templates: list[str]
    embeddings: Array | None = None
    scale: float = 1.0
    bias: float = 0.0
    probed: tuple[Array, npt.NDArray[np.int64]] | None = field(default=None, repr=False)

    def embed(self, run: Run, tokenizer: Tokenizer) -> None:
        """Runs the text tower on the prompts of all classes."""
        if not self.names:
            self.embeddings = None
            return
        prompts = [list(class_captions(name, self.templates)) for name in self.names]
        found, scaling = embed_texts(run, tokenizer, [text for texts in prompts for text in texts])
        self.embeddings = averaged(found, [len(texts) for texts in prompts])
        self.scale, self.bias = float(scaling[0, 0]), float(scaling[0, 1])

    def cosines(self, images: Array) -> Array | None:
        """(N, classes), of image embeddings (N, D)."""
        return None if self.embeddings is None else images @ self.embeddings.T


def embed_texts(run: Run, tokenizer: Tokenizer, texts: Sequence[str]) -> tuple[Array, Array]:
    """Embeddings (N, D) and scalings (N, 2) of texts."""
    outputs = [
        run({TEXT: np.stack([tokenizer.ids(text) for text in texts[at : at + TEXT_BATCH]])})
        for at in range(0, len(texts), TEXT_BATCH)
    ]
    first, second = (np.concatenate([one[name] for one in outputs]) for name in (TEXT_EMBEDDING, SCALING))
    return first, second


def predictions_of(outputs: Outputs, classes: ClassTexts) -> list[PairPrediction]:
    """One prediction a sample; either embedding may be missing."""
    images, texts = outputs.get(IMAGE_EMBEDDING), outputs.get(TEXT_EMBEDDING)
    cosines = None if images is None else classes.cosines(images)
    count = len(images if images is not None else texts)  # type: ignore[arg-type]

    def row(values: Any, number: int) -> Any:
        return None if values is None else values[number]

    return [PairPrediction(row(images, n), row(texts, n), row(cosines, n)) for n in range(count)]
