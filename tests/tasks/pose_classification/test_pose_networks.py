"""The networks of pose classification: graphs, sizes, streams, published checkpoints, open number of
frames.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from tiny_pose import tiny_spec
from torch import Tensor
from torch.nn import functional

from tao_like.contract.model import Exportable, Prunable
from tao_like.data.skeletons.layouts import LAYOUTS, custom_layout
from tao_like.errors import SpecError
from tao_like.stages.lib.cost import network_cost
from tao_like.stages.lib.graphs.writing import to_onnx
from tao_like.stages.prune.proof import remove_proven
from tao_like.stages.prune.selection import MacsEstimate
from tao_like.stages.prune.units import find_units
from tao_like.tasks.pose_classification.model.blocks import EveryNthFrame, GraphConvolution
from tao_like.tasks.pose_classification.model.build import build_network
from tao_like.tasks.pose_classification.model.classifier import (
    SkeletonClassifier,
    SkeletonClassifierForExport,
    StreamNetwork,
)
from tao_like.tasks.pose_classification.model.graph import directed_partitions, partitions
from tao_like.tasks.pose_classification.model.published import their_name
from tao_like.tasks.pose_classification.spec import LayoutSpec

SMALL = tiny_spec("model.graph_layout=kinect_v1", "model.base_channels=8")


def small(**changes: Any) -> SkeletonClassifier:
    """A tiny network over the 20 joints of a Kinect."""
    return SkeletonClassifier(replace(SMALL.model, **changes), 4)


def size(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


# --- graphs ---


def test_layouts_have_the_published_joints_and_centers() -> None:
    sizes = {name: (len(layout.joints), layout.center) for name, layout in LAYOUTS.items()}
    assert sizes == {
        "nvidia": (34, 0),
        "openpose": (18, 1),
        "human3.6m": (17, 8),
        "ntu-rgb+d": (25, 20),
        "ntu_edge": (24, 2),
        "coco": (17, 0),
        "kinect_v1": (20, 2),
    }


@pytest.mark.parametrize("name", LAYOUTS)
def test_edges_of_a_layout_are_alike_on_the_left_and_on_the_right(name: str) -> None:
    layout = LAYOUTS[name]
    assert layout.pairs
    other = {**dict(layout.pairs), **{right: left for left, right in layout.pairs}}
    edges = {frozenset(edge) for edge in layout.edges}
    mirrored = {frozenset(other.get(joint, joint) for joint in edge) for edge in edges}
    assert mirrored == edges


def test_partitions_are_those_of_the_reference_and_true_distances_fill_the_third() -> None:
    """The numbers of edges were counted in the reference's own matrices."""
    reference = partitions(LAYOUTS["nvidia"], "spatial")
    assert [int((part > 0).sum()) for part in reference] == [34, 62, 8]
    assert [int((part > 0).sum()) for part in partitions(LAYOUTS["nvidia"], "spatial", "true")] == [
        34,
        37,
        33,
    ]
    for strategy, count in (("uniform", 1), ("distance", 2), ("spatial", 3)):
        parts = partitions(LAYOUTS["nvidia"], strategy)
        assert len(parts) == count
        np.testing.assert_allclose(parts.sum(axis=(0, 1)), 1, atol=1e-6)


def test_a_chain_of_three_is_divided_as_by_hand() -> None:
    chain = custom_layout(["a", "b", "c"], [[0, 1], [1, 2]], 0)
    own, away, near = partitions(chain, "spatial", "true")
    third = 1 / 3
    np.testing.assert_allclose(own, np.diag([0.5, third, 0.5]), atol=1e-6)
    # What a joint takes from one farther from the center, and from one nearer to it.
    np.testing.assert_allclose(away, [[0, 0, 0], [0.5, 0, 0], [0, third, 0]], atol=1e-6)
    np.testing.assert_allclose(near, [[0, third, 0], [0, 0, 0.5], [0, 0, 0]], atol=1e-6)
    _, inward, outward = directed_partitions(chain)
    np.testing.assert_allclose(inward, [[0, 1, 0], [0, 0, 1], [0, 0, 0]])
    np.testing.assert_allclose(outward, inward.T)
    assert chain.parents == (0, 0, 1)


@pytest.mark.parametrize(
    ("edges", "center", "words"),
    [
        ([[0, 3]], 0, "not there"),
        ([[0, 1]], 0, "joint 2"),
        ([[0, 1], [1, 2]], 5, "no joint"),
        ([[0]], 0, "two joints"),
    ],
)
def test_a_layout_that_makes_no_skeleton_is_refused(edges: list[list[int]], center: int, words: str) -> None:
    with pytest.raises(SpecError, match=words):
        custom_layout(["a", "b", "c"], edges, center)


# --- networks ---


@pytest.mark.parametrize(
    ("layout", "num_classes", "parameters"),
    [
        ("nvidia", 6, 3_100_938),
        ("ntu-rgb+d", 60, 3_098_832),
        ("openpose", 400, 3_177_140),
        ("coco", 60, 3_088_704),
    ],
)
def test_st_gcn_has_the_size_of_the_reference(layout: str, num_classes: int, parameters: int) -> None:
    assert size(_unfilled(layout, num_classes, "ST-GCN")) == parameters


def test_st_gcn_plus_plus_has_the_published_size() -> None:
    network = _unfilled("ntu-rgb+d", 60, "ST-GCN++")
    backbone = size(network) - size(network.streams["joint"].head)
    # The paper counts the network below the head: 1.39 M.
    assert (backbone, size(network)) == (1_387_724, 1_403_144)


def _unfilled(layout: str, num_classes: int, model_type: str) -> SkeletonClassifier:
    """A network of the published size, without the time that random weights take."""
    model = replace(SMALL.model, graph_layout=layout, model_type=model_type, base_channels=64, num_blocks=10)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.nn.init, "kaiming_uniform_", lambda tensor, **_: tensor)
        return SkeletonClassifier(model, num_classes)


def test_the_graph_convolution_is_the_einsum_of_the_paper() -> None:
    adjacency = np.random.default_rng(0).random((3, 5, 5)).astype(np.float32)
    layer = GraphConvolution(2, 4, adjacency, "importance")
    with torch.no_grad():
        layer.importance.copy_(torch.rand(3, 5, 5))
    values = torch.randn(2, 2, 7, 5)
    kernels = torch.stack([convolution.weight[:, :, 0, 0] for convolution in layer.convolutions])
    biases = torch.stack([convolution.bias for convolution in layer.convolutions])
    each = torch.einsum("kdc,nctv->nkdtv", kernels, values) + biases[None, :, :, None, None]
    expected = torch.einsum("nkctv,kvw->nctw", each, torch.from_numpy(adjacency) * layer.importance)
    torch.testing.assert_close(layer(values), expected, rtol=1e-5, atol=1e-5)


def test_streams_see_joints_bones_and_motion() -> None:
    network = small(
        graph_layout="custom",
        layout=LayoutSpec(["a", "b", "c"], [[0, 1], [1, 2]], 0),
        input_channels=3,
        streams=["joint", "bone_motion"],
        stream_weights=[3.0, 1.0],
        confidence=True,
    )
    joints = torch.zeros(1, 3, 2, 3, 1)
    joints[0, 0, :, :, 0] = torch.tensor([[1.0, 3.0, 7.0], [2.0, 6.0, 7.0]])
    joints[0, 2, :, :, 0] = torch.tensor([[1.0, 0.5, 0.0], [1.0, 1.0, 1.0]])
    bone = network.stream("bone", joints)[0, :, :, :, 0]
    assert bone[0].tolist() == [[0.0, 2.0, 4.0], [0.0, 4.0, 1.0]]
    assert bone[2].tolist() == [[1.0, 0.75, 0.25], [1.0, 1.0, 1.0]]
    motion = network.stream("joint_motion", joints)[0, :, :, :, 0]
    assert motion[0].tolist() == [[1.0, 3.0, 0.0], [0.0, 0.0, 0.0]]
    assert network.stream("bone_motion", joints)[0, 0, :, :, 0].tolist() == [
        [0.0, 2.0, -3.0],
        [0.0, 0.0, 0.0],
    ]
    logits = network.eval()(joints)
    expected = 0.75 * logits[0].softmax(1) + 0.25 * logits[1].softmax(1)
    torch.testing.assert_close(network.probabilities(logits), expected)


def test_an_absent_person_counts_and_all_frames_do() -> None:
    network = small().eval()
    joints = torch.randn(2, 3, 12, 20, 2)
    alone = network(joints[..., :1])[0], network(joints[..., 1:])[0]
    torch.testing.assert_close(network(joints)[0], (alone[0] + alone[1]) / 2)


@pytest.mark.parametrize("model_type", ["ST-GCN", "ST-GCN++"])
def test_an_exported_network_takes_any_batch_and_any_number_of_frames(
    model_type: str, tmp_path: Path
) -> None:
    network = small(model_type=model_type, num_blocks=5, streams=["joint", "bone_motion"])
    module = SkeletonClassifierForExport(network.eval()).eval()
    exportable = Exportable(
        module,
        {"joints": {0: "batch", 2: "frames"}},
        {"probabilities": {0: "batch"}},
        {},
        lambda given: (given["joints"],),
    )
    graph, exporter = to_onnx(exportable, (torch.randn(2, 3, 12, 20, 1),), dynamic=True, opset=18)
    assert exporter == "trace"
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    for batch, frames in ((1, 12), (3, 31), (2, 8)):
        joints = torch.randn(batch, 3, frames, 20, 1)
        (output,) = session.run(None, {"joints": joints.numpy()})
        with torch.no_grad():
            np.testing.assert_allclose(output, module(joints).numpy(), atol=1e-5)


@pytest.mark.parametrize("model_type", ["ST-GCN", "ST-GCN++"])
def test_pruning_reaches_every_convolution_and_foresees_the_products_with_the_graph(model_type: str) -> None:
    network = small(model_type=model_type, base_channels=12, num_blocks=5).eval()
    joints = torch.randn(1, 3, 8, 20, 1)
    products = {
        convolution: 20
        for graph in network.modules()
        if isinstance(graph, GraphConvolution)
        for convolution in graph.convolutions
    }
    prunable = Prunable((joints,), network.heads, constants=network.graph_parameters(), products=products)
    learnt = [parameter.clone() for parameter in network.graph_parameters()]
    units = find_units(network, prunable, granularity=1)
    reached = {share.layer for unit in units for share in unit.shares}
    assert {module for module in network.modules() if isinstance(module, torch.nn.Conv2d)} <= reached
    estimate = MacsEstimate(network, units, prunable.inputs, prunable.products)
    choice = [list(range(unit.size // 2)) for unit in units]
    foreseen = estimate.of(choice)
    assert remove_proven(network, units, choice, prunable.inputs) < 1e-4
    assert network_cost(network, prunable.inputs).macs == pytest.approx(foreseen)
    assert all(map(torch.equal, learnt, network.graph_parameters()))
    assert all(parameter.requires_grad for parameter in network.graph_parameters())


# --- published checkpoints ---

ST_GCN_NAMES = {
    "blocks.0.spatial.convolutions.2.weight": "st_gcn_networks.0.gcn.conv.weight",
    "blocks.4.spatial.importance": "edge_importance.4",
    "blocks.9.temporal.2.weight": "st_gcn_networks.9.tcn.2.weight",
    "blocks.4.residual.1.running_mean": "st_gcn_networks.4.residual.1.running_mean",
    "norm.weight": "data_bn.weight",
    "head.bias": "fcn.bias",
}
PYSKL_NAMES = {
    "blocks.0.spatial.adjacency": "backbone.gcn.0.gcn.A",
    "blocks.0.spatial.convolutions.1.bias": "backbone.gcn.0.gcn.conv.bias",
    "blocks.4.norm.weight": "backbone.gcn.4.gcn.bn.weight",
    "blocks.4.inner.0.weight": "backbone.gcn.4.gcn.down.0.weight",
    "blocks.3.temporal.branches.1.0.weight": "backbone.gcn.3.tcn.branches.1.0.weight",
    "blocks.3.temporal.branches.1.3.weight": "backbone.gcn.3.tcn.branches.1.3.conv.weight",
    "blocks.3.temporal.branches.5.bias": "backbone.gcn.3.tcn.branches.5.bias",
    "blocks.3.temporal.mixing.2.weight": "backbone.gcn.3.tcn.transform.2.weight",
    "blocks.3.temporal.norm.running_var": "backbone.gcn.3.tcn.bn.running_var",
    "blocks.7.residual.0.weight": "backbone.gcn.7.residual.conv.weight",
    "blocks.7.residual.1.bias": "backbone.gcn.7.residual.bn.bias",
    "norm.running_mean": "backbone.data_bn.running_mean",
    "head.weight": "cls_head.fc_cls.weight",
}


@pytest.mark.parametrize(("names", "plus_plus"), [(ST_GCN_NAMES, False), (PYSKL_NAMES, True)])
def test_names_of_published_checkpoints(names: dict[str, str], plus_plus: bool) -> None:
    assert {ours: their_name(ours, plus_plus) for ours in names} == names


def published_form(stream: StreamNetwork, plus_plus: bool) -> dict[str, Tensor]:
    """A network's weights as its project would store them: the kernels of a graph convolution in one."""
    found: dict[str, list[Tensor]] = {}
    for name, tensor in stream.state_dict().items():
        if plus_plus or not name.endswith("adjacency"):
            found.setdefault(their_name(name, plus_plus), []).append(tensor)
    state = {name: torch.cat(tensors) if len(tensors) > 1 else tensors[0] for name, tensors in found.items()}
    if not plus_plus:
        state["A"] = stream.blocks[0].spatial.adjacency
        state["fcn.weight"] = state["fcn.weight"][:, :, None, None]
    return state


@pytest.mark.parametrize("model_type", ["ST-GCN", "ST-GCN++"])
def test_a_published_checkpoint_gives_the_same_answers_and_others_are_refused(
    model_type: str, tmp_path: Path
) -> None:
    words = (f"model.model_type={model_type}", "model.graph_layout=kinect_v1", "model.num_blocks=5")
    words += ("model.base_channels=8",)
    spec = tiny_spec(*words)
    plus_plus = model_type == "ST-GCN++"
    original = SkeletonClassifier(spec.model, 4).eval()
    state = published_form(original.streams["joint"], plus_plus)
    file = tmp_path / "published.pth"
    torch.save({"state_dict": state}, file)
    given = (*words, f"model.pretrained_model_path={file}")
    network, notes = build_network(tiny_spec(*given), list("abcd"), pretrained=True)
    # As many classes may be others, and the file does not name its own.
    head, theirs = network.streams["joint"].head, original.streams["joint"].head
    assert not torch.equal(head.weight, theirs.weight)
    assert "all weights but the last layer's" in notes[0]
    assert "does not name its classes" in notes[0]
    head.load_state_dict(theirs.state_dict())
    joints = torch.randn(2, 3, 12, 20, 1)
    torch.testing.assert_close(network.eval()(joints)[0], original(joints)[0])
    with pytest.raises(SpecError, match=r"model\.pretrained_model_path.*has no parameter"):
        build_network(tiny_spec(*given, "model.num_blocks=4"), list("abcd"), pretrained=True)
    missing = next(name for name in state if "residual" in name and name.endswith("weight"))
    torch.save({name: tensor for name, tensor in state.items() if name != missing}, file)
    with pytest.raises(SpecError, match=f"{missing} is missing"):
        build_network(tiny_spec(*given), list("abcd"), pretrained=True)
    if not plus_plus:
        torch.save(state, file)
        with pytest.raises(SpecError, match="its graph A is another"):
            build_network(tiny_spec(*given, "model.center_distance=true"), list("abcd"), pretrained=True)


@pytest.mark.parametrize("frames", [12, 13])
def test_every_other_frame_is_a_stride_of_two(frames: int) -> None:
    ours = EveryNthFrame(8, 2, 2)
    inputs = torch.randn(2, 8, frames, 5)
    torch.testing.assert_close(
        ours(inputs), functional.conv2d(inputs, ours.weight, ours.bias, stride=(2, 1)), rtol=1e-5, atol=1e-6
    )
