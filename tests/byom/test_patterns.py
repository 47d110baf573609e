"""Operations that an exporter took apart are whole again."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable

import onnx
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tao_like.byom import convert
from tao_like.byom.conversion import Imported
from tao_like.byom.cuts import cut_at
from tao_like.byom.patterns.heads import ImportedAttention
from tao_like.byom.patterns.recognition import attend


def traced(
    module: nn.Module, example: Tensor, opset: int = 11, *, keeps_norms: bool = True
) -> onnx.ModelProto:
    """The module as torch's tracing exporter writes it, in small parts: opset 11 has few whole operations."""
    mode = torch.onnx.TrainingMode.PRESERVE if keeps_norms else torch.onnx.TrainingMode.EVAL
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module.eval(),
            (example,),
            buffer,  # type: ignore[arg-type]
            dynamo=False,
            opset_version=opset,
            input_names=["x"],
            output_names=["y"],
            dynamic_axes={"x": {0: "n"}},
            training=mode,
        )
    return onnx.load_from_string(buffer.getvalue())


class Apply(nn.Module):
    """A function behind a convolution, so that it has something to train."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)
        self.function = function

    def forward(self, values: Tensor) -> Tensor:
        result: Tensor = self.function(self.conv(values))
        return result


def assert_same(imported: Imported, module: nn.Module, example: Tensor) -> None:
    """Both give the same, on a batch of another size, and have as many parameters."""
    given = torch.cat([example, example + 0.3, example * 2])
    with torch.inference_mode():
        torch.testing.assert_close(imported.module(given), module(given), rtol=1e-4, atol=1e-5)
    assert sum(value.numel() for value in imported.module.parameters()) == sum(
        value.numel() for value in module.parameters()
    )


@pytest.mark.parametrize(
    ("function", "call"),
    [
        (functional.gelu, "gelu("),
        (lambda values: functional.gelu(values, approximate="tanh"), "gelu_of_tanh"),
        (functional.silu, "silu_over"),
        (functional.hardswish, "hardswish_over"),
        (functional.mish, "mish"),
        (lambda values: values * (values + 3).clamp(0, 6) / 6, "hardswish"),
        (lambda values: 0.5 * values * (1 + torch.erf(values / 2**0.5)), "gelu("),
    ],
)
def test_an_activation_is_known_by_what_it_computes(function: Callable[[Tensor], Tensor], call: str) -> None:
    module, example = Apply(function), torch.randn(1, 3, 5, 5)
    imported = convert(traced(module, example))
    assert call in imported.module.code
    assert_same(imported, module, example)


@pytest.mark.parametrize(
    "function",
    [
        lambda values: values * torch.sigmoid(1.7 * values),
        lambda values: 0.5 * values * (1 + torch.erf(values)),
        lambda values: values * (values + 2).clamp(0, 6) / 6,
    ],
)
def test_what_only_looks_like_an_activation_is_left_alone(function: Callable[[Tensor], Tensor]) -> None:
    module, example = Apply(function), torch.randn(1, 3, 5, 5)
    imported = convert(traced(module, example))
    assert not any(name in imported.module.code for name in ("gelu", "silu", "hardswish"))
    assert_same(imported, module, example)


class Block(nn.Module):
    """A transformer's block, as in ViT (Dosovitskiy et al. 2020)."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(16), nn.LayerNorm(16)
        self.qkv, self.proj = nn.Linear(16, 48), nn.Linear(16, 16)
        self.mlp = nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 16))

    def forward(self, values: Tensor) -> Tensor:
        count, length, _ = values.shape
        parts = self.qkv(self.norm1(values)).reshape(count, length, 3, 2, 8).permute(2, 0, 3, 1, 4)
        query, key, value = parts.unbind(0)
        weights = ((query @ key.transpose(-2, -1)) * 8**-0.5).softmax(-1)
        values = values + self.proj((weights @ value).transpose(1, 2).reshape(count, length, 16))
        result: Tensor = values + self.mlp(self.norm2(values))
        return result


@pytest.mark.parametrize("opset", [14, 17])
def test_layer_norm_linear_and_attention(opset: int) -> None:
    module, example = Block(), torch.randn(1, 6, 16)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    imported = convert(traced(module, example, opset))
    kinds = [type(part) for part in imported.module.modules()]
    assert kinds.count(nn.LayerNorm) == 2
    assert kinds.count(nn.Linear) == 4
    assert [part.num_heads for part in imported.module.modules() if isinstance(part, ImportedAttention)] == [
        2
    ]
    assert_same(imported, module, example)


def test_group_norm() -> None:
    module, example = nn.Sequential(nn.Conv2d(3, 8, 1), nn.GroupNorm(2, 8)), torch.randn(1, 3, 6, 6)
    with torch.no_grad():
        module[1].weight.uniform_(0.5, 1.5)
        module[1].bias.uniform_(-1, 1)
    imported = convert(traced(module, example))
    assert nn.GroupNorm in [type(part) for part in imported.module.modules()]
    assert_same(imported, module, example)


def test_the_source_may_scale_query_and_keys_apart() -> None:
    """torch writes its own attention so: both are multiplied by the root of the scale, from their width."""

    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.qkv = nn.Linear(16, 48)

        def forward(self, values: Tensor) -> Tensor:
            parts = self.qkv(values).reshape(values.shape[0], values.shape[1], 3, 2, 8).permute(2, 0, 3, 1, 4)
            return functional.scaled_dot_product_attention(*parts.unbind(0))

    module, example = Attention(), torch.randn(1, 6, 16)
    imported = convert(traced(module, example, 17))
    assert "attend" in imported.module.code
    assert "mul" not in imported.module.code
    assert_same(imported, module, example)


@pytest.mark.parametrize(("width", "trained"), [(8, False), (8, True), (5, False)])
def test_attention_is_the_same_with_and_without_a_fused_kernel(width: int, trained: bool) -> None:
    query, key, value = torch.randn(2, 3, 4, 8), torch.randn(2, 3, 6, 8), torch.randn(2, 3, 6, width)
    mask = torch.randn(3, 4, 6, requires_grad=trained)
    given = attend(query, key.transpose(-2, -1), value, mask, 0.25, [2.0])
    expected = torch.softmax(query @ key.transpose(-2, -1) * 0.5 + mask, -1) @ value
    torch.testing.assert_close(given, expected, rtol=1e-4, atol=1e-6)


class Residual(nn.Module):
    """Layers whose results one user, or two, take."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, values: Tensor) -> Tensor:
        before = self.first(values)
        inner = self.second(functional.relu(before))
        result: Tensor = functional.silu(inner + before)
        return result


def test_only_what_nobody_else_needs_is_written_over() -> None:
    module, example = Residual(), torch.randn(1, 3, 6, 6)
    imported = convert(traced(module, example, 17))
    code = imported.module.code
    # The first relu's input is added later: it stays. The sum is written over the second layer's result.
    assert "+=" in code or "iadd" in code
    assert "silu_over" in code
    assert "inplace" not in code
    assert_same(imported, module, example)
    given = torch.randn(2, 3, 6, 6)
    for network in (module, imported.module):
        network.train()(given).square().sum().backward()
    torch.testing.assert_close(imported.module.first.weight.grad, module.first.weight.grad)
    unchanged = given.clone()
    imported.module(given)
    assert torch.equal(given, unchanged)


def test_a_cut_before_an_activation_gives_what_the_layer_gave() -> None:
    module, example = nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU()), torch.randn(1, 3, 4, 4)
    imported = convert(traced(module, example, 17))
    assert "inplace" in imported.module.code
    before = next(name for name, node in imported.value_nodes.items() if node.op == "call_module")
    cut = cut_at(imported, [before, "y"])
    with torch.inference_mode():
        first, second = cut(example)
        assert torch.equal(first, module[0](example))
        assert torch.equal(second, module(example))
