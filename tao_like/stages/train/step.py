"""The losses of a batch as one call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from tao_like.contract.batch import Batch
from tao_like.errors import SpecError
from tao_like.stages.results import counted

Losses = Callable[[nn.Module, Batch[Any]], dict[str, Tensor]]

_ONE_VALUE = "Expected more than 1 value per channel"
"""What torch says of batch normalization without anything to take a spread of."""


class TrainingStep(nn.Module):
    """The losses of a batch as one call, which is what ddp must wrap.

    Args:
        model: the network.
        losses: the phase's, or a teacher's.
    """

    def __init__(self, model: nn.Module, losses: Losses) -> None:
        super().__init__()
        self.model = model
        self._losses = losses

    def forward(self, batch: Batch[Any]) -> dict[str, Tensor]:
        """The terms of the loss. Raises SpecError where a batch is too small for batch normalization."""
        try:
            return self._losses(self.model, batch)
        except ValueError as error:
            if _ONE_VALUE not in str(error):
                raise
            samples = counted(len(batch.indices), "sample")
            raise SpecError(
                f"a step has {samples}, and a batch norm layer of this network sees one value a channel, "
                "which has no spread; set "
                "dataset.batch_size=2 or more (and have as many training samples), or take a larger input"
            ) from error
