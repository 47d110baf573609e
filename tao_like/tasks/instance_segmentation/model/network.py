"""What the networks of this task have in common, and the form in which they ship."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from torch import Tensor, nn

from tao_like.runtime.predictions.boxes import Selection
from tao_like.tasks.instance_segmentation.model.mask2former import Mask2Former
from tao_like.tasks.instance_segmentation.model.mask_rcnn import MaskRcnn

InstanceNetwork: TypeAlias = MaskRcnn | Mask2Former
"""Pixels to values, and these to losses (``instance_losses``) or to objects (``instances``)."""


class InstancesForExport(nn.Module):
    """A network whose outputs need no further work but to be put on the photo.

    Args:
        network: the trained network.
        input_format: see ``DetectorForExport``.
        selection: which objects are kept.
    """

    def __init__(self, network: InstanceNetwork, input_format: str, selection: Selection) -> None:
        super().__init__()
        self.network = network
        self.input_format = input_format
        self.selection = selection

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Boxes (N, K, 4), scores (N, K), labels (N, K), number of them (N,), masks.

        Masks are (N, K, 28, 28) within the boxes, or (N, K, h, w) of the whole input.
        """
        values: Sequence[Tensor]
        if self.input_format == "uint8_nhwc":
            values = self.network(image.permute(0, 3, 1, 2))
        else:
            values = self.network.from_normalized(image)
        return self.network.instances(values, self.selection)
