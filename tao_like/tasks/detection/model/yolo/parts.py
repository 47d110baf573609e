"""Parts of the YOLO networks with anchors: necks, head, and the backbone of YOLOv4-tiny.

Sources: Redmon and Farhadi 2018, "YOLOv3: An Incremental Improvement"; Bochkovskiy et al. 2020, "YOLOv4:
Optimal Speed and Accuracy of Object Detection"; Wang et al. 2021, "Scaled-YOLOv4". Layers of 3 x 3 have the
stated width, those of 1 x 1 between them half of it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tao_like.tasks.detection.model.object_detector import BOX_VALUES, ObjectHead
from tao_like.tasks.detection.model.yolox.blocks import ConvNormAct, PyramidPooling
from tao_like.tasks.detection.model.yolox.parts import enlarged

SLOPE = 0.1
"""Of the leaky ReLU below zero."""


def conv(channels: int, width: int, kernel: int, stride: int = 1) -> ConvNormAct:
    """Convolution, batch norm, leaky ReLU."""
    return ConvNormAct(channels, width, kernel, stride, slope=SLOPE)


def alternating(channels: int, width: int) -> nn.Sequential:
    """Five layers, 1 x 1 and 3 x 3 in turn; half of ``width`` comes out."""
    half = width // 2
    return nn.Sequential(
        conv(channels, half, 1),
        conv(half, width, 3),
        conv(width, half, 1),
        conv(half, width, 3),
        conv(width, half, 1),
    )


class YoloV3Neck(nn.Module):
    """What coarse maps know flows to fine ones.

    Args:
        channels: of the three maps that come in, fine to coarse.
        widths: of the layers at each map.

    Attributes:
        channels: of the three maps that go out.
    """

    def __init__(self, channels: Sequence[int], widths: Sequence[int]) -> None:
        super().__init__()
        fine, middle, coarse = (width // 2 for width in widths)
        self.channels = (fine, middle, coarse)
        self.coarse = alternating(channels[2], widths[2])
        self.reduce_coarse = conv(coarse, middle, 1)
        self.middle = alternating(channels[1] + middle, widths[1])
        self.reduce_middle = conv(middle, fine, 1)
        self.fine = alternating(channels[0] + fine, widths[0])

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Maps three maps, fine to coarse, to three of the same sizes."""
        fine, middle, coarse = maps
        coarse = self.coarse(coarse)
        middle = self.middle(torch.cat([enlarged(self.reduce_coarse(coarse), middle), middle], dim=1))
        fine = self.fine(torch.cat([enlarged(self.reduce_middle(middle), fine), fine], dim=1))
        return [fine, middle, coarse]


class YoloV4Neck(nn.Module):
    """Pyramid pooling on the coarsest map, then to the fine maps and back (PANet, Liu et al. 2018).

    Args:
        channels: of the three maps that come in, fine to coarse.
        widths: of the layers at each map.

    Attributes:
        channels: of the three maps that go out.
    """

    def __init__(self, channels: Sequence[int], widths: Sequence[int]) -> None:
        super().__init__()
        fine, middle, coarse = (width // 2 for width in widths)
        self.channels = (fine, middle, coarse)
        self.coarse = nn.Sequential(
            conv(channels[2], coarse, 1),
            conv(coarse, widths[2], 3),
            PyramidPooling(widths[2], coarse, slope=SLOPE),
            conv(coarse, widths[2], 3),
            conv(widths[2], coarse, 1),
        )
        self.reduce_coarse = conv(coarse, middle, 1)
        self.enter_middle = conv(channels[1], middle, 1)
        self.down_middle = alternating(2 * middle, widths[1])
        self.reduce_middle = conv(middle, fine, 1)
        self.enter_fine = conv(channels[0], fine, 1)
        self.down_fine = alternating(2 * fine, widths[0])
        self.shrink_fine = conv(fine, middle, 3, 2)
        self.up_middle = alternating(2 * middle, widths[1])
        self.shrink_middle = conv(middle, coarse, 3, 2)
        self.up_coarse = alternating(2 * coarse, widths[2])

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Maps three maps, fine to coarse, to three of the same sizes."""
        fine, middle, coarse = maps
        coarse = self.coarse(coarse)
        middle = self.enter_middle(middle)
        middle = self.down_middle(torch.cat([middle, enlarged(self.reduce_coarse(coarse), middle)], dim=1))
        fine = self.enter_fine(fine)
        fine = self.down_fine(torch.cat([fine, enlarged(self.reduce_middle(middle), fine)], dim=1))
        middle = self.up_middle(torch.cat([self.shrink_fine(fine), middle], dim=1))
        coarse = self.up_coarse(torch.cat([self.shrink_middle(middle), coarse], dim=1))
        return [fine, middle, coarse]


class TinyNeck(nn.Module):
    """YOLOv4-tiny's: the coarse map enlarged beside the middle one.

    Args:
        channels: of the maps that come in, fine to coarse; the last two count.
        widths: of the layers at strides 16 and 32.

    Attributes:
        channels: of the two maps that go out.
    """

    def __init__(self, channels: Sequence[int], widths: Sequence[int]) -> None:
        super().__init__()
        middle, coarse = (width // 2 for width in widths)
        self.channels = (channels[-2] + middle, coarse)
        self.reduce = conv(channels[-1], coarse, 1)
        self.reduce_coarse = conv(coarse, middle, 1)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Maps maps, fine to coarse, to two of the sizes of the last two."""
        middle, coarse = maps[-2:]
        coarse = self.reduce(coarse)
        return [torch.cat([enlarged(self.reduce_coarse(coarse), middle), middle], dim=1), coarse]


class AnchorHead(ObjectHead):
    """For each location and anchor a box, whether there is an object, and its class.

    The papers' last layer gives all of these; here it is three layers of together the same size, so that the
    one that tells classes can be replaced alone.

    Args:
        channels: of the maps that come in.
        widths: of the layer at each map.
        anchors: number of anchors of each map.
        classes: number of classes.
    """

    def __init__(
        self, channels: Sequence[int], widths: Sequence[int], anchors: Sequence[int], num_classes: int
    ) -> None:
        super().__init__()
        self.anchors = tuple(anchors)
        self.classes = num_classes
        self.branches = nn.ModuleList(
            conv(count, width, 3) for count, width in zip(channels, widths, strict=True)
        )

        def outputs(values: int) -> nn.ModuleList:
            return nn.ModuleList(
                nn.Conv2d(width, count * values, 1) for width, count in zip(widths, anchors, strict=True)
            )

        self.class_outputs = outputs(num_classes)
        self.box_outputs = outputs(BOX_VALUES)
        self.object_outputs = outputs(1)
        self.expect_little()

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Maps each map to (N, anchors, 4 + 1 + classes, H, W), all before exp and sigmoid."""
        values = []
        for level, (each, count) in enumerate(zip(maps, self.anchors, strict=True)):
            of_map = self.branches[level](each)
            parts = (
                (self.box_outputs[level], BOX_VALUES),
                (self.object_outputs[level], 1),
                (self.class_outputs[level], self.classes),
            )
            # The batch is left to be found: unflatten would write its size into an exported graph.
            size = of_map.shape[2:]
            values.append(
                torch.cat([layer(of_map).reshape(-1, count, width, *size) for layer, width in parts], dim=2)
            )
        return values


class _PartialBlock(nn.Module):
    """Half of a layer's channels pass two more; all are joined, and set beside the layer (CSPOSANet)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.entry = conv(channels, channels, 3)
        self.first = conv(half, half, 3)
        self.second = conv(half, half, 3)
        self.join = conv(channels, channels, 1)

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Maps (N, channels, H, W) to (N, 2 channels, H, W), and its second half."""
        entered = self.entry(inputs)
        first = self.first(entered.chunk(2, dim=1)[1])
        joined = self.join(torch.cat([self.second(first), first], dim=1))
        return torch.cat([entered, joined], dim=1), joined


class CspDarknetTiny(nn.Module):
    """YOLOv4-tiny's backbone: features at strides 16 and 32.

    Attributes:
        channels: of the two maps.
        strides: of the two maps.
    """

    channels = (256, 512)
    strides = (16, 32)

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(conv(3, 32, 3, 2), conv(32, 64, 3, 2))
        self.block1 = _PartialBlock(64)
        self.block2 = _PartialBlock(128)
        self.block3 = _PartialBlock(256)
        self.shrink = nn.MaxPool2d(2)
        self.last = conv(512, 512, 3)

    def forward(self, inputs: Tensor) -> list[Tensor]:
        """Maps normalized images (N, 3, H, W) to two maps; sides must be multiples of 32."""
        values, _ = self.block1(self.stem(inputs))
        values, _ = self.block2(self.shrink(values))
        values, middle = self.block3(self.shrink(values))
        return [middle, self.last(self.shrink(values))]
