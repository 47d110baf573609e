"""torchvision's feature pyramid (Lin et al. 2017, "Feature Pyramid Networks for Object Detection")."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from tao_like.networks import _torchvision  # noqa: F401

# isort: split
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import ExtraFPNBlock


class FeaturePyramid(nn.Module):
    """torchvision's feature pyramid, lists in and out.

    Args:
        channels: of the maps that come in, fine to coarse.
        width: channels of the maps that go out.
        last: makes the maps behind the coarsest.
    """

    def __init__(self, channels: Sequence[int], width: int, last: ExtraFPNBlock) -> None:
        super().__init__()
        self.fpn = FeaturePyramidNetwork(list(channels), width, last)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Maps a list of maps to one with those of ``last`` too."""
        named = {str(level): each for level, each in enumerate(maps)}
        return list(self.fpn(named).values())
