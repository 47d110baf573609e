"""YOLOv3, YOLOv4 and YOLOv4-tiny: published sizes, the boxes that a head means, the loss, and the stages."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import onnx
import pytest
import torch
from box_images import write_coco
from stage_runs import assert_rows_agree, csv_rows
from tiny_detection import data_overrides, run, tiny_spec
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from tao_like import runtime
from tao_like.bundle import read_bundle
from tao_like.errors import SpecError
from tao_like.networks import structure
from tao_like.stages.prune.criteria import magnitude
from tao_like.stages.prune.proof import remove_proven
from tao_like.stages.prune.selection import Rules, choose
from tao_like.stages.prune.units import find_units
from tao_like.tasks.detection.anchors.presets import PUBLISHED, AnchorPlan, anchor_plan
from tao_like.tasks.detection.losses.anchors import anchor_losses, responsible
from tao_like.tasks.detection.model.build import build_network
from tao_like.tasks.detection.model.detector import Detector
from tao_like.tasks.detection.model.yolo.predictions import AnchorPredictions
from tao_like.tasks.detection.spec_blocks.yolo import ANCHOR_ARCHITECTURES
from tao_like.tasks.detection.task import DetectionTask

PAPER_BACKBONES = {"yolo_v3": "darknet53", "yolo_v4": "cspdarknet53", "yolo_v4_tiny": "cspdarknet_tiny"}
# Floats in the published files yolov3.weights, yolov4.weights and yolov4-tiny.weights (running statistics
# included), and their 10^9 floating point operations with the side of the input that these are stated for.
PUBLISHED_SIZES = {
    "yolo_v3": (62_001_757, 416, 65.86),
    "yolo_v4": (64_429_405, 608, 128.46),
    "yolo_v4_tiny": (6_062_814, 416, 6.91),
}
CLASSES = 3
STRIDES = (16.0, 32.0)
PLAN = AnchorPlan(
    shapes=(((20.0, 10.0), (10.0, 20.0)), ((60.0, 40.0),)),
    extends=(0.1, 0.05),
    box_matching_iou=0.213,
    neutral_iou=0.7,
    box_weight=5.0,
    negative_weight=1.0,
    class_weight=1.0,
)
NO_BOXES, NO_LABELS = torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64)


def detector(num_classes: int, size: tuple[int, int], *overrides: str) -> Detector:
    """The network of a spec, with random weights."""
    names = [str(number) for number in range(num_classes)]
    return build_network(tiny_spec(*overrides), names, size, pretrained=False)[0]


@pytest.mark.parametrize("arch", ANCHOR_ARCHITECTURES)
def test_over_its_own_backbone_it_has_the_published_size(arch: str) -> None:
    backbone = f"model.backbone.type={PAPER_BACKBONES[arch]}"
    network = detector(80, (64, 64), f"model.arch={arch}", backbone).to("meta").eval()
    floats, side, operations = PUBLISHED_SIZES[arch]
    counted = [
        tensor.numel()
        for name, tensor in network.state_dict().items()
        if not name.startswith("normalise.") and not name.endswith("num_batches_tracked")
    ]
    assert sum(counted) == floats
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.zeros(1, 3, side, side, device="meta"))
    assert counter.get_total_flops() / 1e9 == pytest.approx(operations, rel=1e-3)


@pytest.mark.parametrize("arch", ANCHOR_ARCHITECTURES)
@pytest.mark.parametrize("backbone", ["test_resnet", "vit_tiny_patch16_224"])
def test_it_stands_over_other_backbones(arch: str, backbone: str) -> None:
    network = detector(CLASSES, (64, 96), f"model.arch={arch}", f"model.backbone.type={backbone}")
    maps = network(torch.randint(0, 256, (2, 3, 64, 96), dtype=torch.uint8))
    strides = (16, 32) if arch == "yolo_v4_tiny" else (8, 16, 32)
    shapes = [(2, 3, 5 + CLASSES, 64 // stride, 96 // stride) for stride in strides]
    assert [tuple(each.shape) for each in maps] == shapes
    losses = network.losses(maps, [NO_BOXES] * 2, [NO_LABELS] * 2, refine=False)
    torch.stack(list(losses.values())).sum().backward()
    assert [name for name, value in network.named_parameters() if value.grad is None] == []


def test_its_own_tiny_backbone_is_refused_where_it_does_not_fit() -> None:
    tiny = "model.backbone.type=cspdarknet_tiny"
    with pytest.raises(SpecError, match=r"model\.backbone\.type.*strides 16 and 32.*yolo_v4_tiny"):
        tiny_spec("model.arch=yolo_v4", tiny)
    with pytest.raises(SpecError, match=r"pretrained_backbone_path.*no published weights"):
        tiny_spec("model.arch=yolo_v4_tiny", tiny, "model.backbone.pretrained_backbone_path=timm")


# --- anchors ---


def test_anchors_of_the_papers_follow_the_size_of_the_input() -> None:
    spec = tiny_spec("model.arch=yolo_v4").model.anchors
    assert anchor_plan("yolo_v4", spec, (608, 608)).shapes == PUBLISHED["yolo_v4"].shapes
    assert anchor_plan("yolo_v4", spec, (152, 304)).shapes[2][1] == (96.0, 121.5)


def test_a_spec_has_its_own_anchors_and_thresholds() -> None:
    spec = tiny_spec(
        "model.arch=yolo_v4_tiny",
        "model.anchors.mid_anchor_shape=[[12,9],[20,30],[7,7],[8,8]]",
        "model.anchors.big_grid_xy_extend=0.5",
        "model.anchors.box_matching_iou=0.4",
    )
    plan = anchor_plan("yolo_v4_tiny", spec.model.anchors, (416, 416))
    assert plan.shapes[0] == ((12.0, 9.0), (20.0, 30.0), (7.0, 7.0), (8.0, 8.0))
    assert plan.shapes[1] == PUBLISHED["yolo_v4_tiny"].shapes[1]
    assert (plan.extends, plan.box_matching_iou) == ((0.05, 0.5), 0.4)
    network = build_network(spec, ["a"], (64, 96), pretrained=False)[0]
    assert [each.shape[1] for each in network(torch.zeros(2, 3, 64, 96))] == [4, 3]


@pytest.mark.parametrize(
    ("given", "words"),
    [("[[12,9],[20]]", r"20.*width and a height"), ("[[12,-9]]", "-9"), ("[]", "at least one")],
)
def test_what_is_no_anchor_is_named(given: str, words: str) -> None:
    with pytest.raises(SpecError, match=rf"model\.anchors\.big_anchor_shape.*{words}"):
        tiny_spec("model.arch=yolo_v4", f"model.anchors.big_anchor_shape={given}")


# --- from values to boxes ---


def maps_of(value: float = 0.0, images: int = 1) -> list[Tensor]:
    """What a head with the plan's anchors says of an input of 96 x 64: the same everywhere."""
    return [
        torch.full((images, 2, 5 + CLASSES, 4, 6), value),
        torch.full((images, 1, 5 + CLASSES, 2, 3), value),
    ]


def test_a_box_is_where_the_paper_says() -> None:
    maps = maps_of()
    # Second anchor (10 x 20) of the fine map, row 1, column 2.
    maps[0][0, 1, :4, 1, 2] = torch.tensor([math.log(3), -math.log(3), math.log(2), math.log(0.5)])
    corners = AnchorPredictions(maps, STRIDES, PLAN).corners()[0]
    # sigmoid gives 0.75 and 0.25; with scale 1.1 and shift 0.05 the center is at columns 2.775, rows 1.225.
    center = (2.775 * 16, 1.225 * 16)
    expected = [center[0] - 10, center[1] - 5, center[0] + 10, center[1] + 5]
    assert corners[24 + 1 * 6 + 2].tolist() == pytest.approx(expected, abs=1e-4)
    # Values of zero are the middle of the cell and the anchor itself: the coarse map's row 0, column 1.
    assert corners[48 + 1].tolist() == pytest.approx([48 - 30, 16 - 20, 48 + 30, 16 + 20])


def test_a_score_is_that_of_the_class_times_that_of_an_object() -> None:
    network = detector(CLASSES, (64, 96), "model.arch=yolo_v4_tiny")
    maps = [torch.zeros(1, 3, 5 + CLASSES, 4, 6), torch.zeros(1, 3, 5 + CLASSES, 2, 3)]
    maps[1][0, 2, 4:, 1, 0] = torch.tensor([math.log(4), math.log(9), 0.0, -math.log(9)])
    _, scores = network.decode(maps)
    assert scores[0, 72 + 2 * 6 + 3].tolist() == pytest.approx([0.72, 0.4, 0.08])


# --- which anchors are responsible ---


def test_the_best_anchor_and_all_that_overlap_enough_answer() -> None:
    predictions = AnchorPredictions(maps_of(), STRIDES, PLAN)
    # 20 x 10, center (50, 30): overlap 1 with the first anchor, 1/3 with the second, 200/2400 with the third.
    box = torch.tensor([[40.0, 25.0, 60.0, 35.0]])
    places, objects = responsible(predictions, PLAN, box)
    assert places.tolist() == [1 * 6 + 3, 24 + 1 * 6 + 3]
    assert objects.tolist() == [0, 0]
    best_alone = AnchorPlan(**{**vars(PLAN), "box_matching_iou": 1.0})
    assert responsible(predictions, best_alone, box)[0].tolist() == [1 * 6 + 3]
    # An object that no anchor fits has the best one all the same.
    thin = torch.tensor([[31.0, 10.0, 33.0, 60.0]])
    assert responsible(predictions, PLAN, thin)[0].tolist() == [24 + 2 * 6 + 2]


def test_a_place_that_two_objects_want_goes_to_the_better_fit() -> None:
    predictions = AnchorPredictions(maps_of(), STRIDES, PLAN)
    boxes = torch.tensor([[38.0, 23.0, 62.0, 37.0], [40.0, 25.0, 60.0, 35.0], [0.0, 0.0, 60.0, 40.0]])
    places, objects = responsible(predictions, PLAN, boxes)
    owners = dict(zip(places.tolist(), objects.tolist(), strict=True))
    assert owners[1 * 6 + 3] == 1
    assert owners[48] == 2
    assert len(set(places.tolist())) == len(places)


# --- the loss ---


def complete_iou_loss(box: Sequence[float], other: Sequence[float]) -> float:
    """1 - IoU + squared distance of the centers over the squared diagonal around both + alpha v (Zheng)."""
    sides = [max(0.0, min(box[i + 2], other[i + 2]) - max(box[i], other[i])) for i in (0, 1)]
    areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in (box, other)]
    iou = sides[0] * sides[1] / (sum(areas) - sides[0] * sides[1])
    distance = sum(((box[i] + box[i + 2] - other[i] - other[i + 2]) / 2) ** 2 for i in (0, 1))
    diagonal = sum((max(box[i + 2], other[i + 2]) - min(box[i], other[i])) ** 2 for i in (0, 1))
    angles = [math.atan((b[2] - b[0]) / (b[3] - b[1])) for b in (box, other)]
    v = 4 / math.pi**2 * (angles[0] - angles[1]) ** 2
    return 1 - iou + distance / diagonal + v * v / (1 - iou + v)


def test_the_loss_of_one_object_by_hand() -> None:
    best_alone = AnchorPlan(**{**vars(PLAN), "box_matching_iou": 1.0, "negative_weight": 0.5})
    box = [44.0, 22.0, 66.0, 36.0]
    losses = anchor_losses(maps_of(), STRIDES, best_alone, [torch.tensor([box])], [torch.tensor([2])])
    # All say the middle of the cell and the anchor: here column 3, row 1, 20 x 10.
    said = [56.0 - 10, 24.0 - 5, 56.0 + 10, 24.0 + 5]
    assert float(losses["loss_box"]) == pytest.approx(5 * complete_iou_loss(said, box), rel=1e-5)
    assert float(losses["loss_class"]) == pytest.approx(3 * math.log(2), rel=1e-6)
    # 54 pairs of place and anchor; the others of 53 hold no object and count half. None overlaps it by 0.7.
    assert float(losses["loss_object"]) == pytest.approx((1 + 53 / 2) * math.log(2), rel=1e-6)


def test_a_good_box_that_answers_for_nothing_is_no_mistake() -> None:
    best_alone = AnchorPlan(**{**vars(PLAN), "box_matching_iou": 1.0})
    box = torch.tensor([[46.0, 19.0, 66.0, 29.0]])
    maps = maps_of()
    # The second anchor's prediction, 10 x 20, made to the object's 20 x 10.
    maps[0][0, 1, 2:4, 1, 3] = torch.tensor([math.log(2), -math.log(2)])
    losses = anchor_losses(maps, STRIDES, best_alone, [box], [torch.tensor([0])])
    assert float(losses["loss_object"]) == pytest.approx(53 * math.log(2), rel=1e-6)
    assert float(losses["loss_box"]) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("empty", [(0,), (1,), (2,), (0, 1), (0, 1, 2)])
def test_images_without_objects_in_any_position_give_finite_gradients(empty: tuple[int, ...]) -> None:
    torch.manual_seed(1)
    maps = [torch.randn_like(each).requires_grad_() for each in maps_of(images=3)]
    boxes = [NO_BOXES if place in empty else torch.tensor([[8.0, 8.0, 40.0, 30.0]]) for place in range(3)]
    labels = [NO_LABELS if place in empty else torch.tensor([1]) for place in range(3)]
    losses = anchor_losses(maps, STRIDES, PLAN, boxes, labels)
    gradients = torch.autograd.grad(torch.stack(list(losses.values())).sum(), maps)
    assert all(torch.isfinite(gradient).all() for gradient in gradients)
    assert (losses["loss_box"].item() == 0) == (len(empty) == 3)


# --- the stages ---


def test_it_learns_and_goes_through_every_stage(tmp_path: Path) -> None:
    folder = write_coco(tmp_path / "data", {"train": 12, "val": 4, "test": 4})
    overrides = [*data_overrides(folder), "model.arch=yolo_v4_tiny", "model.neck.width=32"]
    settings = ["train.num_epochs=30", "train.validation_interval=15", "train.optim.warmup_epochs=1"]
    trained = run("train", tmp_path, *overrides, *settings)
    assert trained.metrics["mAP50"] > 0.5
    exported = run("export", tmp_path, *overrides)
    metadata = runtime.load(exported.onnx_file).metadata
    names = [output.name for output in onnx.load(exported.onnx_file).graph.output]
    assert names == ["boxes", "scores", "labels", "num_detections"]
    assert set(metadata.outputs) == set(names)
    bundle = run("evaluate", tmp_path / "b", *overrides, f"evaluate.checkpoint={trained.bundle}")
    onnx_file = run("evaluate", tmp_path / "o", *overrides, f"evaluate.checkpoint={exported.onnx_file}")
    assert_rows_agree(csv_rows(bundle.predictions), csv_rows(onnx_file.predictions))
    assert onnx_file.metrics == pytest.approx(bundle.metrics, abs=1e-4)
    found = run("inference", tmp_path, *overrides, f"inference.source={folder / 'test'}")
    assert [row["objects"] for row in found.rows] == [
        int(row["objects"]) for row in csv_rows(bundle.predictions)
    ]
    pruned = run("prune", tmp_path, *overrides, "prune.granularity=2", "prune.target_macs=0.8")
    assert pruned.macs_share < 0.9
    again = f"train.pruned_model_path={pruned.bundle}"
    retrained = run("train", tmp_path / "again", *overrides, again, "train.num_epochs=1")
    assert_outputs_kept(read_bundle(retrained.bundle).weights)
    quantized = run("quantize", tmp_path, *overrides, f"quantize.checkpoint={exported.onnx_file}")
    assert abs(quantized.metrics["mAP50"] - quantized.float_metrics["mAP50"]) <= 0.1


def assert_outputs_kept(weights: dict[str, Tensor]) -> None:
    """The last layers give as many values as before."""
    for kind, values in (("class", 3), ("box", 4), ("object", 1)):
        for level in range(2):
            assert len(weights[f"head.{kind}_outputs.{level}.weight"]) == 3 * values


@pytest.mark.parametrize(
    ("arch", "backbone"),
    [("yolo_v3", "test_resnet"), ("yolo_v4", "test_resnet"), ("yolo_v4_tiny", "cspdarknet_tiny")],
)
def test_it_loses_channels_everywhere_but_in_the_outputs(arch: str, backbone: str) -> None:
    overrides = [f"model.arch={arch}", f"model.backbone.type={backbone}", "model.neck.width=32"]
    network = detector(CLASSES, (64, 96), *overrides).eval()
    told = DetectionTask(tiny_spec(*overrides)).prunable(network)["model"]
    before = {name: len(layer.weight) for name, layer in convolutions(network)}
    units = find_units(network, told, granularity=2)
    rules = Rules("local", 0.9, {unit.name: unit.size for unit in units})
    remove_proven(network, units, choose(units, magnitude(units, 2), 0.5, rules), told.inputs)
    shrunk = {name for name, layer in convolutions(network) if len(layer.weight) < before[name]}
    for part in ("backbone.", "neck.", "head.branches."):
        assert any(name.startswith(part) for name in shrunk), part
    assert not any("_outputs." in name for name in shrunk)
    again = detector(CLASSES, (64, 96), *overrides).eval()
    structure.apply(again, structure.capture(network))
    again.load_state_dict(network.state_dict())
    with torch.no_grad():
        for one, other in zip(network(*told.inputs), again(*told.inputs), strict=True):
            assert torch.equal(one, other)


def convolutions(network: nn.Module) -> list[tuple[str, nn.Conv2d]]:
    """Names and layers."""
    return [(name, layer) for name, layer in network.named_modules() if isinstance(layer, nn.Conv2d)]
