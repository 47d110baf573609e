"""The classification network: normalization, a timm backbone, and the forms of it that ship."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from tao_like.networks.backbones.build import head_prefixes
from tao_like.networks.freezing import freeze
from tao_like.networks.normalize import Normalize

HEAD_STD = 0.01
"""Standard deviation of a new head's weights, as in torchvision's and Caffe's linear classifiers."""


class ClassificationNetwork(nn.Module):
    """A timm network whose input is pixels."""

    def __init__(self, backbone: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.normalise = Normalize(mean, std)
        self.backbone = backbone

    def forward(self, pixels: Tensor) -> Tensor:
        """Maps pixels (N, 3, H, W), 0 to 255, to logits (N, classes)."""
        logits: Tensor = self.backbone(self.normalise(pixels))
        return logits

    @property
    def head(self) -> list[nn.Module]:
        """The classifier's layers on top of the backbone: one, or two in networks made by distillation."""
        return [self.backbone.get_submodule(name) for name in head_prefixes(self.backbone)]

    def start_head_small(self) -> None:
        """Weights of the classifier near zero, so that a new head starts undecided.

        timm's own start is made for a thousand classes: with two, EfficientNet's first loss is near 10
        instead of ln 2, and its first gradients harm the pretrained weights below.
        """
        for part in self.head:
            for name, parameter in part.named_parameters():
                if name.endswith("weight") and parameter.ndim > 1:
                    nn.init.normal_(parameter, std=HEAD_STD)
                elif name.endswith("bias"):
                    nn.init.zeros_(parameter)

    def freeze_below_head(self) -> None:
        """Leaves nothing but the classifier to be trained."""
        head = {module for part in self.head for module in part.modules()}
        for module in self.backbone.modules():
            if not head & set(module.modules()):
                freeze(module)
            elif module not in head:
                for parameter in module.parameters(recurse=False):
                    parameter.requires_grad_(False)


class ClassifierForExport(nn.Module):
    """What is exported: a preprocessed image in, probabilities out.

    Args:
        network: the trained network.
        input_format: ``uint8_nhwc``: pixels (N, H, W, 3) as they are; ``float_nchw``: (N, 3, H, W),
            normalized by the caller.
        multi_label: a sigmoid for each class instead of a softmax over all.
    """

    def __init__(self, network: ClassificationNetwork, input_format: str, multi_label: bool) -> None:
        super().__init__()
        self.network = network
        self.input_format = input_format
        self.multi_label = multi_label

    def forward(self, image: Tensor) -> Tensor:
        """Maps the input to probabilities (N, classes)."""
        if self.input_format == "uint8_nhwc":
            logits = self.network(image.permute(0, 3, 1, 2))
        else:
            logits = self.network.backbone(image)
        return logits.sigmoid() if self.multi_label else logits.softmax(dim=1)
