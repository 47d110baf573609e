"""What weight decay leaves alone in an imported network: what it leaves alone in the network that it was."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from foreign import model, random_tensor, saved, tensor
from onnx import helper
from test_patterns import traced
from test_transformers import SWIN, VIT
from tiny_classification import tiny_spec
from torch import nn

from tao_like.byom import convert
from tao_like.byom.importing import import_file, to_bundle
from tao_like.networks.imported.backbone import build_imported
from tao_like.stages.train.setup.optim import parameter_groups

# isort: split
import timm

CNN: dict[str, Any] = {}


def values_by_decay(network: nn.Module) -> dict[float, int]:
    """How many numbers train with each weight decay."""
    spec = tiny_spec("train.optim.weight_decay=0.1").train.optim
    phase: Any = SimpleNamespace(backbone=lambda model: [])
    found = {0.0: 0, 0.1: 0}
    for group in parameter_groups(phase, network, spec):
        found[group["weight_decay"]] += sum(parameter.numel() for parameter in group["params"])
    return found


def moved(network: nn.Module) -> nn.Module:
    """A network without the zeros and ones of its start, which exporters leave out."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return network


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("vit_tiny_patch16_224", VIT),
        ("deit_tiny_distilled_patch16_224", VIT),
        ("swin_tiny_patch4_window7_224", SWIN),
        ("vit_base_patch16_clip_224", VIT),
        ("test_resnet", CNN),
        ("test_convnext", CNN),
    ],
)
def test_as_much_is_decayed_as_in_timms_network(name: str, sizes: dict[str, Any]) -> None:
    network = moved(timm.create_model(name, num_classes=5, **sizes))
    imported = convert(traced(network, torch.rand(2, 3, 32, 32), 17))
    expected = values_by_decay(network)
    assert min(expected.values()) > 0
    assert values_by_decay(imported.module) == expected


def test_it_stays_so_in_the_network_that_a_task_trains(tmp_path: Path) -> None:
    sizes: dict[str, Any] = VIT
    network = moved(timm.create_model("vit_tiny_patch16_224", num_classes=2, **sizes))
    path = saved(traced(network, torch.rand(2, 3, 32, 32), 17), tmp_path / "model.onnx")
    bundle = to_bundle(import_file(path), classes=[])
    assert bundle.graph is not None
    imported = build_imported(bundle.graph, bundle.extra, bundle.weights, num_classes=2, img_size=32)
    assert values_by_decay(imported) == values_by_decay(network)


def test_tables_are_known_by_what_becomes_of_them() -> None:
    """Names tell nothing: a table of positions that is looked up, one of words, a token, channel scales."""
    node = helper.make_node
    nodes = [
        node("Gather", ["a", "ids"], ["words"], axis=0),
        node("Shape", ["ids"], ["shape"]),
        node("Gather", ["shape", "one"], ["length"], axis=0),
        node("Range", ["zero", "length", "one"], ["numbers"]),
        node("Gather", ["b", "numbers"], ["positions"], axis=0),
        node("Add", ["words", "positions"], ["sum"]),
        node("Gather", ["shape", "zero"], ["n"], axis=0),
        node("Unsqueeze", ["n", "first"], ["n1"]),
        node("Concat", ["n1", "ones"], ["wanted"], axis=0),
        node("Expand", ["c", "wanted"], ["tokens"]),
        node("Concat", ["tokens", "sum"], ["all"], axis=1),
        node("Mul", ["all", "d"], ["scaled"]),
        node("MatMul", ["scaled", "e"], ["y"]),
    ]
    constants = [
        *(random_tensor("a", 9, 6), random_tensor("b", 7, 6), random_tensor("c", 1, 1, 6)),
        *(random_tensor("d", 1, 1, 6), random_tensor("e", 6, 2)),
        *(tensor("one", 1, np.int64), tensor("zero", 0, np.int64), tensor("first", [0], np.int64)),
        tensor("ones", [1, 1], np.int64),
    ]
    proto = model(nodes, {}, ["y"], constants)
    ids = helper.make_tensor_value_info("ids", onnx.TensorProto.INT64, ["n", "length"])
    proto.graph.input.append(ids)
    imported = convert(proto)
    assert imported.module(torch.tensor([[3, 1, 8]])).shape == (1, 4, 2)
    assert values_by_decay(imported.module) == {0.0: 7 * 6 + 6 + 6, 0.1: 9 * 6 + 6 * 2}
