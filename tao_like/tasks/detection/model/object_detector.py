"""What YOLO and YOLOX have in common: layers for the box, for whether there is an object, for its class."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import Protocol, cast

from torch import Tensor, nn
from typing_extensions import override

from tao_like.tasks.detection.model.detector import Detector

PRIOR = 0.01
"""What a new head predicts everywhere (Lin et al. 2017), so that the first loss is small."""
BOX_VALUES = 4


class ObjectHead(nn.Module):
    """A head whose last layers are three for each map.

    Attributes:
        class_outputs: tell the classes.
        box_outputs: tell the boxes.
        object_outputs: tell whether there is an object.
    """

    class_outputs: nn.ModuleList
    box_outputs: nn.ModuleList
    object_outputs: nn.ModuleList

    @property
    def outputs(self) -> list[nn.Module]:
        """The last layers, whose number of channels has a meaning."""
        return [*self.class_outputs, *self.box_outputs, *self.object_outputs]

    def expect_little(self) -> None:
        """Lets new layers predict `PRIOR` for every object and class."""
        for output in (*self.class_outputs, *self.object_outputs):
            nn.init.constant_(cast("Tensor", output.bias), -math.log((1 - PRIOR) / PRIOR))


class ObjectPredictions(Protocol):
    """What the values of such a head mean, for all A boxes of a batch.

    Attributes:
        objects: (N, A) logits.
        classes: (N, A, classes) logits.
    """

    objects: Tensor
    classes: Tensor

    def corners(self) -> Tensor:
        """(N, A, 4): left, top, right, bottom in pixels."""


class ObjectDetector(Detector):
    """A detector with such a head, whose values are a tensor for each map."""

    class_outputs = ("head.class_outputs.",)

    @property
    @override
    def outputs(self) -> list[nn.Module]:
        return cast("ObjectHead", self.head).outputs

    @override
    def from_normalized(self, inputs: Tensor) -> list[Tensor]:
        """The head's maps, fine to coarse."""
        maps: list[Tensor] = self.head(self.neck(self.backbone(inputs)))
        return maps

    @abstractmethod
    def predictions(self, values: Sequence[Tensor]) -> ObjectPredictions:
        """The meaning of the values of ``forward``."""

    @override
    def decode(self, values: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        predictions = self.predictions(values)
        return predictions.corners(), predictions.classes.sigmoid() * predictions.objects.sigmoid()[..., None]
