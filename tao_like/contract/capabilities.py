"""What only some tasks can do, each with a default that says no."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from PIL import Image
from torch import Tensor, nn

from tao_like.errors import SpecError

if TYPE_CHECKING:
    import onnx

    from tao_like.config.blocks.common import CommonSpec
    from tao_like.contract.task import Batch, Dataset, Sample, Split


@dataclass
class Prunable:
    """What pruning must know of a task's network.

    Attributes:
        inputs: example inputs of the network's forward pass, float, a batch of one.
        protected: modules whose outputs keep their number of channels, such as the layer that gives the
            class scores; what comes out of the network is kept in any case.
        refresh: brings what the network's modules say of their own widths up to date after a pruning.
        constants: parameters along which no channels run, such as a graph's adjacency.
        products: multiply-accumulates that follow for each value that a layer gives, outside of any layer,
            such as those with the adjacency.
    """

    inputs: tuple[Tensor, ...]
    protected: list[nn.Module]
    refresh: Callable[[], None] = lambda: None
    constants: list[nn.Parameter] = field(default_factory=list)
    products: dict[nn.Module, int] = field(default_factory=dict)


@dataclass
class AnchorFit:
    """Anchors that fit the training data.

    Attributes:
        spec: the task's spec with them.
        report: what was found, as JSON.
        lines: sentences that say so.
        pictures: name to picture.
    """

    spec: CommonSpec
    report: dict[str, Any]
    lines: list[str]
    pictures: dict[str, Image.Image]


class Capabilities:
    """Optional parts of a task; see ``tasks.base.Task``."""

    name: ClassVar[str]

    def data_key(self, split: Split) -> str:
        """The key of the spec that names a split's data, for messages."""
        return f"dataset.{split}_dataset.images_dir"

    def convert(self, folder: Path) -> tuple[dict[str, Any], list[str], str]:
        """Writes the labels in another format into a folder, for a task with the stage `dataset_convert`.

        Returns:
            What was written, as JSON, lines that say so, and the part of a spec that names it.
        """
        raise NotImplementedError(f"{type(self).__name__} has no formats to convert between: {folder}")

    def parts(self, sample: Sample) -> list[Sample]:
        """What the network looks at one by one: the sample itself, or the tiles of a big picture."""
        return [sample]

    def joined(self, sample: Sample, answers: Sequence[Any]) -> Any:
        """The answer for a sample from those for its `parts`."""
        del sample
        (answer,) = answers
        return answer

    def whole_sample(self, dataset: Dataset, index: int) -> Sample:
        """The sample that an answer of ``Metrics.answered`` is about."""
        return dataset.sample(index)

    def default_sources(self) -> list[Path]:
        """The files that inference runs on without `inference.source`; empty: the labelled data."""
        return []

    def fit_anchors(self) -> AnchorFit:
        """Finds anchors for the training data, for a task with the stage `kmeans`."""
        raise NotImplementedError(f"{type(self).__name__} has no anchors")

    def metadata_extra(self) -> dict[str, Any]:
        """What else the runtime must know of a model, as JSON."""
        return {}

    def entry(self, sample: Sample, answer: Any) -> Any:
        """What `result_files` needs of a sample and its answer; None: nothing."""
        del sample, answer
        return None

    def result_files(self, entries: Sequence[Any]) -> dict[str, str]:
        """Further files with the answers, beside the CSV: path below the stage's folder to text."""
        del entries
        return {}

    def animate(self, sample: Sample, answer: Any) -> list[Image.Image]:
        """A sample and its answer as moving pictures, for inference; empty: this task draws one picture."""
        del sample, answer
        return []

    def draw_network(self, network: nn.Module) -> dict[str, Image.Image]:
        """Pictures of what the network has learnt, by name, for TensorBoard; empty: there are none."""
        del network
        return {}

    def draw_batch(self, batch: Batch) -> list[Image.Image]:
        """A training batch as the network sees it, with its truths; empty: this task does not draw it."""
        del batch
        return []

    def imported_graph(self) -> tuple[bytes | None, dict[str, Any]]:
        """The ONNX graph of an imported network and what is known of it, for the bundle."""
        return None, {}

    def prunable(self, network: nn.Module) -> Prunable | None:
        """What pruning must know of the network; None: this task's networks cannot be pruned."""
        del network
        return None

    def float_nodes(self, graph: onnx.GraphProto, layers: Collection[str]) -> dict[str, str]:
        """Operators of an exported network that stay in float when it is quantized, each with the reason.

        Args:
            graph: in fp32, every node named.
            layers: names of the operators with weights.
        """
        del graph, layers
        return {}

    def distillation_losses(
        self, network: nn.Module, teacher: nn.Module, batch: Batch, *, loss_lambda: float, temperature: float
    ) -> dict[str, Tensor]:
        """The parts of the loss where a teacher's answers are learnt beside the targets.

        Args:
            network: learns.
            teacher: an unchanging network of the same task, in evaluation mode.
            batch: both see the same inputs, random changes included.
            loss_lambda: the teacher's share of the loss, 0 to 1.
            temperature: divides the logits before the answers are compared.

        Raises:
            SpecError: this task has no such loss.
        """
        raise SpecError(
            f"train.distill.teacher_model_path: {self.name} cannot learn from a teacher; leave it empty"
        )

    def explain(self, network: nn.Module, prepared: Any) -> list[np.ndarray] | None:
        """For each sample where the network looked, (H, W) from 0 to 1; None: this task cannot tell."""
        del network, prepared
        return None
