"""What trains in an imported network is what trained in the one that was exported."""

from __future__ import annotations

import pytest
import torch
from test_patterns import assert_same, traced
from torch import Tensor, nn

from tao_like.byom import convert
from tao_like.byom.building.tables import shared_values
from tao_like.networks import _torchvision  # noqa: F401

# isort: split
import timm

SMALL = {
    "vit_tiny_patch16_224": {"img_size": 32, "embed_dim": 24, "depth": 1, "num_heads": 2},
    "swin_tiny_patch4_window7_224": {
        "img_size": 56,
        "embed_dim": 12,
        "depths": (2, 1),
        "num_heads": (2, 3),
    },
    "levit_128s": {"img_size": 64, "embed_dim": (32, 48), "num_heads": (2, 2), "depth": (1, 1)},
    "xcit_nano_12_p16_224": {"img_size": 32, "embed_dim": 32, "depth": 1, "num_heads": 2},
    "edgenext_xx_small": {"dims": (8, 16, 24, 32), "depths": (1, 1, 1, 1)},
}


def sums(tensors: dict[str, Tensor]) -> list[tuple[int, float, float]]:
    """Size, sum and sum of squares of each tensor: turned or reshaped it keeps them."""
    return sorted(
        (
            value.numel(),
            round(float(value.detach().double().sum()), 3),
            round(float(value.detach().double().square().sum()), 3),
        )
        for value in tensors.values()
    )


@pytest.mark.parametrize("name", SMALL)
def test_the_parameters_are_those_of_timms_network(name: str) -> None:
    torch.manual_seed(0)
    native = timm.create_model(name, num_classes=3, **SMALL[name]).eval()
    with torch.no_grad():
        for parameter in native.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.02)
    side = SMALL[name].get("img_size", 64)
    example = torch.randn(1, 3, side, side)
    imported = convert(traced(native, example, opset=17))
    assert_same(imported, native, example)
    assert sums(dict(imported.module.named_parameters())) == sums(dict(native.named_parameters()))


def test_positions_with_the_same_offset_stay_one_value() -> None:
    offsets = torch.arange(5)[:, None] - torch.arange(5)[None] + 4
    table = torch.randn(2, 9)
    module = shared_values(table[:, offsets])
    assert module is not None
    torch.testing.assert_close(module(), table[:, offsets])
    assert sorted(module.table[0].tolist()) == sorted(table[0].tolist())
    module().sum().backward()
    # The offset 0 stands at five positions, 4 at one.
    counts = dict(zip(module.table[0].tolist(), module.table.grad[0].tolist(), strict=True))
    assert (counts[float(table[0, 4])], counts[float(table[0, 8])]) == (5, 1)


@pytest.mark.parametrize(
    "tensor",
    [torch.randn(2, 5, 5), torch.zeros(2, 5, 5), torch.randn(5, 5), torch.randn(1, 99, 400).half().float()],
)
def test_a_tensor_of_its_own_values_stays_whole(tensor: Tensor) -> None:
    assert shared_values(tensor) is None


class SinesOfPlaces(nn.Module):
    """Sines of positions with a ladder of wave lengths (Vaswani et al. 2017), scaled by a trained vector."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 8)
        self.scale = nn.Parameter(torch.rand(8) + 0.5)
        self.register_buffer("lengths", 10000.0 ** (torch.arange(8) // 2 / 4))

    def forward(self, values: Tensor) -> Tensor:
        positions = torch.arange(values.shape[1]).float()[:, None] / self.lengths
        result: Tensor = (self.linear(values) + positions.sin()) * self.scale
        return result


def test_what_scales_positions_does_not_train() -> None:
    module, example = SinesOfPlaces(), torch.randn(1, 6, 8)
    proto = traced(module, example, opset=17)
    imported = convert(proto)
    assert_same(imported, module, example)
    roles = [use.role for use in imported.uses]
    assert roles.count("grid") == 1
    assert roles.count("affine weight") == 1
