"""Classes that are named when predictions are asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from tao_like.errors import SpecError
from tao_like.runtime.metadata import ModelMetadata
from tao_like.runtime.predictions.embedding import CLASS_TEXTS, SCALING, TEXT_EMBEDDING, averaged

if TYPE_CHECKING:
    from tao_like.runtime.base import Model

Classes: TypeAlias = Sequence[str] | Mapping[str, Sequence[str]] | None
"""Names, or names with the sentences that describe each; None: the model's own."""
_TEXT_BATCH = 64


def with_classes(model: Model, classes: Classes) -> ModelMetadata:
    """The model's metadata with other classes in the place of its own.

    Args:
        model: knows images and texts.
        classes: a name stands for itself; of several sentences the mean embedding is taken.

    Raises:
        SpecError: the model knows its own classes only, or there is none, or one twice.
    """
    metadata = model.metadata
    outputs = {meaning: name for name, meaning in metadata.outputs.items()}
    texts = [name for name, one in metadata.inputs.items() if one.kind == "text"]
    if not (metadata.open_set and texts and TEXT_EMBEDDING in outputs and SCALING in outputs):
        raise SpecError(f"classes: {model.path} tells its own classes apart and takes no others.")
    sentences = _sentences(classes)
    flat = [sentence for one in sentences.values() for sentence in one]
    found = [
        model.run_preprocessed(
            {
                texts[0]: np.stack(
                    [model.inputs[texts[0]].preprocess(text)[0] for text in flat[at : at + _TEXT_BATCH]]
                )
            }
        )
        for at in range(0, len(flat), _TEXT_BATCH)
    ]
    vectors = np.concatenate([one[outputs[TEXT_EMBEDDING]] for one in found])
    scale, bias = (float(value) for value in found[0][outputs[SCALING]][0])
    of_classes = averaged(vectors, [len(one) for one in sentences.values()])
    extra = {**metadata.extra, CLASS_TEXTS: (of_classes, scale, bias)}
    return replace(metadata, classes=list(sentences), prompts={}, extra=extra)


def _sentences(classes: Classes) -> dict[str, list[str]]:
    if isinstance(classes, str):
        raise SpecError(f"classes is the text {classes!r}; give a list of names.")
    if isinstance(classes, Mapping):
        sentences = {name: list(texts) for name, texts in classes.items()}
    else:
        names = list(classes or ())
        sentences = {name: [name] for name in names}
        if len(sentences) != len(names):
            raise SpecError(f"classes names one twice: {names}.")
    if not sentences or not all(sentences.values()):
        raise SpecError("classes is empty, or has a class without a sentence; give at least one name.")
    return sentences
