"""YOLOX's own backbone, neck and head (Ge et al. 2021), in its published sizes and over other backbones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from tao_like.tasks.detection.model.object_detector import BOX_VALUES, ObjectHead
from tao_like.tasks.detection.model.yolox.blocks import (
    ConvNormAct,
    CspLayer,
    Focus,
    PyramidPooling,
    spatial_conv,
)


@dataclass(frozen=True)
class YoloxSize:
    """A published size.

    Attributes:
        depth: factor on the number of bottlenecks.
        width: factor on the number of channels.
        separable: depthwise and pointwise convolutions in the place of whole ones.
    """

    depth: float
    width: float
    separable: bool = False

    def blocks(self, count: int) -> int:
        """Bottlenecks of a layer that has ``count`` of them in the large size."""
        return max(round(count * self.depth), 1)

    def channels(self, count: int) -> int:
        """Channels of a layer that has ``count`` of them in the large size."""
        return int(count * self.width)


YOLOX_SIZES = {
    "nano": YoloxSize(0.33, 0.25, separable=True),
    "tiny": YoloxSize(0.33, 0.375),
    "s": YoloxSize(0.33, 0.50),
    "m": YoloxSize(0.67, 0.75),
    "l": YoloxSize(1.0, 1.0),
    "x": YoloxSize(1.33, 1.25),
}


class CspDarknet(nn.Module):
    """The backbone: features at strides 8, 16 and 32.

    Attributes:
        channels: of the three maps.
        strides: of the three maps.
    """

    strides = (8, 16, 32)

    def __init__(self, size: YoloxSize) -> None:
        super().__init__()
        widths = [size.channels(count) for count in (64, 128, 256, 512, 1024)]
        few = size.blocks(3)
        self.channels = tuple(widths[2:])
        self.stem = Focus(3, widths[0])

        def stage(number: int, depth: int) -> nn.Sequential:
            conv = spatial_conv(widths[number - 1], widths[number], 2, separable=size.separable)
            layer = CspLayer(widths[number], widths[number], depth, separable=size.separable)
            return nn.Sequential(conv, layer)

        self.stage2 = stage(1, few)
        self.stage3 = stage(2, 3 * few)
        self.stage4 = stage(3, 3 * few)
        self.stage5 = nn.Sequential(
            spatial_conv(widths[3], widths[4], 2, separable=size.separable),
            PyramidPooling(widths[4], widths[4]),
            CspLayer(widths[4], widths[4], few, shortcut=False, separable=size.separable),
        )

    def forward(self, inputs: Tensor) -> list[Tensor]:
        """Maps normalized images (N, 3, H, W) to three maps; sides must be multiples of 32."""
        third = self.stage3(self.stage2(self.stem(inputs)))
        fourth = self.stage4(third)
        return [third, fourth, self.stage5(fourth)]


class PathAggregation(nn.Module):
    """PAFPN (Liu et al. 2018) with CSP layers: what coarse maps know flows to fine ones, and back.

    Args:
        channels: of the three maps that come in, fine to coarse.
        widths: channels of the three maps that go out; where they differ, a 1 x 1 convolution leads in.
        depth: bottlenecks of each layer.
        separable: whether 3 x 3 convolutions are depthwise and pointwise.
    """

    def __init__(
        self, channels: Sequence[int], widths: Sequence[int], depth: int, *, separable: bool = False
    ) -> None:
        super().__init__()
        fine, middle, coarse = widths

        def layer(count: int, width: int) -> CspLayer:
            return CspLayer(count, width, depth, shortcut=False, separable=separable)

        self.entries = nn.ModuleList(
            nn.Identity() if count == width else ConvNormAct(count, width, 1)
            for count, width in zip(channels, widths, strict=True)
        )
        self.reduce_coarse = ConvNormAct(coarse, middle, 1)
        self.down_middle = layer(2 * middle, middle)
        self.reduce_middle = ConvNormAct(middle, fine, 1)
        self.down_fine = layer(2 * fine, fine)
        self.shrink_fine = spatial_conv(fine, fine, 2, separable=separable)
        self.up_middle = layer(2 * fine, middle)
        self.shrink_middle = spatial_conv(middle, middle, 2, separable=separable)
        self.up_coarse = layer(2 * middle, coarse)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Maps three maps, fine to coarse, to three of the same sizes."""
        fine, middle, coarse = (entry(each) for entry, each in zip(self.entries, maps, strict=True))
        reduced_coarse = self.reduce_coarse(coarse)
        middle = self.down_middle(torch.cat([enlarged(reduced_coarse, middle), middle], dim=1))
        reduced_middle = self.reduce_middle(middle)
        fine = self.down_fine(torch.cat([enlarged(reduced_middle, fine), fine], dim=1))
        middle = self.up_middle(torch.cat([self.shrink_fine(fine), reduced_middle], dim=1))
        coarse = self.up_coarse(torch.cat([self.shrink_middle(middle), reduced_coarse], dim=1))
        return [fine, middle, coarse]


def enlarged(small: Tensor, like: Tensor) -> Tensor:
    """The map at the size of another, by repeating its values."""
    return functional.interpolate(small, size=like.shape[-2:], mode="nearest")


class YoloxHead(ObjectHead):
    """The decoupled head: for each location one box, whether there is an object, and its class.

    Args:
        channels: of the maps that come in.
        width: channels inside.
        classes: number of classes.
        separable: whether 3 x 3 convolutions are depthwise and pointwise.
    """

    def __init__(
        self, channels: Sequence[int], width: int, num_classes: int, *, separable: bool = False
    ) -> None:
        super().__init__()

        def pair() -> nn.Sequential:
            return nn.Sequential(*(spatial_conv(width, width, separable=separable) for _ in range(2)))

        self.classes = num_classes
        self.entries = nn.ModuleList(ConvNormAct(count, width, 1) for count in channels)
        self.class_branches = nn.ModuleList(pair() for _ in channels)
        self.box_branches = nn.ModuleList(pair() for _ in channels)
        self.class_outputs = nn.ModuleList(nn.Conv2d(width, num_classes, 1) for _ in channels)
        self.box_outputs = nn.ModuleList(nn.Conv2d(width, BOX_VALUES, 1) for _ in channels)
        self.object_outputs = nn.ModuleList(nn.Conv2d(width, 1, 1) for _ in channels)
        self.expect_little()

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Maps each map to (N, 4 + 1 + classes, H, W): box, object, class, all before exp and sigmoid."""
        outputs = []
        for level, each in enumerate(maps):
            entered = self.entries[level](each)
            of_class = self.class_branches[level](entered)
            of_box = self.box_branches[level](entered)
            outputs.append(
                torch.cat(
                    [
                        self.box_outputs[level](of_box),
                        self.object_outputs[level](of_box),
                        self.class_outputs[level](of_class),
                    ],
                    dim=1,
                )
            )
        return outputs
