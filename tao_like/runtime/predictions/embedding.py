"""From encoders' outputs to a vector a sample, and to the class whose words are nearest."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from tao_like.errors import BundleError
from tao_like.runtime.metadata import ModelMetadata
from tao_like.runtime.predictions.base import Outputs, Prediction, PredictionReader

EMBEDDING = "embedding"
"""Meaning of an output (N, D): a vector that stands for each sample."""
TEXT_EMBEDDING = "text_embedding"
"""Meaning of an output (N, D): a vector that stands for each text, in the space of the others."""
SCALING = "text_scaling"
"""Meaning of an output (N, 2): what cosines with each text are multiplied with, and what is added."""
OUTPUTS_OF = {EMBEDDING: "image", TEXT_EMBEDDING: "text", SCALING: "text"}
"""Which kind of input an output stands for, where a model has several."""
CLASS_TEXTS = "class_texts"
"""Key of ``extra``: embeddings of the model's classes, made when it was exported."""
PAIR_LOSS = "pair_loss"
"""Key of ``extra``: ``clip``, one class applies (softmax), or ``siglip``, each by itself (sigmoid)."""
Array = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class EmbeddingPrediction(Prediction):
    """What encoders make of one sample.

    Attributes:
        embedding: (D,) float32; empty where the input could not be read. Of a sample with an image and a
            text the image's; of a text alone the text's.
        text_embedding: (D,) of the text of a sample that has both; None elsewhere.
        similarity: cosine of the two; None elsewhere.
        label: the class whose words are nearest; None where there are no classes.
        score: its probability.
        probabilities: of every class, in their order.
    """

    embedding: Array = field(default_factory=lambda: np.zeros(0, np.float32))
    text_embedding: Array | None = None
    similarity: float | None = None
    label: str | None = None
    score: float = 0.0
    probabilities: Mapping[str, float] = field(default_factory=dict)

    def top(self, k: int) -> list[tuple[str, float]]:
        """Return the ``k`` likeliest classes with their probabilities, likeliest first."""
        return sorted(self.probabilities.items(), key=lambda item: -item[1])[:k]


class EmbeddingReader(PredictionReader):
    """Reads encoders' vectors."""

    kind = EmbeddingPrediction

    def check(self, metadata: ModelMetadata) -> None:
        """Refuse metadata without exactly one output of vectors, or with classes that are not the model's."""
        _output(metadata, EMBEDDING)
        texts = metadata.extra.get(CLASS_TEXTS)
        if texts is not None and len(stored_class_texts(texts)[0]) != len(metadata.classes):
            raise BundleError(f"the model's metadata is wrong: {CLASS_TEXTS} are not those of its classes.")

    def read(
        self,
        outputs: Outputs,
        metadata: ModelMetadata,
        sources: Sequence[str | None],
        sizes: Sequence[tuple[int, int]],
    ) -> list[EmbeddingPrediction]:
        """Return the vector of each sample, and its class where the metadata has classes' vectors."""
        del sizes
        images = _vectors(outputs, _output(metadata, EMBEDDING))
        named = [name for name, meaning in metadata.outputs.items() if meaning == TEXT_EMBEDDING]
        texts = _vectors(outputs, named[0]) if named else None
        texts_of_classes = metadata.extra.get(CLASS_TEXTS)
        probabilities = None
        if images is not None and texts_of_classes is not None and metadata.classes:
            vectors, scale, bias = stored_class_texts(texts_of_classes)
            one_applies = metadata.extra.get(PAIR_LOSS) != "siglip"
            probabilities = class_probabilities(images @ vectors.T, scale, bias, one_applies=one_applies)
        return [
            _prediction(number, source, images, texts, probabilities, metadata.classes)
            for number, source in enumerate(sources)
        ]


def outputs_of(metadata: ModelMetadata, given: Collection[str]) -> list[str]:
    """The names of the outputs that stand for the inputs which are given.

    Args:
        metadata: of the model.
        given: names of inputs.
    """
    kinds = {one.kind for name, one in metadata.inputs.items() if name in given}
    if len(metadata.inputs) == 1 or len(given) == len(metadata.inputs):
        return list(metadata.outputs)
    return [name for name, meaning in metadata.outputs.items() if OUTPUTS_OF.get(meaning) in kinds]


def class_probabilities(
    cosines: npt.NDArray[np.floating], scale: float, bias: float, *, one_applies: bool
) -> npt.NDArray[np.float64]:
    """Probabilities (N, classes) from cosines: softmax where one class applies, else each by itself."""
    logits = np.asarray(cosines, np.float64) * scale + bias
    if not one_applies:
        found: npt.NDArray[np.float64] = 1 / (1 + np.exp(-logits))
        return found
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: npt.NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return shares


def averaged(vectors: Array, counts: Sequence[int]) -> Array:
    """(classes, D) of length 1: the mean of each class's vectors, which follow one another.

    Args:
        vectors: (N, D) of length 1.
        counts: how many each class has.
    """
    ends = np.cumsum(counts)
    means = np.stack(
        [vectors[end - count : end].mean(axis=0) for end, count in zip(ends, counts, strict=True)]
    )
    lengths = np.linalg.norm(means, axis=1, keepdims=True)
    result: Array = (means / np.maximum(lengths, 1e-12)).astype(np.float32)
    return result


def packed_class_texts(vectors: Array, scale: float, bias: float) -> dict[str, Any]:
    """Vectors of classes as JSON."""
    text = base64.b64encode(np.ascontiguousarray(vectors, "<f4").tobytes()).decode("ascii")
    return {"shape": list(vectors.shape), "float32": text, "scale": scale, "bias": bias}


def stored_class_texts(values: Any) -> tuple[Array, float, float]:
    """Vectors (classes, D), scale and bias, from what `packed_class_texts` gave. Raises BundleError."""
    if isinstance(values, tuple):
        return values
    try:
        content = np.frombuffer(base64.b64decode(values["float32"], validate=True), "<f4")
        vectors = content.reshape(values["shape"]).astype(np.float32)
        scale, bias = float(values["scale"]), float(values["bias"])
    except (KeyError, TypeError, ValueError, binascii.Error) as error:
        raise BundleError(
            f"the model's metadata is wrong: {CLASS_TEXTS} cannot be read ({error})."
        ) from error
    if vectors.ndim != 2 or not np.isfinite([*vectors.sum(axis=1), scale, bias]).all():
        raise BundleError(f"the model's metadata is wrong: {CLASS_TEXTS} are no vectors of numbers.")
    return vectors, scale, bias


def _prediction(
    number: int,
    source: str | None,
    images: Array | None,
    texts: Array | None,
    probabilities: npt.NDArray[np.float64] | None,
    classes: Sequence[str],
) -> EmbeddingPrediction:
    given = images if images is not None else texts
    assert given is not None
    both = images is not None and texts is not None
    values: dict[str, Any] = {}
    if probabilities is not None:
        row = probabilities[number]
        best = int(row.argmax())
        named = dict(zip(classes, row.tolist(), strict=True))
        values = {"label": classes[best], "score": float(row[best]), "probabilities": named}
    return EmbeddingPrediction(
        source=source,
        embedding=given[number],
        text_embedding=texts[number] if both and texts is not None else None,
        similarity=float(images[number] @ texts[number]) if both and texts is not None else None,  # type: ignore[index]
        **values,
    )


def _vectors(outputs: Outputs, name: str) -> Array | None:
    """(N, D); None where the graph was not run."""
    if name not in outputs:
        return None
    vectors = outputs[name]
    if vectors.ndim != 2 or not np.isfinite(vectors).all():
        raise BundleError(
            f"the model gave embeddings of shape {vectors.shape}, or values that are not numbers (NaN or "
            "infinite)."
        )
    return vectors.astype(np.float32)


def _output(metadata: ModelMetadata, meaning: str) -> str:
    found = [name for name, one in metadata.outputs.items() if one == meaning]
    if len(found) != 1:
        raise BundleError(
            f"{len(found)} of the model's outputs have the meaning {meaning!r}; an encoder has exactly one."
        )
    return found[0]
