"""The metrics of pairs, as a state that batches add to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from typing_extensions import override

from tao_like.contract.metrics import Metrics, Report
from tao_like.plots.confusion import draw_confusion_matrix
from tao_like.plots.similarity import draw_similarity
from tao_like.tasks.clip.data.dataset import NO_LABEL, PairTarget
from tao_like.tasks.clip.metrics.retrieval import (
    Ranks,
    class_ranks,
    effective_rank,
    find_ranks,
    linear_probe,
    mean_pairwise_cosine,
    worst_confusions,
)
from tao_like.tasks.clip.zero_shot import ClassTexts, PairPrediction

GOAL = "recall_at_1"
TOP = (1, 5)
COLLAPSED_COSINE = 0.95
COLLAPSED_RANK = 1.5
_FEWEST_TO_JUDGE = 8
_SHOWN = 24
_MOST_DRAWN_CLASSES = 100
Numbers = npt.NDArray[np.int64]


class PairMetrics(Metrics):
    """Retrieval both ways, classes by words, and how the embeddings are spread.

    Embeddings are kept: 4 bytes a number, two of them a sample.

    Args:
        recall_at: ranks up to which retrieval is scored.
        classes: the words of the classes; its embeddings may be there yet or not.
        groups: names of the samples' groups; the list may still grow.
        probes: a linear classifier is scored too.
    """

    def __init__(
        self,
        recall_at: Sequence[int],
        classes: ClassTexts,
        groups: Sequence[str],
        *,
        probes: bool = False,
    ) -> None:
        super().__init__()
        self.recall_at = sorted(set(recall_at))
        self.classes = classes
        self.groups = groups
        self.probes = probes
        self.images: list[npt.NDArray[np.float32]] = []
        self.texts: list[npt.NDArray[np.float32]] = []
        self.targets: list[PairTarget] = []

    @override
    def reported(self) -> Mapping[str, bool]:
        names = {GOAL: True}
        for at in self.recall_at:
            names |= {f"image_to_text_recall_at_{at}": True, f"text_to_image_recall_at_{at}": True}
        for top in self._tops:
            names[f"zero_shot_top{top}"] = True
        if self.probes:
            names["linear_probe"] = True
        return {**names, "mean_cosine": False, "spread": True}

    @property
    def _tops(self) -> list[int]:
        return [top for top in TOP if len(self.classes.names) > top]

    @override
    def add(self, prediction: PairPrediction, target: PairTarget) -> float:
        assert prediction.image is not None
        assert prediction.text is not None
        self.images.append(prediction.image)
        self.texts.append(prediction.text)
        self.targets.append(target)
        badness = 1 - float(prediction.image @ prediction.text)
        if prediction.cosines is not None and target.label != NO_LABEL:
            # A wrong class is worse than any distance of a caption.
            badness += 2 * (prediction.cosines.argmax() != target.label)
        return badness

    @override
    def merge(self, other: PairMetrics) -> None:
        self.images += other.images
        self.texts += other.texts
        self.targets += other.targets

    @override
    def compute(self) -> Report:
        if not self.images:
            return Report(dict.fromkeys(self.reported(), 0.0))
        images, texts = np.stack(self.images), np.stack(self.texts)
        targets = np.array(self.targets, np.int64)
        ranks = find_ranks(images, texts, targets[:, 1])
        values = self._recalls(ranks)
        labelled = targets[:, 0] != NO_LABEL
        positions, found = self._zero_shot(images, targets[:, 0], labelled)
        values |= _accuracies(positions, labelled, self._tops)
        if self.probes:
            values["linear_probe"] = self._probe(images, targets[:, 0], labelled)
        rank = effective_rank(images)
        values |= {"mean_cosine": mean_pairwise_cosine(images), "spread": rank / images.shape[1]}
        details = {**self._details(ranks, targets, positions, found, labelled), "effective_rank": rank}
        return Report(
            values,
            details,
            draw=partial(self._draw, images, texts, targets, found, labelled),
            notes=self._notes(values["mean_cosine"], rank),
        )

    def _recalls(self, ranks: Ranks, chosen: npt.NDArray[np.bool_] | None = None) -> dict[str, float]:
        values = {GOAL: sum(ranks.recall(1, chosen)) / 2}
        for at in self.recall_at:
            of_images, of_texts = ranks.recall(at, chosen)
            values |= {
                f"image_to_text_recall_at_{at}": of_images,
                f"text_to_image_recall_at_{at}": of_texts,
            }
        return values

    def _zero_shot(
        self, images: npt.NDArray[np.float32], labels: Numbers, labelled: npt.NDArray[np.bool_]
    ) -> tuple[Numbers, Numbers]:
        """Rank of each sample's class, and the class that is found for it; of those without label 0."""
        zeros = np.zeros(len(labels), np.int64)
        if not self._tops or self.classes.embeddings is None:
            # No rank is good enough where nothing can be told.
            return np.full(len(labels), np.iinfo(np.int64).max), zeros
        cosines = images @ self.classes.embeddings.T
        return class_ranks(cosines, np.where(labelled, labels, 0)), cosines.argmax(axis=1).astype(np.int64)

    def _probe(
        self, images: npt.NDArray[np.float32], labels: Numbers, labelled: npt.NDArray[np.bool_]
    ) -> float:
        probed = self.classes.probed
        if probed is None or not labelled.any():
            return 0.0
        count = len(self.classes.names)
        return linear_probe(probed[0], probed[1], images[labelled], labels[labelled], count)

    def _details(
        self,
        ranks: Ranks,
        targets: Numbers,
        positions: Numbers,
        found: Numbers,
        labelled: npt.NDArray[np.bool_],
    ) -> dict[str, Any]:
        names = self.classes.names
        details: dict[str, Any] = {
            "captions": len(np.unique(targets[:, 1])),
            "classes": names,
            "templates": len(self.classes.templates),
        }
        if self._tops and labelled.any():
            details["worst_confusions"] = worst_confusions(found[labelled], targets[labelled, 0], names)
        if len(self.groups) > 1:
            of_groups = {}
            for number, name in enumerate(self.groups):
                chosen = targets[:, 2] == number
                if chosen.any():
                    scores = _accuracies(positions[chosen], labelled[chosen], self._tops)
                    of_groups[name] = {"samples": int(chosen.sum()), **self._recalls(ranks, chosen), **scores}
            details["groups"] = of_groups
        return details

    def _notes(self, cosine: float, rank: float) -> list[str]:
        if len(self.images) < _FEWEST_TO_JUDGE or (cosine < COLLAPSED_COSINE and rank > COLLAPSED_RANK):
            return []
        return [
            f"the image embeddings have collapsed: their mean cosine is {cosine:.3f} and they spread in "
            f"{rank:.1f} directions, so all images look alike to the network. Lower train.optim.lr, give "
            "train.optim.warmup_epochs, use larger batches, or freeze a pretrained tower"
        ]

    def _draw(
        self,
        images: npt.NDArray[np.float32],
        texts: npt.NDArray[np.float32],
        targets: Numbers,
        found: Numbers,
        labelled: npt.NDArray[np.bool_],
    ) -> dict[str, Image.Image]:
        _, first = np.unique(targets[:, 1], return_index=True)
        shown = np.sort(first)
        shown = shown[:: max(1, len(shown) // _SHOWN)][:_SHOWN]
        numbers = [str(number + 1) for number in range(len(shown))]
        figures = {"similarity": draw_similarity(images[shown] @ texts[shown].T, numbers, numbers)}
        names = self.classes.names
        if self._tops and labelled.any() and len(names) <= _MOST_DRAWN_CLASSES:
            matrix = np.zeros((len(names), len(names)), np.int64)
            np.add.at(matrix, (targets[labelled, 0], found[labelled]), 1)
            figures["confusion"] = draw_confusion_matrix(matrix, names)
        return figures


def _accuracies(positions: Numbers, labelled: npt.NDArray[np.bool_], tops: Sequence[int]) -> dict[str, float]:
    count = int(labelled.sum())
    return {
        f"zero_shot_top{top}": float((positions[labelled] < top).mean()) if count else 0.0 for top in tops
    }
