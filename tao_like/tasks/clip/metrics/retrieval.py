"""How well images find their texts, texts their images, and images their class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.int64]
_BLOCK = 1024
"""Rows that are compared at once: of 100,000 pairs a whole matrix would take 40 GB."""


@dataclass(frozen=True)
class Ranks:
    """The rank at which each sample finds what it looks for, from 0.

    Attributes:
        of_images: among the distinct captions, that of each image's caption.
        of_texts: among all images, that of the best image with each sample's caption.
    """

    of_images: Numbers
    of_texts: Numbers

    def recall(self, at: int, chosen: npt.NDArray[np.bool_] | None = None) -> tuple[float, float]:
        """The fractions of the images and of the texts that find theirs within so many ranks."""
        found = [ranks if chosen is None else ranks[chosen] for ranks in (self.of_images, self.of_texts)]
        first, second = (float((ranks < at).mean()) if len(ranks) else 0.0 for ranks in found)
        return first, second


def find_ranks(images: Array, texts: Array, captions: Numbers) -> Ranks:
    """Ranks by cosine. Of equal cosines the right one comes last, so that a collapsed model finds nothing.

    Args:
        images: (N, D), of length 1.
        texts: (N, D), of length 1.
        captions: (N,) number of each sample's caption; equal ones are the same text.
    """
    _, first = np.unique(captions, return_index=True)
    numbers, candidates = captions[first], texts[first]
    of_images = np.concatenate(
        [
            _rank(images[at : at + _BLOCK] @ candidates.T, captions[at : at + _BLOCK, None] == numbers)
            for at in range(0, len(images), _BLOCK)
        ]
    )
    of_captions = np.concatenate(
        [
            _rank(candidates[at : at + _BLOCK] @ images.T, numbers[at : at + _BLOCK, None] == captions)
            for at in range(0, len(candidates), _BLOCK)
        ]
    )
    return Ranks(of_images, of_captions[np.searchsorted(numbers, captions)])


def _rank(cosines: Array, right: npt.NDArray[np.bool_]) -> Numbers:
    """For each row, how many wrong candidates are at least as near as the nearest right one."""
    best = np.where(right, cosines, -np.inf).max(axis=1, keepdims=True)
    return ((cosines >= best) & ~right).sum(axis=1).astype(np.int64)


def class_ranks(cosines: Array, labels: Numbers) -> Numbers:
    """The rank of each sample's class, from 0; as for `find_ranks`, the last of equal ones.

    Args:
        cosines: (N, classes).
        labels: (N,) numbers of classes.
    """
    own = np.take_along_axis(cosines, labels[:, None], axis=1)
    return (cosines >= own).sum(axis=1).astype(np.int64) - 1


def mean_pairwise_cosine(embeddings: Array) -> float:
    """The mean cosine of two different samples; near 1 all embeddings are alike."""
    count = len(embeddings)
    if count < 2:
        return 0.0
    total = float(np.square(embeddings.sum(axis=0, dtype=np.float64)).sum())
    return (total - count) / (count * (count - 1))


def effective_rank(embeddings: Array) -> float:
    """In how many directions embeddings spread: exp of the entropy of their singular values' shares.

    Roy and Vetterli 2007, "The effective rank", of the embeddings about their mean.
    """
    centered = embeddings.astype(np.float64) - embeddings.mean(axis=0, dtype=np.float64)
    values = np.linalg.svd(centered, compute_uv=False) if len(embeddings) > 1 else np.zeros(1)
    if values.sum() <= 1e-9:
        return 1.0
    fractions = values / values.sum()
    fractions = fractions[fractions > 0]
    return float(np.exp(-(fractions * np.log(fractions)).sum()))


def linear_probe(
    images: Array, labels: Numbers, tested: Array, tested_labels: Numbers, num_classes: int
) -> float:
    """The accuracy of a linear classifier on frozen embeddings (Radford et al. 2021, section 3.2).

    Ridge regression on one-hot targets, whose strength is chosen on a fifth of the training samples: it has a
    closed form, and needs no optimizer that may not have converged.

    Args:
        images: (N, D) of the training images; labels: (N,) theirs.
        tested: (M, D); labels: (M,) of these.
        num_classes: how many there are.
    """
    held = np.arange(len(images)) % 5 == 4
    strengths = 10.0 ** np.arange(-4, 4)
    if held.any() and not held.all():
        scores = [
            _ridge_accuracy(images[~held], labels[~held], images[held], labels[held], num_classes, strength)
            for strength in strengths
        ]
        best = float(strengths[int(np.argmax(scores))])
    else:
        best = 1.0
    return _ridge_accuracy(images, labels, tested, tested_labels, num_classes, best)


def _ridge_accuracy(
    images: Array, labels: Numbers, tested: Array, tested_labels: Numbers, num_classes: int, strength: float
) -> float:
    values = np.concatenate([images, np.ones((len(images), 1), np.float32)], axis=1).astype(np.float64)
    targets = np.eye(num_classes)[labels]
    penalty = strength * np.eye(values.shape[1])
    penalty[-1, -1] = 1e-8  # the constant is free
    weights = np.linalg.solve(values.T @ values + penalty, values.T @ targets)
    found = (tested @ weights[:-1] + weights[-1]).argmax(axis=1)
    return float((found == tested_labels).mean())


def worst_confusions(found: Numbers, labels: Numbers, names: Sequence[str]) -> list[str]:
    """The ten wrong predictions that occur most often, as sentences."""
    wrong = found != labels
    pairs, counts = np.unique(np.stack([labels[wrong], found[wrong]], axis=1), axis=0, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:10]
    return [f"{names[pairs[i][0]]} taken for {names[pairs[i][1]]}: {counts[i]} times" for i in order]
