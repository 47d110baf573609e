"""Classes that are named when predictions are asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from tao_like.errors import SpecError
from tao_like.runtime.metadata import ModelMetadata
from tao_like.runtime.predictions.embedding import CLASS_TEXTS, SCALING, TEXT_EMBEDDING, averaged

Classes: TypeAlias = Sequence[str] | Mapping[str, Sequence[str]] | None
"""Names, or names with the sentences that describe each; None: the model's own."""
_TEXT_BATCH = 64


def with_classes(
    metadata: ModelMetadata,
    path: Path,
    run: Callable[[dict[str, list[str]]], Mapping[str, npt.NDArray[Any]]],
    classes: Classes,
) -> ModelMetadata:
    """A model's metadata with other classes in the place of its own.

    Args:
        metadata: of a model that knows images and texts.
        path: the model's file, for messages.
        run: the graph's outputs, by name, of the texts of an input.
        classes: a name stands for itself; of several sentences the mean embedding is taken.

    Raises:
        SpecError: the model knows its own classes only, or there is none, or one twice.
    """
    outputs = {meaning: name for name, meaning in metadata.outputs.items()}
    texts = [name for name, one in metadata.inputs.items() if one.kind == "text"]
    if not (metadata.open_set and texts and TEXT_EMBEDDING in outputs and SCALING in outputs):
        raise SpecError(f"classes: {path} tells its own classes apart and takes no others.")
    sentences = _sentences(classes)
    flat = [sentence for one in sentences.values() for sentence in one]
    found = [run({texts[0]: flat[at : at + _TEXT_BATCH]}) for at in range(0, len(flat), _TEXT_BATCH)]
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
