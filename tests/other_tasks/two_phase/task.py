"""The task as stages see it: two phases, two parts, two graphs."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from tao_like.contract.batch import Batch
from tao_like.contract.capabilities import Prunes
from tao_like.contract.metrics import Goal, Metrics, Report
from tao_like.contract.model import Exportable, Prunable
from tao_like.contract.phase import Phase
from tao_like.contract.predictions import Predictions
from tao_like.contract.sample import Outputs, Sample
from tao_like.contract.task import Task
from tao_like.contract.trained import TrainedState
from tao_like.tasks.common.classes.class_metrics import ClassMetrics
from tao_like.tasks.common.classes.class_predictions import ClassPredictions
from tao_like.tasks.common.image_input import ImageInput

from .data import ColorData
from .model import ColorNetwork, EncoderForExport, HeadForExport
from .spec import Spec


class ColorInput(ImageInput):
    """Its normalization is a part of the encoder."""

    def scaling(self, model: ColorNetwork) -> dict[str, list[float]]:  # type: ignore[override]
        return super().scaling(model.encoder)


class ColorPredictions(Predictions[np.ndarray]):
    """What the first phase predicts: mean colors (3,), 0 to 1."""

    kind = "colors"

    def from_outputs(self, outputs: Outputs) -> list[np.ndarray]:
        return list(outputs["color"])

    def targets(self, batch: Batch[Any]) -> list[Any]:
        return list(mean_colors(batch).cpu().numpy())

    def csv_row(self, sample: Sample, prediction: np.ndarray) -> dict[str, Any]:
        return {"path": sample.key, "color": prediction.tolist()}

    def draw(self, sample: Sample, prediction: np.ndarray, heatmap: np.ndarray | None = None) -> Image.Image:
        return Image.new("RGB", (16, 16), tuple(int(255 * value) for value in prediction.clip(0, 1)))


class DrawnClasses(ClassPredictions):
    """Classes, drawn as the image alone."""

    def draw(self, sample: Sample, prediction: np.ndarray, heatmap: np.ndarray | None = None) -> Image.Image:
        return sample.data


class ColorError(Metrics):
    """The mean absolute error of colors."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0.0

    def reported(self) -> dict[str, bool]:
        return {"color_error": False}

    def add(self, prediction: Any, target: Any) -> float:
        error = float(np.abs(prediction - target).mean())
        self.total += error
        return error

    def merge(self, other: ColorError) -> None:
        self.total += other.total

    def compute(self) -> Report:
        return Report({"color_error": self.total / max(self.count, 1)})


def mean_colors(batch: Batch[Any]) -> Tensor:
    """(N, 3), 0 to 1."""
    return batch.input.float().mean(dim=(2, 3)) / 255


class LearnColors(Phase[ColorNetwork]):
    """The encoder learns to tell the mean color."""

    name = "colors"
    goal = Goal("color_error", higher_is_better=False)
    parts = ("encoder",)

    def losses(self, model: ColorNetwork, batch: Batch[Tensor]) -> dict[str, Tensor]:
        predicted = model.encoder.color(model.encoder(batch.input))
        return {"loss": functional.mse_loss(predicted, mean_colors(batch))}

    def validate(self, model: ColorNetwork, batch: Batch[Tensor]) -> tuple[dict[str, Tensor], Outputs]:
        predicted = model.encoder.color(model.encoder(batch.input))
        loss = functional.mse_loss(predicted, mean_colors(batch))
        return {"loss": loss}, {"color": predicted.cpu().numpy()}

    def metrics(self) -> ColorError:
        return ColorError()


class LearnClasses(Phase[ColorNetwork]):
    """The head learns the classes; the encoder stands still."""

    name = "classes"
    goal = Goal("accuracy")
    parts = ("head",)

    def losses(self, model: ColorNetwork, batch: Batch[Tensor]) -> dict[str, Tensor]:
        return {"loss": functional.cross_entropy(model(batch.input), batch.targets)}

    def validate(self, model: ColorNetwork, batch: Batch[Tensor]) -> tuple[dict[str, Tensor], Outputs]:
        logits = model(batch.input)
        loss = functional.cross_entropy(logits, batch.targets)
        return {"loss": loss}, {"probabilities": logits.softmax(dim=1).cpu().numpy()}

    def metrics(self) -> ClassMetrics:
        return ClassMetrics(self.data.labels.names, [], {})


class TwoPhaseTask(Task[Spec, ColorNetwork], Prunes[ColorNetwork]):
    """Colors first, then classes."""

    name = "two_phase"
    Spec = Spec
    predictions: DrawnClasses

    def __init__(self, spec: Spec, trained: TrainedState | None = None) -> None:
        super().__init__(spec, trained)
        data = ColorData(spec.dataset, trained)
        predictions = DrawnClasses(data, trained.thresholds if trained else {})
        self.image = ColorInput(lambda: data.preprocessing)
        self.compose(
            data=data,
            inputs={"image": self.image},
            predictions=predictions,
            phases=[
                LearnColors(data, ColorPredictions(), spec.train),
                LearnClasses(data, predictions, spec.train),
            ],
        )

    def model(self, *, pretrained: bool) -> tuple[ColorNetwork, list[str]]:
        return ColorNetwork(self.spec.model.channels, len(self.data.labels)), []

    def exports(self, model: ColorNetwork, input_format: str) -> dict[str, Exportable]:
        return {
            "encoder": Exportable(
                EncoderForExport(model.encoder).eval(),
                inputs={"image": {0: "batch"}},
                outputs={"features": {0: "batch"}},
                meanings={"features": "features of the image"},
                to_inputs=lambda preprocessed: (torch.from_numpy(preprocessed["image"]),),
            ),
            "head": Exportable(
                HeadForExport(model.head).eval(),
                inputs={"features": {0: "batch"}},
                outputs={"probabilities": {0: "batch"}},
                meanings=self.predictions.meanings,
                to_inputs=lambda preprocessed: (torch.from_numpy(preprocessed["features"]),),
                takes=("features",),
            ),
        }

    def prunable(self, model: ColorNetwork) -> dict[str, Prunable]:
        return {
            "encoder": Prunable((self.image.pixels(),), [model.encoder.layers[3]]),
            "head": Prunable((torch.zeros(1, self.spec.model.channels),), [model.head.layers[2]]),
        }


TASK = TwoPhaseTask
