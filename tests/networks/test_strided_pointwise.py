"""The guard against gradients that write beyond their memory; what might die has a process of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from processes import exit_code_of
from sample_images import write_class_folders
from tiny_classification import data_overrides, run
from torch import Tensor, nn
from torch.nn import functional

from tao_like.networks.strided_pointwise import is_in_danger, safe_gradients


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (nn.Conv2d(8, 16, 1, 2), True),
        (nn.Conv2d(15, 16, 1, (2, 1)), True),
        (nn.Conv2d(32, 32, 1, 2, groups=4), True),
        (nn.Conv2d(16, 16, 1, 2), False),
        (nn.Conv2d(8, 16, 1), False),
        (nn.Conv2d(8, 16, 3, 2), False),
        (nn.Conv2d(8, 16, (1, 3), 2), False),
        (nn.Linear(8, 16), False),
    ],
)
def test_layers_in_danger_have_one_pixel_a_stride_and_few_channels(layer: nn.Module, expected: bool) -> None:
    assert is_in_danger(layer) == expected


def test_a_layer_in_danger_sees_channel_by_channel_and_gives_the_same() -> None:
    seen: list[tuple[bool, bool]] = []

    class Watched(nn.Conv2d):
        def forward(self, inputs: Tensor) -> Tensor:
            lie_together = torch.channels_last
            seen.append(
                (
                    inputs.is_contiguous(memory_format=lie_together),
                    # The strides of axes of one value say which layout torch takes a weight to have.
                    self.weight.stride()[2] == self.weight.shape[1],
                )
            )
            return super().forward(inputs)

    torch.manual_seed(0)
    layers = nn.Sequential(Watched(3, 8, 3, padding=1), Watched(8, 4, 1, 2))
    network = layers.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    pixels = torch.randn(2, 3, 10, 12)
    wanted = functional.conv2d(network[0](pixels), network[1].weight, network[1].bias, stride=2)
    seen.clear()
    with safe_gradients(network):
        torch.testing.assert_close(network(pixels), wanted, rtol=1e-5, atol=1e-6)
    assert seen[1] == (False, False)
    assert not network[1]._forward_pre_hooks


def train_narrow(folder: Path) -> None:
    """Trains a ResNet whose second stage begins with 8 channels, 56 x 56 places and a stride of 2."""
    from tao_like.networks.backbones.build import timm

    torch.set_num_threads(1)
    resnet = timm.models.resnet
    create = resnet._create_resnet
    narrow = {"block": resnet.BasicBlock, "channels": (8, 16, 16, 16), "avg_down": False}
    resnet._create_resnet = lambda name, pretrained, **given: create(name, pretrained, **{**given, **narrow})
    settings = ("dataset.img_size=224", "dataset.batch_size=4", "train.num_epochs=2")
    run("train", folder / "results", *data_overrides(folder / "data"), *settings)


def test_a_training_of_such_a_network_lives(tmp_path: Path) -> None:
    write_class_folders(tmp_path / "data", {"train": 8, "val": 2, "test": 2})
    assert exit_code_of(train_narrow, tmp_path) == 0
