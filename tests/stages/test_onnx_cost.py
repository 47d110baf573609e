"""Parameters and MACs of ONNX graphs: by hand, and against what torch counts."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from onnx_graphs import graph, node, weights
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from tao_like.contract.task import Exportable
from tao_like.errors import ConversionError
from tao_like.networks.backbones.build import create_backbone
from tao_like.stages.lib.cost import network_cost
from tao_like.stages.lib.graphs.cost import graph_cost
from tao_like.stages.lib.graphs.folding import folded
from tao_like.stages.lib.graphs.writing import to_onnx
from tao_like.stages.quantize.convert import to_int8, watched_tensors
from tao_like.stages.quantize.plan import make_plan
from tao_like.tasks.classification.model import ClassificationNetwork, ClassifierForExport


def test_convolutions_by_hand() -> None:
    model = graph(
        [
            node("Conv", "x full", "a", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
            node("Conv", "a grouped bias", "b", kernel_shape=[3, 3], group=8, pads=[1, 1, 1, 1]),
            node("ConvTranspose", "b wider", "c", kernel_shape=[2, 2], strides=[2, 2]),
        ],
        {"x": ["n", 3, 32, 32]},
        ["c"],
        {
            "full": weights(8, 3, 3, 3),
            "grouped": weights(8, 1, 3, 3),
            "bias": weights(8),
            "wider": weights(8, 5, 2, 2),
        },
    )
    cost = graph_cost(model)
    # 8 x 16 x 16 outputs of 27; the same number of 9; each of 8 x 16 x 16 inputs goes to 5 x 2 x 2 outputs.
    assert cost.macs == 2048 * 27 + 2048 * 9 + 2048 * 20
    assert cost.parameters == 216 + 72 + 160


def test_matrix_products_by_hand() -> None:
    model = graph(
        [
            node("Gemm", "x tall bias", "a", transB=1),
            node("Gemm", "square a", "b", transA=1),
            node("MatMul", "b flat", "c"),
        ],
        {"x": ["n", 10]},
        ["c"],
        {"tall": weights(4, 10), "bias": weights(4), "square": weights(1, 6), "flat": weights(4, 3)},
    )
    # The first axis is the batch, of which one is counted.
    assert graph_cost(model).macs == 1 * 4 * 10 + 6 * 4 * 1 + 6 * 3 * 4
    assert graph_cost(model).parameters == 40 + 6 + 12


def test_of_a_fixed_batch_one_sample_is_counted() -> None:
    resized = node("Resize", "x", "wide", mode="nearest")
    resized.input[:] = ["x", "", "", "sizes"]
    model = graph(
        [resized, node("Conv", "wide kernel", "y")],
        {"x": [2, 3, 4, 4]},
        ["y"],
        {"sizes": np.array([2, 3, 8, 8], np.int64), "kernel": weights(5, 3, 1, 1)},
    )
    assert graph_cost(model).macs == 8 * 8 * 5 * 3


def test_products_of_computed_tensors_cost_and_hold_nothing() -> None:
    model = graph(
        [node("Transpose", "x", "turned", perm=[0, 1, 3, 2]), node("MatMul", "x turned", "y")],
        {"x": ["n", 2, 5, 8]},
        ["y"],
        {},
    )
    assert graph_cost(model).macs == 2 * 5 * 5 * 8
    assert graph_cost(model).parameters == 0


def test_a_kernel_used_twice_counts_once() -> None:
    model = graph(
        [node("MatMul", "x w", "a"), node("MatMul", "a w", "b")], {"x": ["n", 6]}, ["b"], {"w": weights(6, 6)}
    )
    assert graph_cost(model).macs == 72
    assert graph_cost(model).parameters == 36


def test_sizes_that_depend_on_the_data_are_an_error_that_names_the_operator() -> None:
    model = graph(
        [node("NonZero", "x", "places"), node("Cast", "places", "p", to=1), node("MatMul", "p w", "y")],
        {"x": ["n", 4]},
        ["y"],
        {"w": weights(4, 2)},
    )
    with pytest.raises(ConversionError, match="make_y"):
        graph_cost(model)


def exported(name: str, side: int = 64) -> tuple[nn.Module, onnx.ModelProto, torch.Tensor]:
    """A network with ten classes, its graph, and one input."""
    torch.manual_seed(0)
    backbone = create_backbone(name, num_classes=10, img_size=side, drop_rate=0.0, drop_path_rate=0.0)
    for module in backbone.modules():
        # timm starts some norm layers at zero, and the exporter joins kernels that are equal.
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
    module = ClassifierForExport(ClassificationNetwork(backbone, (0.5,) * 3, (0.5,) * 3), "uint8_nhwc", False)
    example = torch.randint(0, 256, (2, side, side, 3), dtype=torch.uint8)
    shape = Exportable(module.eval(), {"image": {0: "n"}}, {"p": {0: "n"}}, {}, lambda given: (given,))
    return module, to_onnx(shape, (example,), dynamic=True, opset=18)[0], example[:1]


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("resnet18", marks=pytest.mark.acceptance),
        "vit_tiny_patch16_224",
        "tf_efficientnet_lite0",
    ],
)
def test_a_network_its_graph_and_its_int8_form_cost_what_torch_counts(name: str) -> None:
    module, model, example = exported(name)
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), counter:
        module(example)
    kernels = sum(part.weight.numel() for part in module.modules() if isinstance(part, nn.Conv2d | nn.Linear))
    cost = graph_cost(model)
    assert cost.macs == counter.get_total_flops() // 2
    assert cost.parameters == kernels
    assert network_cost(module, (example,)) == cost
    graph = folded(model)
    plan = make_plan(graph, [], {})
    ranges = dict.fromkeys(watched_tensors(graph, plan), (-1.0, 1.0))
    assert graph_cost(to_int8(graph, plan, ranges, reduce_range=False)) == cost


def test_resnet_18_has_its_known_cost() -> None:
    module = create_backbone("resnet18", num_classes=1000, img_size=224, drop_rate=0.0, drop_path_rate=0.0)
    # As torchvision's table of weights has it; with biases and norm layers it has 11.69 million parameters.
    cost = network_cost(module, (torch.zeros(1, 3, 224, 224),))
    assert cost.macs == pytest.approx(1.814e9, rel=1e-3)
    assert cost.parameters == pytest.approx(11.69e6, rel=1e-3)
