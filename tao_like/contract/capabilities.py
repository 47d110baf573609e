"""What only some tasks can do. A stage asks for a capability by its class: ``task.capability(Prunes)``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal

import numpy as np
from PIL import Image
from torch import Tensor, nn

from tao_like.contract.batch import Batch
from tao_like.contract.data import Dataset
from tao_like.contract.metrics import Metrics
from tao_like.contract.model import ModelT, Prunable
from tao_like.contract.sample import Outputs, Preprocessed, Sample
from tao_like.runtime.generation.base import Generator

if TYPE_CHECKING:
    import onnx

    from tao_like.config.blocks.common import CommonSpec


class Prunes(ABC, Generic[ModelT]):
    """Its networks can lose channels."""

    @abstractmethod
    def prunable(self, model: ModelT) -> dict[str, Prunable]:
        """What pruning must know, by the name of each part that can lose channels."""


class Distils(ABC, Generic[ModelT]):
    """Its networks can learn from a larger one."""

    @abstractmethod
    def distillation_losses(
        self, model: ModelT, teacher: ModelT, batch: Batch[Any], *, loss_lambda: float, temperature: float
    ) -> dict[str, Tensor]:
        """The terms of the loss where a teacher's predictions are learnt beside the targets.

        Args:
            model: learns.
            teacher: an unchanging network of the same task, in evaluation mode.
            batch: both see the same inputs, random changes included.
            loss_lambda: the teacher's fraction of the loss, 0 to 1.
            temperature: divides the logits before the predictions are compared.

        Raises:
            SpecError: this architecture has no such loss.
        """


class Converts(ABC):
    """Its labels can be written in other formats: the stage `dataset_convert`."""

    @abstractmethod
    def convert(self, folder: Path) -> tuple[dict[str, Any], list[str], str]:
        """Writes the labels in another format into a folder.

        Returns:
            What was written, as JSON, lines that say so, and the part of a spec that names it.
        """


@dataclass
class AnchorFit:
    """Anchors that fit the training data.

    Attributes:
        spec: the task's spec with them.
        report: what was found, as JSON.
        lines: sentences that say so.
        figures: name to figure.
    """

    spec: CommonSpec
    report: dict[str, Any]
    lines: list[str]
    figures: dict[str, Image.Image]


class FitsAnchors(ABC):
    """It can find anchors for the training data: the stage `kmeans`."""

    @abstractmethod
    def fit_anchors(self) -> AnchorFit:
        """Finds anchors. Raises SpecError, DatasetError."""


class Tiles(ABC):
    """The network may look at a big image tile by tile."""

    @abstractmethod
    def tiles(self, sample: Sample) -> Sequence[Any]:
        """What the network looks at one by one: the sample's data, or its tiles, cut when asked for."""

    @abstractmethod
    def merge(self, sample: Sample, predictions: Iterable[Any]) -> Any:
        """The prediction for a sample from those for its `tiles`, which are asked for one by one."""

    @abstractmethod
    def image_numbers(self, dataset: Dataset) -> Sequence[int]:
        """For each of a dataset's indices the number of its image; the tiles of an image are neighbours."""

    @abstractmethod
    def merged(self, predictions: Iterable[tuple[int, Any, Any]]) -> Iterator[tuple[int, Any, Any]]:
        """Image number, prediction and target of whole images, from those of tiles in order."""

    @abstractmethod
    def whole_sample(self, dataset: Dataset, number: int) -> Sample:
        """The whole image by its number."""

    @abstractmethod
    def whole_key(self, dataset: Dataset, number: int) -> str:
        """The name of the whole image, without reading it."""


class Explains(ABC, Generic[ModelT]):
    """It can tell where a network looked."""

    @abstractmethod
    def explain(self, model: ModelT, preprocessed: Preprocessed) -> list[np.ndarray] | None:
        """For each sample a heatmap (H, W), 0 to 1; None: this architecture cannot tell."""


Purpose = Literal["score", "inference", "export"]


class AsksFirst(ABC):
    """Its predictions need what the network makes of inputs of its own, such as the sentences for classes."""

    @abstractmethod
    def ask(self, run: Callable[[Preprocessed], Outputs], purpose: Purpose) -> None:
        """Asks the network what it must know, before a scoring, an inference or an export.

        Args:
            run: gives the outputs for a preprocessed batch; of a network of several inputs it takes some of
                them too, and then gives the outputs that need no others.
            purpose: what follows.

        Raises:
            SpecError, DatasetError: what the spec wants to know cannot be asked.
        """


class WritesFiles(ABC):
    """Predictions go into further files beside predictions.csv."""

    @abstractmethod
    def record(self, sample: Sample, prediction: Any) -> Any:
        """What the files need of a sample and its prediction; a sample with target needs no data."""

    @abstractmethod
    def files(self, records: Sequence[Any]) -> Mapping[str, str | bytes]:
        """Path below the stage's folder to text, or to the bytes of a binary file."""

    def notes(self) -> list[str]:
        """What to tell people of the files, a line each."""
        return []


class Animates(ABC):
    """Its predictions are drawn as animations."""

    @abstractmethod
    def animate(self, sample: Sample, prediction: Any) -> list[Image.Image]:
        """The frames."""


class DrawsModel(ABC, Generic[ModelT]):
    """What its networks have learnt can be drawn."""

    @abstractmethod
    def draw_model(self, model: ModelT) -> dict[str, Image.Image]:
        """Figures by name, for TensorBoard."""


class KeepsFloat(ABC):
    """Some operators of its exported networks must not compute in int8."""

    @abstractmethod
    def float_nodes(self, graph: onnx.GraphProto, layers: Collection[str]) -> dict[str, str]:
        """Operators that stay in float, each with the reason.

        Args:
            graph: in fp32, every node named.
            layers: names of the operators with weights.
        """


class Resembles(ABC):
    """Two models can be held against each other by their outputs, beyond what metrics say."""

    @abstractmethod
    def likeness(self, wanted: Sequence[Outputs], given: Sequence[Outputs]) -> dict[str, float]:
        """Figures by their names; empty where the outputs are of different kinds.

        Args:
            wanted: of one model, by sample.
            given: of the other, for the same samples.
        """


class HoldsGraph(ABC):
    """Its networks may be imported ones, whose ONNX graph a bundle must hold."""

    @abstractmethod
    def imported_graph(self) -> tuple[bytes | None, dict[str, Any]]:
        """The graph that the spec names and what is known of it; None and nothing for our own networks."""


@dataclass(frozen=True)
class Variant:
    """Another way of generating.

    Attributes:
        generator: how.
        metrics: a fresh set of its own; None: the last phase's.
    """

    generator: Generator
    metrics: Callable[[], Metrics] | None = None


class Generates(ABC):
    """Its predictions are made by running its graphs many times, from a seed."""

    @abstractmethod
    def generator(self) -> Generator:
        """How that is done, with the settings of the spec."""

    @abstractmethod
    def generator_for_prompts(self, network: nn.Module | None) -> Generator:
        """The same as the spec's inference block wants it, such as with an image to change.

        Args:
            network: None of an exported model.
        """

    @abstractmethod
    def variants(self, dataset: Dataset) -> dict[str, Variant]:
        """The same with other settings, by name, which evaluate scores beside it on a split."""

    @abstractmethod
    def prompts(self) -> list[Sample]:
        """What the spec's inference block asks for. Raises SpecError, DatasetError."""

    def sheet_columns(self) -> int:
        """Images a row of the sheet that shows together what the inference block asks for."""
        return 4

    @abstractmethod
    def save(self, path: Path, sample: Sample, prediction: Any, model: str) -> None:
        """Writes a prediction as a PNG file that says what it was made of.

        Args:
            path: of the file.
            sample: what was asked for.
            prediction: the image.
            model: the hash of the model's file.
        """


class Describes(ABC):
    """The runtime must know more of a model than its inputs, classes and thresholds."""

    @abstractmethod
    def metadata_extra(self) -> dict[str, Any]:
        """What else an exported file says, as JSON."""
