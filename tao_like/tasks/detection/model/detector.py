"""What every detector has: normalization, backbone, neck and head, and a meaning of what the head says."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn

from tao_like.networks.normalize import Normalize


class Detector(nn.Module, ABC):
    """A network that finds objects.

    Args:
        backbone: the part with pretrained weights.
        neck: from its maps to others.
        head: from these to values.
        mean: of the normalization, 0 to 1.
        std: of the normalization.
    """

    def __init__(
        self,
        backbone: nn.Module,
        neck: nn.Module,
        head: nn.Module,
        mean: Sequence[float],
        std: Sequence[float],
    ) -> None:
        super().__init__()
        self.normalise = Normalize(mean, std)
        self.backbone = backbone
        self.neck = neck
        self.head = head

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """Maps pixels (N, 3, H, W), 0 to 255, to the values that ``decode`` and ``losses`` take."""
        return self.from_normalized(self.normalise(pixels))

    def example_inputs(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """Inputs of ``forward`` with which a pass goes through every layer."""
        return (pixels,)

    class_outputs: tuple[str, ...]
    """How the names of the tensors begin that tell classes: new where the classes differ."""
    predicts_by_location: ClassVar[bool] = True
    """Whether two such networks predict at the same locations of an image: one can then teach the other."""

    @property
    @abstractmethod
    def outputs(self) -> list[nn.Module]:
        """The last layers, whose number of channels has a meaning."""

    @abstractmethod
    def from_normalized(self, inputs: Tensor) -> list[Tensor]:
        """As ``forward``, for inputs that the caller has normalized."""

    @abstractmethod
    def decode(self, values: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Boxes (N, A, 4) as left, top, right, bottom in pixels, and scores (N, A, classes)."""

    @abstractmethod
    def losses(
        self, values: Sequence[Tensor], boxes: Sequence[Tensor], labels: Sequence[Tensor], *, refine: bool
    ) -> dict[str, Tensor]:
        """The parts of the loss of a batch.

        Args:
            values: of ``forward``.
            boxes: for each image (G, 4), in pixels of the input.
            labels: for each image (G,) class numbers.
            refine: whether the training is in its last epochs, without strong augmentation.
        """
