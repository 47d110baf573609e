"""The network's sizes, its parts by hand, and its exported form."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from tiny_pointpillars import TINY
from torch import nn

from tao_like.config import load_spec
from tao_like.errors import BundleError, SpecError
from tao_like.runtime.geometry.boxes3d import bev_iou, keep_best
from tao_like.runtime.predictions.boxes3d import Selection3d, select
from tao_like.stages.lib.graphs.writing import to_onnx
from tao_like.tasks.pointpillars.assignment import BACKGROUND, IGNORED, assign
from tao_like.tasks.pointpillars.data.dataset import FrameTargets
from tao_like.tasks.pointpillars.losses import detection_losses, focal
from tao_like.tasks.pointpillars.model.anchors import (
    decode,
    encode,
    half_turns,
    make_anchors,
    pointed,
)
from tao_like.tasks.pointpillars.model.build import make_network
from tao_like.tasks.pointpillars.model.detector import PointPillars
from tao_like.tasks.pointpillars.model.for_export import selected
from tao_like.tasks.pointpillars.model.openpcdet import load_openpcdet
from tao_like.tasks.pointpillars.model.pillars import Grid, PillarFeatures
from tao_like.tasks.pointpillars.model.suppression import iou_with_one, suppress
from tao_like.tasks.pointpillars.spec import Spec
from tao_like.tasks.pointpillars.spec_blocks.model import AnchorSpec
from tao_like.tasks.pointpillars.task import PointPillarsTask

CELLS = (216, 248)
KITTI = (0.0, -39.68, -3.0, 69.12, 39.68, 1.0)


def tiny(*overrides: str) -> Spec:
    spec: Spec = load_spec(Spec, None, [*TINY, *overrides]).spec
    return spec


def points(count: int = 400, seed: int = 0) -> torch.Tensor:
    generator = np.random.default_rng(seed)
    values = generator.uniform((0, 0, -20, -3, 0), (0, 41, 20, 1, 1), (count, 5))
    return torch.from_numpy(values.astype(np.float32))


# --- sizes ---


def test_the_network_of_kitti_has_the_published_size() -> None:
    network = make_network(Spec())
    assert sum(parameter.numel() for parameter in network.parameters()) == 4_834_888
    assert network.anchors.shape == (CELLS[0] * CELLS[1], 6, 7)
    assert network.anchors.shape[0] * 6 == 321_408


def test_anchors_stand_from_border_to_border_or_in_the_middle_of_cells() -> None:
    (edge,) = make_anchors([AnchorSpec(anchor_rotations=[0.0])], KITTI, CELLS).reshape(1, 248, 216, 7)
    assert edge[0, 0] == pytest.approx([0, -39.68, -1.0, 3.9, 1.6, 1.56, 0])
    assert edge[1, 1, :2] == pytest.approx([0.32148837, -39.68 + 0.32129555], abs=1e-5)
    assert edge[-1, -1, :2] == pytest.approx([69.12, 39.68])
    (middle,) = make_anchors([AnchorSpec(anchor_rotations=[0.0], align_center=True)], KITTI, CELLS).reshape(
        1, 248, 216, 7
    )
    assert middle[0, 0, :2] == pytest.approx([0.16, -39.52])
    assert middle[0, 1, 0] - middle[0, 0, 0] == pytest.approx(0.32)


# --- pillars ---


def test_features_of_a_pillar_by_hand() -> None:
    """Two points in one pillar, one in another, one outside; the linear layer shows what it is given."""
    grid = Grid((0.0, 0.0, -1.0), (1.0, 1.0, 2.0), (3, 2))
    layer = PillarFeatures(grid, 10, use_norm=False)
    with torch.no_grad():
        layer.linear.weight.copy_(torch.eye(10))
        layer.linear.bias.zero_()
    given = torch.tensor(
        [[0, 1.2, 0.5, 0.4, 0.9], [0, 1.6, 0.1, 0.0, 0.3], [0, 2.5, 1.5, 0.0, 0.2], [0, 5.0, 0.0, 0.0, 1.0]]
    )
    canvas = layer(given, 1)
    assert canvas.shape == (1, 10, 2, 3)
    mean = np.array([1.4, 0.3, 0.2])
    rows = []
    for point in given[:2].numpy():
        xyz = point[1:4]
        rows.append([*point[1:], *(xyz - mean), *(xyz - np.array([1.5, 0.5, 0.0]))])
    wanted = np.maximum(np.array(rows), 0).max(axis=0)
    assert canvas[0, :, 0, 1].detach().numpy() == pytest.approx(wanted, abs=1e-6)
    # The only point of its pillar is its mean, and stands at the pillar's center.
    assert canvas[0, :, 1, 2].detach().numpy() == pytest.approx(
        [2.5, 1.5, 0, 0.2, 0, 0, 0, 0, 0, 0], abs=1e-6
    )
    assert canvas[0].abs().sum(dim=0).count_nonzero() == 2


def padded_features(layer: PillarFeatures, frame: torch.Tensor) -> np.ndarray:
    """The same by padding: every pillar gets 32 rows, those beyond its points zero before the layer."""
    width, height = layer.grid.count
    canvas = np.zeros((layer.channels, height, width), np.float32)
    cells = torch.floor((frame[:, 1:4] - torch.tensor(layer.grid.low)) / torch.tensor(layer.grid.size)).int()
    for cell in cells.unique(dim=0).tolist():
        mine = frame[(cells == torch.tensor(cell)).all(dim=1), 1:]
        center = torch.tensor(layer.grid.low) + (torch.tensor(cell) + 0.5) * torch.tensor(layer.grid.size)
        rows = torch.zeros(32, 10)
        xyz = mine[:, :3]
        rows[: len(mine)] = torch.cat([mine, xyz - xyz.mean(dim=0), xyz - center], dim=1)
        values = torch.relu(layer.norm(layer.linear(rows)))  # type: ignore[misc]
        canvas[:, cell[1], cell[0]] = values.max(dim=0).values.detach().numpy()
    return canvas


def test_the_constant_of_padded_rows_is_what_padding_gives() -> None:
    torch.manual_seed(0)
    grid = Grid((0.0, 0.0, -1.0), (1.0, 1.0, 2.0), (6, 5))
    layer = PillarFeatures(grid, 12, padded_row_constant=True).eval()
    assert isinstance(layer.norm, nn.BatchNorm1d)
    with torch.no_grad():
        for tensor in (layer.norm.running_mean, layer.norm.bias):
            tensor.normal_()  # type: ignore[union-attr]
    generator = np.random.default_rng(0)
    frame = torch.from_numpy(generator.uniform((0, 0, 0, -1, 0), (0, 6, 5, 1, 1), (80, 5)).astype(np.float32))
    wanted = padded_features(layer, frame)
    assert layer(frame, 1)[0].detach().numpy() == pytest.approx(wanted, abs=1e-5)
    layer.padded_row_constant = False
    assert np.abs(layer(frame, 1)[0].detach().numpy() - wanted).max() > 0.1


def test_frames_of_a_batch_do_not_mix() -> None:
    network = make_network(tiny()).eval()
    one, other = points(seed=1), points(300, seed=2)
    other[:, 0] = 1
    together = network(torch.cat([one, other]), 2)
    for number, alone in enumerate((one, other)):
        alone[:, 0] = 0
        for expected, actual in zip(network(alone, 1), together, strict=True):
            assert torch.allclose(expected[0], actual[number], atol=1e-5)


def test_training_takes_frames_without_points_and_without_objects() -> None:
    spec = tiny()
    network = make_network(spec).train()
    for frame in (points(0), points(1), points(50)):
        values = network(frame, 2)
        nothing = FrameTargets([torch.empty(0, 7)] * 2, [torch.empty(0, dtype=torch.int64)] * 2, [])
        losses = detection_losses(network, values, nothing, spec.model.dense_head)
        assert all(torch.isfinite(value) for value in losses.values())
        sum(losses.values()).backward()  # type: ignore[union-attr]


# --- boxes ---


def test_codes_come_back_as_boxes() -> None:
    person = AnchorSpec(anchor_sizes=[[0.8, 0.6, 1.73]], anchor_bottom_heights=[-0.6])
    anchors = make_anchors([AnchorSpec(), person], KITTI, (4, 3))
    random = torch.Generator().manual_seed(0)
    boxes = anchors + 0.3 * torch.rand(anchors.shape, generator=random)
    codes = encode(boxes, anchors)
    again = decode(codes[None], anchors[:, :1, :2], anchors[0, :, 2:])[0]
    assert torch.allclose(again, boxes, atol=1e-5)
    # By hand: a car's diagonal is hypot(3.9, 1.6).
    shifted = anchors[0, 0].clone()
    shifted[0] += 1
    shifted[3] *= math.e
    code = encode(shifted, anchors[0, 0])
    assert code.tolist() == pytest.approx([1 / math.hypot(3.9, 1.6), 0, 0, 1, 0, 0, 0], abs=1e-6)


def test_directions_turn_angles_into_their_half() -> None:
    angles = torch.linspace(-math.pi + 0.01, math.pi - 0.01, 200)
    halves = half_turns(angles, 0.78539)
    assert halves[(angles > 0.79) & (angles < 3.1)].eq(0).all()
    assert halves[(angles > -2.3) & (angles < 0.78)].eq(1).all()
    # Whatever half turn an angle is off by, the class brings it back.
    for off in (0, math.pi, -math.pi):
        turned = pointed(angles + off, halves, 0.78539)
        assert torch.allclose(torch.cos(turned - angles), torch.ones(200), atol=1e-5)


def test_anchors_learn_the_objects_of_their_class() -> None:
    person = AnchorSpec(anchor_sizes=[[0.8, 0.6, 1.73]], matched_threshold=0.5, unmatched_threshold=0.35)
    classes = [AnchorSpec(), person]
    anchors = make_anchors(classes, (0, 0, -3, 10, 10, 1), (11, 11))
    # On an anchor; half a metre beside one (overlap 3.4 / 4.4); between anchors across, too small to match.
    boxes = torch.tensor(
        [[3.0, 4, -1, 3.9, 1.6, 1.5, 0], [7.5, 8, -1, 3.9, 1.6, 1.5, 0.1], [5.5, 1.2, -1, 0.3, 0.3, 1.7, 0]]
    )
    assigned = assign(anchors, classes, boxes, torch.tensor([0, 0, 1]))
    labels, matched = assigned.labels.reshape(11, 11, 4), assigned.matched.reshape(11, 11, 4)
    assert labels[4, 3].tolist() == [1, BACKGROUND, BACKGROUND, BACKGROUND]
    assert labels[8, 7, 0] == labels[8, 8, 0] == 1
    assert matched[8, 7, 0] == 1
    # One metre beside: 2.9 / 4.9 = 0.59 lies between 0.45 and 0.6.
    assert labels[4, 2, 0] == labels[4, 4, 0] == IGNORED
    # Nothing matches the small one enough, so all anchors that overlap it most learn it, of its class alone.
    assert (labels[..., 2:] == 2).any()
    assert (labels[..., :2] != 2).all()
    assert (matched[labels == 2] == 2).all()


def test_the_focal_loss_of_single_anchors() -> None:
    logits = torch.tensor([math.log(9), -math.log(9)])
    values = focal(logits, torch.tensor([1.0, 0.0]))
    # Both are right with chance 0.9: -alpha (1 - 0.9)^2 log 0.9.
    hand = -math.log(0.9) * 0.01
    assert values.tolist() == pytest.approx([0.25 * hand, 0.75 * hand], rel=1e-4)


def test_answers_half_a_turn_off_cost_the_direction_alone() -> None:
    spec = tiny()
    network = make_network(spec).eval()
    boxes = torch.tensor([[20.0, 0, -1, 3.9, 1.6, 1.56, 0.3]])
    codes = encode(
        boxes[:, None].expand(-1, network.anchors.numel() // 7, -1), network.anchors.reshape(1, -1, 7)
    )
    logits = torch.zeros(1, codes.shape[1], 2)
    directions = torch.zeros(1, codes.shape[1], 2)
    losses = [
        detection_losses(
            network,
            [logits, codes + torch.tensor([0.0] * 6 + [turn]), directions],
            FrameTargets([boxes], [torch.tensor([0])], []),
            spec.model.dense_head,
        )
        for turn in (0.0, math.pi, math.pi / 2)
    ]
    assert losses[0]["loss_loc"] == pytest.approx(0, abs=1e-5)
    assert losses[1]["loss_loc"] == pytest.approx(0, abs=1e-5)
    assert losses[2]["loss_loc"] > 0.5
    assert losses[0]["loss_dir"] == pytest.approx(0.2 * math.log(2), rel=1e-4)


# --- suppression ---


def random_boxes(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    boxes = random.uniform((0, 0, -1, 0.5, 0.5, 1, -4), (12, 12, 0, 5, 3, 2, 4), (count, 7))
    return boxes.astype(np.float32), random.uniform(0.05, 1, count).astype(np.float32)


def test_overlaps_in_tensors_are_those_of_the_runtime() -> None:
    boxes, _ = random_boxes(80, 0)
    boxes[:, 0] += 60
    given = torch.from_numpy(boxes)
    ious = torch.stack([iou_with_one(one, given) for one in given])
    assert ious.numpy() == pytest.approx(bev_iou(boxes, boxes), abs=1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_suppression_in_tensors_keeps_what_the_runtime_keeps(seed: int) -> None:
    boxes, scores = random_boxes(150, seed)
    kept, kept_scores = suppress(torch.from_numpy(boxes), torch.from_numpy(scores), 0.1, 40)
    wanted = keep_best(boxes, scores, iou_threshold=0.1, limit=40)
    count = int((kept_scores > 0).sum())
    assert kept[:count].tolist() == wanted.tolist()
    assert kept_scores[:count].numpy() == pytest.approx(scores[wanted])


@pytest.mark.parametrize("by_class", [False, True])
def test_selection_in_tensors_is_that_of_the_runtime(by_class: bool) -> None:
    boxes, _ = random_boxes(120, 9)
    class_scores = np.random.default_rng(1).random((120, 3)).astype(np.float32) ** 3
    selection = Selection3d(0.3, 0.1, 30, 100, by_class)
    wanted = select(boxes, class_scores, selection)
    found = selected(torch.from_numpy(boxes), torch.from_numpy(class_scores), selection)
    count = int(found[3])
    assert count == len(wanted) > 5
    assert found[0][:count].numpy() == pytest.approx(wanted.boxes)
    assert found[2][:count].tolist() == wanted.labels.tolist()
    assert not found[0][count:].any()


# --- export ---


def shaken(network: PointPillars) -> PointPillars:
    """Weights that say many different things of the anchors, so that suppression has work to do."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            scale = 0.4 if name.startswith("head.") else parameter.numel() ** -0.3
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * scale)
        network.head.classes.bias.fill_(-1.0)  # type: ignore[union-attr]
    return network.eval()


def test_one_exported_file_answers_frames_of_any_size_as_torch_does() -> None:
    task = PointPillarsTask(tiny("model.post_processing.nms_config.nms_post_max_size=60"))
    network = shaken(make_network(task.spec))
    exportable = task.exports(network, "points")["model"]
    proto, exporter = to_onnx(exportable, (points()[:, 1:],), dynamic=True, opset=18)
    assert exporter == "trace"
    assert {node.domain for node in proto.graph.node} <= {""}
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    counts = set()
    for number, count in enumerate((700, 3000, 40, 1, 0)):
        frame = points(count, number)[:, 1:]
        names = list(exportable.outputs)
        actual = dict(zip(names, session.run(None, {"points": frame.numpy()}), strict=True))
        with torch.inference_mode():
            expected = dict(zip(names, exportable.module(frame), strict=True))
        stacked = [
            {name: np.asarray(value)[None] for name, value in outputs.items()}
            for outputs in (expected, actual)
        ]
        counts.add(int(actual["num_detections"]))
        if count > 1:
            # Without points all cells are alike, and which of equal ones comes first is nobody's business.
            assert task.predictions.difference(*stacked) < 1e-4
    assert max(counts) > 24, "a loop that was unrolled would pass with few boxes"


def test_without_suppression_all_boxes_come_out() -> None:
    task = PointPillarsTask(tiny("export.nms=false"))
    network = shaken(make_network(task.spec))
    outputs = task.exports(network, "points")["model"].module(points()[:, 1:])
    assert [tuple(part.shape) for part in outputs] == [(4096 * 4, 7), (4096 * 4, 2)]
    raw = {
        name: part.detach().numpy()[None]
        for name, part in zip(("boxes", "class_scores"), outputs, strict=True)
    }
    with_nms = PointPillarsTask(tiny()).exports(network, "points")["model"].module(points()[:, 1:])
    (prediction,) = task.predictions.from_outputs(raw)
    assert len(prediction) == int(with_nms[3])
    assert prediction.scores == pytest.approx(with_nms[1][: len(prediction)].detach().numpy(), abs=1e-6)


# --- OpenPCDet's weights ---


def theirs(network: PointPillars) -> dict[str, torch.Tensor]:
    """The network's weights under OpenPCDet's names, written out layer by layer."""
    state = {
        f"vfe.pfn_layers.0.linear.{name}": value
        for name, value in network.pillars.linear.state_dict().items()
    }
    assert network.pillars.norm is not None
    state |= {
        f"vfe.pfn_layers.0.norm.{name}": value for name, value in network.pillars.norm.state_dict().items()
    }
    for number, block in enumerate(network.backbone.blocks):
        # ZeroPad2d, convolution, norm, ReLU, convolution, norm, ReLU, ...
        layers = [nn.ZeroPad2d(1), *block.children()]
        for place, layer in enumerate(layers):
            for name, value in layer.state_dict().items():
                state[f"backbone_2d.blocks.{number}.{place}.{name}"] = value
        for place, layer in enumerate(network.backbone.enlarged[number].children()):
            for name, value in layer.state_dict().items():
                state[f"backbone_2d.deblocks.{number}.{place}.{name}"] = value
    for name, layer in (("cls", "classes"), ("box", "boxes"), ("dir_cls", "directions")):
        values = getattr(network.head, layer).state_dict()
        state |= {f"dense_head.conv_{name}.{key}": value for key, value in values.items()}
    return {"global_step": torch.tensor([7]), **state}


def test_a_checkpoint_of_openpcdet_is_taken_whole(tmp_path: Path) -> None:
    source = shaken(make_network(tiny()))
    path = tmp_path / "checkpoint_epoch_80.pth"
    torch.save({"model_state": theirs(source), "epoch": 80, "it": 7}, path)
    network = make_network(tiny()).eval()
    assert "padded_row_constant" in load_openpcdet(network, path, keep_head=True)
    for expected, actual in zip(source(points(), 1), network(points(), 1), strict=True):
        assert torch.equal(expected, actual)


def test_another_network_or_code_is_refused(tmp_path: Path) -> None:
    state = theirs(make_network(tiny()))
    state.pop("dense_head.conv_box.bias")
    torch.save({"model_state": state}, tmp_path / "less.pth")
    with pytest.raises(SpecError, match=r"less\.pth.*another network.*head\.boxes\.bias"):
        load_openpcdet(make_network(tiny()), tmp_path / "less.pth", keep_head=True)
    torch.save({"model_state": {"x": Path("code")}}, tmp_path / "code.pth")
    with pytest.raises(BundleError, match="code"):
        load_openpcdet(make_network(tiny()), tmp_path / "code.pth", keep_head=True)
