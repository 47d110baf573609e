"""Features of a timm backbone at several strides, for networks that look for objects of all sizes."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from tao_like.errors import SpecError
from tao_like.networks.backbones.names import TYPE_KEY

STRIDES = (8, 16, 32)
_MEMBERS = ("forward_intermediates", "prune_intermediate_layers", "feature_info")


class BackbonePyramid(nn.Module):
    """A backbone's features at strides 8, 16 and 32, or others.

    The backbone is a classification network of timm's, under its own parameter names, so that weights for
    it load before this wraps it. Layers behind the last feature are taken out.

    A network with one resolution throughout (a plain vision transformer) gets a simple feature pyramid
    (Li et al. 2022, "Exploring Plain Vision Transformer Backbones for Object Detection"): its last features
    enlarged by a transposed convolution, as they are, and shrunk by max pooling.

    Args:
        backbone: as ``create_backbone`` makes it.
        name: of the backbone, for messages.
        size: height and width of the input, in pixels, on which strides are measured.
        strides: of the maps, fine to coarse.

    Raises:
        SpecError: the backbone does not give such features.
    """

    def __init__(
        self, backbone: nn.Module, name: str, size: tuple[int, int], strides: tuple[int, ...] = STRIDES
    ) -> None:
        super().__init__()
        if not all(hasattr(backbone, member) for member in _MEMBERS):
            raise SpecError(
                f"{TYPE_KEY}: {name} gives no features of its inner layers; take another backbone"
            )
        self.backbone = backbone
        found = _measure(backbone, size, name)
        by_stride = {stride: (index, channels) for index, (stride, channels) in enumerate(found)}
        self.is_plain = len(by_stride) == 1 and strides == STRIDES
        if self.is_plain:
            (stride, (index, channels)) = next(iter(by_stride.items()))
            if stride not in (14, 16):
                raise SpecError(f"{TYPE_KEY}: {name} has features at stride {stride} alone; 16 is needed")
            self.indices = [index]
            self.enlarge: nn.Module = nn.ConvTranspose2d(channels, channels // 2, 2, stride=2)
            self.shrink: nn.Module = nn.MaxPool2d(2)
            self.channels: tuple[int, ...] = (channels // 2, channels, channels)
            self.strides: tuple[float, ...] = (stride / 2, stride, stride * 2)
        else:
            lacking = [stride for stride in strides if stride not in by_stride]
            if lacking:
                raise SpecError(
                    f"{TYPE_KEY}: {name} has features at strides {sorted(by_stride)}, not at {lacking}; take "
                    f"a backbone with strides {', '.join(map(str, strides))}, such as resnet50"
                )
            self.indices = [by_stride[stride][0] for stride in strides]
            self.channels = tuple(by_stride[stride][1] for stride in strides)
            self.strides = strides
        prune: Callable[..., object] = backbone.prune_intermediate_layers  # type: ignore[assignment]
        prune(self.indices, prune_norm=True, prune_head=True)

    def forward(self, inputs: Tensor) -> list[Tensor]:
        """Maps normalized images (N, 3, H, W) to maps (N, channels, H / stride, W / stride)."""
        features: list[Tensor] = self.backbone.forward_intermediates(  # type: ignore[operator]
            inputs, indices=self.indices, intermediates_only=True
        )
        if not self.is_plain:
            return list(features)
        (middle,) = features
        return [self.enlarge(middle), middle, self.shrink(middle)]


def _measure(backbone: nn.Module, size: tuple[int, int], name: str) -> list[tuple[int, int]]:
    """Stride and channels of each feature map; of equal strides the last one counts."""
    height, width = size
    training = backbone.training
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        features: Sequence[Tensor] = backbone.eval().forward_intermediates(  # type: ignore[operator]
            torch.zeros(1, 3, height, width), intermediates_only=True
        )
    backbone.train(training)
    if any(feature.ndim != 4 for feature in features):
        raise SpecError(f"{TYPE_KEY}: the features of {name} are no maps; take another backbone")
    return [(round(width / feature.shape[3]), feature.shape[1]) for feature in features]
