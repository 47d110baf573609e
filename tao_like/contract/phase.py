"""One optimizer's worth of training."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Generic

from torch import Tensor, nn

from tao_like.config.blocks.common import TrainSpec
from tao_like.contract.batch import Batch
from tao_like.contract.data import Data
from tao_like.contract.metrics import Goal, Metrics
from tao_like.contract.model import ONLY_PART, ModelT
from tao_like.contract.predictions import Predictions
from tao_like.contract.sample import Outputs


class Phase(ABC, Generic[ModelT]):
    """A step of a training: some parts of the network learn by some losses; all else stands still.

    Attributes:
        data: what it learns from.
        predictions: what its outputs mean.
        spec: the train block of this phase.
        progress: the fraction of the phase's steps that are taken, 0 to 1; the training sets it before each
            batch.
    """

    name: ClassVar[str] = ""
    """Its folder below the stage's, and its key below ``train``; empty: the task has but one phase."""
    goal: ClassVar[Goal]
    """The metric that its validation is judged by; known without data."""
    parts: ClassVar[tuple[str, ...]] = (ONLY_PART,)
    """The parts of the network that learn; the others are frozen and in evaluation mode."""
    scores_start: ClassVar[bool] = False
    """The network is scored before the first step too: what it could do before it was trained."""

    def __init__(self, data: Data, predictions: Predictions[Any], spec: TrainSpec) -> None:
        self.data = data
        self.predictions = predictions
        self.spec = spec
        self.progress = 0.0

    def __deepcopy__(self, memo: dict[int, Any]) -> Phase[ModelT]:
        """A phase is shared, not copied: it may hold all the data (the moving average copies its owner)."""
        return self

    def reported(self) -> Mapping[str, bool]:
        """Every metric that validation reports with this spec, and whether higher is better."""
        return self.metrics().reported()

    @abstractmethod
    def losses(self, model: ModelT, batch: Batch[Any]) -> dict[str, Tensor]:
        """The terms of the loss; their sum is what training lowers."""

    @abstractmethod
    def validate(self, model: ModelT, batch: Batch[Any]) -> tuple[dict[str, Tensor], Outputs]:
        """Losses and shipped outputs of a batch in one pass, without gradients."""

    @abstractmethod
    def metrics(self) -> Metrics:
        """A fresh set of metrics."""

    def prepare_validation(self, model: ModelT) -> None:
        """Called before every validation, with the network that is validated, in evaluation mode."""
        del model

    def finish(self, model: ModelT) -> None:
        """Called at the end of the phase with the weights that are kept, before these are scored."""
        del model

    def backbone(self, model: ModelT) -> list[nn.Module]:
        """Modules that are pretrained and may learn at a rate of their own; the rest is new."""
        del model
        return []

    def check(self, model: ModelT) -> None:
        """Looks at what the phases before have left. Called once, before training.

        Raises:
            TaoLikeError: it is not good enough to learn on.
        """
        del model

    def freeze(self, model: ModelT) -> None:
        """Freezes what the spec wants frozen within the parts that learn. Called once, before training."""
        del model
