"""What the towers' outputs mean, as rows, images and files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from typing_extensions import override

from tao_like.contract.batch import Batch
from tao_like.contract.capabilities import AsksFirst, Describes, Purpose, Resembles, WritesFiles
from tao_like.contract.predictions import Predictions
from tao_like.contract.sample import Outputs, Sample
from tao_like.data.images.readers import read_class_list
from tao_like.errors import DatasetError
from tao_like.plots.cards import NEUTRAL, RIGHT, WRONG, draw_card
from tao_like.runtime.predictions.embedding import (
    CLASS_TEXTS,
    EMBEDDING,
    PAIR_LOSS,
    SCALING,
    TEXT_EMBEDDING,
    class_probabilities,
    packed_class_texts,
)
from tao_like.tasks.clip import zero_shot
from tao_like.tasks.clip.data.data import PairData
from tao_like.tasks.clip.data.dataset import NO_LABEL, TEXT, PairTarget
from tao_like.tasks.clip.files import FileRecord, InferenceFiles
from tao_like.tasks.clip.spec import Spec
from tao_like.tasks.clip.zero_shot import ClassTexts, PairPrediction, Run, predictions_of
from tao_like.tasks.common.classes.class_predictions import MAX_PROBABILITY_COLUMNS
from tao_like.tasks.common.image_input import IMAGE

_PROBE_BATCH = 32


class PairPredictions(Predictions[PairPrediction], AsksFirst, WritesFiles, Describes, Resembles):
    """Embeddings, and the classes whose words are nearest."""

    kind = "embedding"

    def __init__(self, data: PairData, spec: Spec) -> None:
        self.data = data
        self.spec = spec
        self._classes: ClassTexts | None = None
        self._files: InferenceFiles | None = None

    @property
    def meanings(self) -> dict[str, dict[str, str]]:
        """The outputs of each graph and what they mean."""
        return {
            IMAGE: {zero_shot.IMAGE_EMBEDDING: EMBEDDING},
            TEXT: {zero_shot.TEXT_EMBEDDING: TEXT_EMBEDDING, zero_shot.SCALING: SCALING},
        }

    @property
    def classes(self) -> ClassTexts:
        """The classes that are asked about; those of scores until `ask` says otherwise."""
        if self._classes is None:
            self._classes = self._wanted("score")
        return self._classes

    @override
    def ask(self, run: Run, purpose: Purpose) -> None:
        self._classes = self._wanted(purpose)
        self._classes.embed(run, self.data.tokenizer)
        if purpose == "inference":
            self._files = InferenceFiles(self.spec.inference, self._classes, self.data, run)
        if purpose == "score" and self.spec.evaluate.linear_probe:
            self._embed_training(run, self._classes)

    def _wanted(self, purpose: Purpose) -> ClassTexts:
        own = self.data.labels.names
        usual = self.spec.dataset.templates
        if purpose == "inference":
            block = self.spec.inference
            given = read_class_list(Path(block.text_file)) if block.text_file else block.classes
            # Words given at call time may be whole sentences already.
            templates = block.templates or (["{}"] if given else usual)
            return ClassTexts(given or own, templates)
        if purpose == "score":
            return ClassTexts(self._scored_names(own), self.spec.evaluate.templates or usual)
        return ClassTexts(own, usual)

    def _scored_names(self, own: list[str]) -> list[str]:
        """The names of `evaluate.classnames`, in the order of the targets' numbers."""
        wanted = self.spec.evaluate.classnames
        if not wanted:
            return own
        if lacking := [name for name in own if name not in wanted]:
            raise DatasetError(
                f"evaluate.classnames lacks {', '.join(lacking[:10])}, which the data has; name all, or none"
            )
        return [*own, *(name for name in wanted if name not in own)]

    def _embed_training(self, run: Run, classes: ClassTexts) -> None:
        """Embeddings of the labelled training images."""
        if not self.data.has("train"):
            raise DatasetError(
                "evaluate.linear_probe learns from training images; give dataset.train_dataset"
            )
        dataset = self.data.dataset("train")
        chosen = [n for n, target in enumerate(dataset.targets) if target.label != NO_LABEL]
        if not chosen:
            raise DatasetError("evaluate.linear_probe needs labels, and the training data has none")
        found = []
        for at in range(0, len(chosen), _PROBE_BATCH):
            pixels = np.stack([dataset[number].pixels for number in chosen[at : at + _PROBE_BATCH]])
            found.append(run({IMAGE: pixels})[zero_shot.IMAGE_EMBEDDING])
        labels = np.array([dataset.targets[number].label for number in chosen], np.int64)
        classes.probed = (np.concatenate(found), labels)

    @override
    def from_outputs(self, outputs: Outputs) -> list[PairPrediction]:
        return predictions_of(outputs, self.classes)

    @override
    def targets(self, batch: Batch[Any]) -> list[Any]:
        return [PairTarget(*row) for row in batch.targets.rows.tolist()]

    def probabilities(self, prediction: PairPrediction) -> np.ndarray | None:
        """Of each class (classes,); None where there are none."""
        if prediction.cosines is None:
            return None
        classes = self.classes
        one_applies = self.spec.train.loss_type == "clip"
        rows = prediction.cosines[None]
        return class_probabilities(rows, classes.scale, classes.bias, one_applies=one_applies)[0]

    def _label(self, sample: Sample) -> int:
        """The number of a sample's class among those that are asked about, which may be other ones."""
        if sample.target is None or sample.target.label == NO_LABEL:
            return NO_LABEL
        own, asked = self.data.labels.names[sample.target.label], self.classes.names
        return asked.index(own) if own in asked else NO_LABEL

    @override
    def csv_row(self, sample: Sample, prediction: PairPrediction) -> dict[str, Any]:
        row: dict[str, Any] = {"path": sample.key}
        if prediction.image is not None and prediction.text is not None:
            row["similarity"] = f"{float(prediction.image @ prediction.text):.6f}"
        found = self.probabilities(prediction)
        if found is None:
            return row
        names = self.classes.names
        best = int(found.argmax())
        row |= {"label": names[best], "score": f"{found[best]:.6f}"}
        if sample.target is not None:
            label = self._label(sample)
            target = "" if label == NO_LABEL else names[label]
            row |= {"truth": target, "correct": "" if label == NO_LABEL else label == best}
        if len(names) <= MAX_PROBABILITY_COLUMNS:
            row |= {f"p_{name}": f"{value:.6f}" for name, value in zip(names, found, strict=True)}
        return row

    @override
    def draw(
        self, sample: Sample, prediction: PairPrediction, heatmap: np.ndarray | None = None
    ) -> Image.Image:
        lines, color = [Path(sample.key).name], NEUTRAL
        found = self.probabilities(prediction)
        if found is not None:
            best = int(found.argmax())
            lines.insert(0, f"{self.classes.names[best]} {found[best]:.2f}")
            label = self._label(sample)
            if label != NO_LABEL:
                color = RIGHT if best == label else WRONG
        if text := sample.data.get(TEXT):
            lines.insert(0, text)
        return draw_card(sample.data[IMAGE], lines, color, heatmap)

    @override
    def record(self, sample: Sample, prediction: PairPrediction) -> FileRecord | None:
        return None if self._files is None else self._files.record(sample, prediction)

    @override
    def files(self, records: Any) -> dict[str, str | bytes]:
        return {} if self._files is None else self._files.files(records)

    @override
    def notes(self) -> list[str]:
        return [] if self._files is None else self._files.notes

    @override
    def likeness(self, wanted: Sequence[Outputs], given: Sequence[Outputs]) -> dict[str, float]:
        """Cosines between the embeddings of one sample by two models: mean and lowest, by tower."""
        found: dict[str, float] = {}
        for tower, name in ((IMAGE, zero_shot.IMAGE_EMBEDDING), (TEXT, zero_shot.TEXT_EMBEDDING)):
            first, second = (np.concatenate([one[name] for one in outputs]) for outputs in (wanted, given))
            if first.shape != second.shape:
                return {}  # embeddings of other lengths lie in another space
            cosines = (first * second).sum(axis=1)
            found |= {f"{tower}_cosine": float(cosines.mean()), f"{tower}_cosine_min": float(cosines.min())}
        return found

    @override
    def metadata_extra(self) -> dict[str, Any]:
        classes = self.classes
        extra: dict[str, Any] = {
            PAIR_LOSS: self.spec.train.loss_type,
            "templates": self.spec.dataset.templates,
        }
        if classes.embeddings is not None:
            extra[CLASS_TEXTS] = packed_class_texts(classes.embeddings, classes.scale, classes.bias)
        return extra
