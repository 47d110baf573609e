"""What a stage sees of a task: one class, a few plain carriers of data, and optional capabilities."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, Protocol, TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from tao_like.bundle import Bundle
from tao_like.config.blocks.common import CommonSpec
from tao_like.contract.capabilities import Capabilities
from tao_like.contract.capabilities import Prunable as Prunable
from tao_like.contract.metrics import Answer as Answer
from tao_like.contract.metrics import Metrics as Metrics
from tao_like.data.checks.findings import Finding
from tao_like.runtime.metadata import ModelMetadata

Split = Literal["train", "val", "test"]
Outputs = dict[str, np.ndarray]
"""What the exportable network gives for a batch: output name to array, the batch in front."""
SpecT = TypeVar("SpecT", bound=CommonSpec)


@dataclass
class Sample:
    """One sample as it is on disk, before preparation.

    Attributes:
        key: its name, for people: the path below the data's root.
        data: what the task's ``load`` gives: a picture, points, a skeleton.
        target: the truth, in the task's own form; None where there is none.
    """

    key: str
    data: Any
    target: Any = None


@dataclass
class Batch:
    """Prepared samples as the network takes them in training.

    Attributes:
        inputs: prepared inputs, the batch in front.
        targets: truths, in the task's own form.
        indices: (N,) int64, on the CPU: each sample's place in its dataset.
    """

    inputs: Tensor
    targets: Any
    indices: Tensor

    def __len__(self) -> int:
        return len(self.indices)

    def to(self, device: torch.device) -> Batch:
        """This batch on another device."""
        # The indices stay: they are read as numbers, for which a GPU would have to finish its work first.
        return type(self)(_to_device(self.inputs, device), _to_device(self.targets, device), self.indices)

    def pin_memory(self) -> Batch:
        """This batch in page-locked memory, from where copies to a GPU are quick."""
        return type(self)(self.inputs.pin_memory(), self.targets, self.indices)


def _to_device(value: Any, device: torch.device) -> Any:
    if isinstance(value, Tensor):
        return value.to(device, non_blocking=True)
    if isinstance(value, list | tuple):
        return type(value)(_to_device(item, device) for item in value)
    if isinstance(value, dict):
        return {key: _to_device(item, device) for key, item in value.items()}
    return value


@dataclass(frozen=True)
class ModelRecord:
    """What a trained model says of itself beside its weights, from a bundle or from an ONNX file.

    Attributes:
        classes: class names in the order of the outputs.
        preparation: how an input is prepared, as the runtime reads it.
        thresholds: by which answers are given, as the runtime reads them.
        split: the files of each split that it was trained on; None where that is not known.
        graph: the ONNX graph of an imported network; None for the toolkit's own.
        extra: what its file holds beside these.
    """

    classes: list[str]
    preparation: dict[str, Any]
    thresholds: dict[str, Any]
    split: dict[str, Any] | None
    graph: bytes | None = None
    extra: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of_bundle(cls, bundle: Bundle) -> ModelRecord:
        """The record of a bundle."""
        return cls(
            bundle.classes, bundle.preparation, bundle.thresholds, bundle.split, bundle.graph, bundle.extra
        )

    @classmethod
    def of_metadata(cls, metadata: ModelMetadata, split: dict[str, Any] | None) -> ModelRecord:
        """The record of an exported file, which does not hold the split itself."""
        return cls(metadata.classes, metadata.preparation, metadata.thresholds, split, extra=metadata.extra)


@dataclass
class Exportable:
    """The network in the form that ships: prepared inputs in, named answers out.

    Attributes:
        module: takes the tensors of ``inputs`` in order, gives the tensors of ``outputs`` in order.
        inputs: name of each input, with the number of its dynamic axes: ``{"image": {0: "batch"}}``.
        outputs: name of each output, with its dynamic axes.
        meanings: output name to a sentence that says what it is.
        to_inputs: turns prepared samples (as the runtime prepares them) into the module's input tensors.
        one_by_one: the module takes one sample a call, of any length; its outputs have no batch axis.
    """

    module: nn.Module
    inputs: dict[str, dict[int, str]]
    outputs: dict[str, dict[int, str]]
    meanings: dict[str, str]
    to_inputs: Callable[[Any], tuple[Tensor, ...]]
    one_by_one: bool = False


class Dataset(Protocol):
    """A split of the data, by number.

    One whose random changes depend on the epoch has ``set_epoch(epoch)`` too, which is called before every
    sample of a training.
    """

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Any:
        """A prepared sample; random changes are drawn from torch's global generator."""

    def sample(self, index: int) -> Sample:
        """The sample as it is on disk."""


@dataclass
class DataReport:
    """Result of a check of the data.

    Attributes:
        findings: what was found, errors first.
        summary: counts and sizes, ready for JSON.
        pictures: name to picture, such as the contact sheet.
    """

    findings: list[Finding] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    pictures: dict[str, Image.Image] = field(default_factory=dict)

    @property
    def errors(self) -> list[Finding]:
        """The findings that stop a training."""
        return [finding for finding in self.findings if finding.level == "error"]


class Task(Capabilities, ABC, Generic[SpecT]):
    """One kind of problem. Stages work through this class and know nothing else of a task."""

    name: ClassVar[str]
    Spec: ClassVar[type[CommonSpec]]
    higher_is_better: ClassVar[Mapping[str, bool]]
    """Every metric that validation reports, and in which direction it improves (``val_loss`` apart)."""
    headline: ClassVar[str]
    """The one metric that tables and comparisons show."""
    input_kind: ClassVar[str]
    """The runtime's word for what the network takes, such as ``image``."""
    input_format: ClassVar[str]
    """The form of input in which bundles are scored; `export.input_format` may choose another."""

    def __init__(self, spec: SpecT, record: ModelRecord | None = None) -> None:
        """A task at work on a spec; with a record, on that trained model and its own test files.

        Args:
            spec: the resolved spec.
            record: what a trained model says of itself; None: it is yet to be trained.
        """
        self.spec = spec
        self.record = record

    def __deepcopy__(self, memo: dict[int, Any]) -> Task[SpecT]:
        """A task is shared, not copied: it may hold all the data (the moving average copies its owner)."""
        return self

    def reported(self) -> Mapping[str, bool]:
        """Those of ``higher_is_better`` that validation reports with this spec, and others that it adds."""
        return self.higher_is_better

    @classmethod
    def restored_spec(cls, spec: SpecT, stored: SpecT) -> SpecT:
        """The spec for work with a trained model: the user's, with what the model's own spec decides.

        Args:
            spec: the user's.
            stored: the one that the model was trained with.
        """
        return dataclasses.replace(spec, model=stored.model)  # type: ignore[call-arg,attr-defined]

    # --- data ---

    @property
    @abstractmethod
    def classes(self) -> list[str]:
        """Class names in the order of the network's outputs. Raises DatasetError."""

    @abstractmethod
    def has_split(self, split: Split) -> bool:
        """Whether the spec gives data for this split."""

    @abstractmethod
    def count(self, split: Split) -> int:
        """Samples of a split, without reading them. Raises DatasetError."""

    @abstractmethod
    def dataset(self, split: Split, *, augment: bool = False) -> Dataset:
        """The data of a split. Raises DatasetError."""

    @abstractmethod
    def collate(self, samples: Sequence[Any]) -> Batch:
        """Joins prepared samples to a batch."""

    @abstractmethod
    def check(self, *, full: bool, on_progress: Callable[[int, int], None] | None = None) -> DataReport:
        """Looks at the data: quickly (before a training) or fully (dataset_check)."""

    @abstractmethod
    def split_record(self) -> dict[str, Any] | None:
        """The files of each split, for the bundle."""

    @abstractmethod
    def fingerprint(self, split: Split) -> str:
        """A text that tells a split's samples, their order and truths from others', without reading them.

        By names below the data's root, so that a resumed training knows its data where the folder has moved.
        """

    @abstractmethod
    def batch_size(self) -> int | Literal["auto"]:
        """Samples a step and process, as the spec has it."""

    @abstractmethod
    def workers(self) -> int | Literal["auto"]:
        """Processes that load data, as the spec has it."""

    def divides_data(self) -> bool:
        """Whether the spec has training data divided into splits, rather than splits of their own."""
        return False

    def shuffles(self) -> bool:
        """Whether training data comes in a new order every epoch."""
        return True

    # --- network ---

    @abstractmethod
    def network(self, *, pretrained: bool) -> tuple[nn.Module, list[str]]:
        """The network, and what to tell the user of the weights that it starts from.

        Args:
            pretrained: load the weights that the spec names; else they are random, to be filled.
        """

    @abstractmethod
    def losses(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """The parts of the loss; their sum is what training lowers."""

    @abstractmethod
    def validate(self, network: nn.Module, batch: Batch) -> tuple[dict[str, Tensor], Outputs]:
        """Losses and shipped answers of a batch in one pass, without gradients."""

    def parameter_groups(self, network: nn.Module) -> dict[str, list[nn.Module]]:
        """Modules of the ``backbone`` (pretrained, perhaps with a lower rate); the rest is new."""
        del network
        return {}

    def freeze(self, network: nn.Module) -> None:
        """Freezes what the spec wants frozen. Called once, before the optimiser is built."""
        del network

    @classmethod
    def continued_spec(cls, spec: SpecT, stored: SpecT) -> SpecT:
        """The spec for training a bundle's network again: its architecture, and the user's training.

        Args:
            spec: the user's.
            stored: the one that the network was made with.
        """
        return cls.restored_spec(spec, stored)

    # --- answers ---

    @abstractmethod
    def exportable(self, network: nn.Module, input_format: str) -> Exportable:
        """The form of the network that ships."""

    @abstractmethod
    def preparation(self) -> dict[str, Any]:
        """How the runtime prepares an input, as JSON."""

    @abstractmethod
    def input_scaling(self, network: nn.Module) -> dict[str, Any]:
        """How the caller scales inputs where the graph does not: the runtime's metadata fields."""

    @abstractmethod
    def noise(self, generator: np.random.Generator) -> Sample:
        """A sample of noise, for comparisons where no data is at hand."""

    @abstractmethod
    def prepared(self, batch: Batch) -> Any:
        """The batch's inputs as the runtime hands them to a model file."""

    @abstractmethod
    def prepare(self, samples: Sequence[Sample]) -> Any:
        """Prepares samples as the runtime does."""

    @abstractmethod
    def answers(self, outputs: Outputs) -> list[Answer]:
        """Splits a batch's outputs into one answer a sample."""

    @abstractmethod
    def targets(self, batch: Batch) -> list[Any]:
        """Splits a batch's truths into one a sample."""

    def difference(self, expected: Outputs, actual: Outputs) -> float:
        """How far two sets of outputs are apart: the largest absolute difference."""
        return max(float(np.abs(expected[name] - actual[name]).max(initial=0.0)) for name in expected)

    @abstractmethod
    def metrics(self) -> Metrics:
        """A fresh set of metrics."""

    @abstractmethod
    def row(self, sample: Sample, answer: Answer) -> dict[str, Any]:
        """A sample and its answer as a row of the CSV of predictions."""

    @abstractmethod
    def draw(self, sample: Sample, answer: Answer, heat: np.ndarray | None = None) -> Image.Image:
        """A sample with truth and answer, for people; ``heat`` (H, W), 0 to 1, shows where it looked."""

    # --- inference ---

    @abstractmethod
    def sources(self, source: str) -> list[Path]:
        """The files that a file name, folder or pattern stands for. Raises DatasetError."""

    @abstractmethod
    def load(self, path: Path) -> Sample:
        """A file as a sample. Raises DatasetError."""
