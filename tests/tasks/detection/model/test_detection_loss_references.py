"""Losses of YOLOX and of the YOLO networks with anchors against the papers' rules, worked out place by place.

The references are loops over single numbers in double precision, so they share nothing with the code under
test but the layout of a head's values.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from tao_like.tasks.detection.anchors.presets import AnchorPlan
from tao_like.tasks.detection.losses.anchors import anchor_losses
from tao_like.tasks.detection.losses.simota import yolox_losses

STRIDES = (8.0, 16.0, 32.0)
WIDTH, HEIGHT = 96, 64
Box = Sequence[float]


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def cross_entropy(logit: float, target: float) -> float:
    """Binary, of one logit."""
    return -target * math.log(sigmoid(logit)) - (1 - target) * math.log(sigmoid(-logit))


def class_entropy(logits: Sequence[float], label: int, target: float) -> float:
    """Summed over the classes; ``target`` stands for the object's own."""
    return sum(cross_entropy(each, target if name == label else 0.0) for name, each in enumerate(logits))


def iou(box: Box, other: Box) -> float:
    """Intersection over union."""
    wide, high = (min(box[i + 2], other[i + 2]) - max(box[i], other[i]) for i in (0, 1))
    if wide <= 0 or high <= 0:
        return 0.0
    areas = [(each[2] - each[0]) * (each[3] - each[1]) for each in (box, other)]
    return wide * high / (sum(areas) - wide * high)


def around(column: float, row: float, width: float, height: float) -> Box:
    """A box from its center and sides."""
    return (column - width / 2, row - height / 2, column + width / 2, row + height / 2)


def random_boxes(random: np.random.Generator, count: int) -> Tensor:
    centers = random.uniform((0, 0), (WIDTH, HEIGHT), (count, 2))
    sides = np.exp(random.uniform(math.log(4), math.log(60), (count, 2)))
    corners = np.concatenate([centers - sides / 2, centers + sides / 2], axis=1)
    return torch.from_numpy(corners.clip(0, (WIDTH, HEIGHT) * 2).astype(np.float32))


# --- YOLOX: Ge et al. 2021, section 2.3, and the figures of the published configuration ---


def places(maps: Sequence[Tensor], image: int) -> Iterator[tuple[float, float, float, list[float]]]:
    """Column, row and stride of every place, and what the head says there."""
    for values, stride in zip(maps, STRIDES, strict=True):
        for row in range(values.shape[2]):
            for column in range(values.shape[3]):
                yield column, row, stride, values[image, :, row, column].double().tolist()


def sim_ota(maps: Sequence[Tensor], image: int, boxes: list[Box], labels: list[int]) -> dict[int, int]:
    """Place to object: the cheapest places near the center, as many as the ten best overlaps sum up to."""
    costs: list[dict[int, float]] = [{} for _ in boxes]
    ious: list[dict[int, float]] = [{} for _ in boxes]
    for place, (column, row, stride, said) in enumerate(places(maps, image)):
        prediction = around(
            (said[0] + column) * stride,
            (said[1] + row) * stride,
            math.exp(said[2]) * stride,
            math.exp(said[3]) * stride,
        )
        centers = [((box[0] + box[2]) / 2, (box[1] + box[3]) / 2) for box in boxes]
        offsets = [
            max(abs((column + 0.5) * stride - center[0]), abs((row + 0.5) * stride - center[1])) / stride
            for center in centers
        ]
        if min(offsets) >= 1.5:
            continue
        scores = [math.sqrt(sigmoid(said[4]) * sigmoid(each)) for each in said[5:]]
        for number, (box, label, offset) in enumerate(zip(boxes, labels, offsets, strict=True)):
            ious[number][place] = iou(prediction, box)
            if offset < 1.5:
                costs[number][place] = -3 * math.log(ious[number][place] + 1e-8) - sum(
                    math.log(score if name == label else 1 - score) for name, score in enumerate(scores)
                )
    owners: dict[int, int] = {}
    for number, cost in enumerate(costs):
        count = max(1, int(sum(sorted(ious[number].values(), reverse=True)[:10])))
        for place in sorted(cost, key=cost.__getitem__)[:count]:
            if place not in owners or cost[place] < costs[owners[place]][place]:
                owners[place] = number
    return owners


def yolox_reference(
    maps: Sequence[Tensor], boxes: list[list[Box]], labels: list[list[int]]
) -> tuple[dict[str, float], int, int]:
    """The parts of the loss, how many locations are responsible, and for how many objects."""
    parts = dict.fromkeys(("loss_box", "loss_class", "loss_object", "loss_l1"), 0.0)
    count, matched = 0, 0
    for image, (of_image, names) in enumerate(zip(boxes, labels, strict=True)):
        owners = sim_ota(maps, image, of_image, names) if of_image else {}
        count += len(owners)
        matched += len(set(owners.values()))
        for place, (column, row, stride, said) in enumerate(places(maps, image)):
            parts["loss_object"] += cross_entropy(said[4], float(place in owners))
            if place not in owners:
                continue
            box = of_image[owners[place]]
            wanted = [
                (box[0] + box[2]) / 2 / stride - column,
                (box[1] + box[3]) / 2 / stride - row,
                math.log((box[2] - box[0]) / stride),
                math.log((box[3] - box[1]) / stride),
            ]
            sides = [math.exp(each) * stride for each in said[2:4]]
            shared = iou(around((said[0] + column) * stride, (said[1] + row) * stride, *sides), box)
            parts["loss_box"] += 5 * (1 - shared**2)
            parts["loss_class"] += class_entropy(said[5:], names[owners[place]], shared)
            parts["loss_l1"] += sum(abs(one - other) for one, other in zip(said[:4], wanted, strict=True))
    return {name: value / max(count, 1) for name, value in parts.items()}, count, matched


@pytest.mark.parametrize(("num_classes", "counts"), [(1, (3, 0, 5)), (4, (0, 9)), (3, (0, 0))])
def test_yolox_is_what_its_paper_says(num_classes: int, counts: tuple[int, ...]) -> None:
    random = np.random.default_rng(num_classes)
    maps = [
        torch.from_numpy(
            random.normal(0, 0.5, (len(counts), 5 + num_classes, HEIGHT // s, WIDTH // s))
        ).float()
        for s in map(int, STRIDES)
    ]
    # Sides of about 24 pixels everywhere, so that several places fit an object.
    for values, stride in zip(maps, STRIDES, strict=True):
        values[:, 2:4] += math.log(24 / stride)
    boxes = [random_boxes(random, count) for count in counts]
    labels = [torch.from_numpy(random.integers(0, num_classes, count)) for count in counts]
    expected, places_count, objects = yolox_reference(
        maps, [each.double().tolist() for each in boxes], [each.tolist() for each in labels]
    )
    assert places_count > objects or objects == 0
    found = yolox_losses(maps, STRIDES, boxes, labels, refine=True)
    assert {name: float(value) for name, value in found.items()} == pytest.approx(expected, rel=1e-4)


# --- YOLOv3 and YOLOv4: the papers, and darknet's rules ---

PLAN = AnchorPlan(
    shapes=(((10.0, 8.0), (8.0, 16.0)), ((30.0, 20.0), (22.0, 40.0)), ((60.0, 50.0),)),
    extends=(0.2, 0.1, 0.05),
    box_matching_iou=0.213,
    neutral_iou=0.4,
    box_weight=5.0,
    negative_weight=0.7,
    class_weight=1.3,
)
ANCHORS = [(level, number) for level, shapes in enumerate(PLAN.shapes) for number in range(len(shapes))]
Pair = tuple[int, int, int, int]
"""Map, anchor, row and column."""


def complete_iou_loss(box: Box, other: Box) -> float:
    """Zheng et al. 2020, eq. 8 to 11."""
    shared = iou(box, other)
    distance = sum(((box[i] + box[i + 2] - other[i] - other[i + 2]) / 2) ** 2 for i in (0, 1))
    diagonal = sum((max(box[i + 2], other[i + 2]) - min(box[i], other[i])) ** 2 for i in (0, 1))
    angles = [math.atan((each[2] - each[0]) / (each[3] - each[1])) for each in (box, other)]
    v = 4 / math.pi**2 * (angles[0] - angles[1]) ** 2
    return 1 - shared + distance / diagonal + (v * v / (1 - shared + v) if v else 0.0)


def owners_of_pairs(boxes: list[Box], best_alone: bool) -> dict[Pair, int]:
    """Which object each pair of a place and an anchor answers for; the better shape first."""
    owners: dict[Pair, tuple[float, int]] = {}
    for number, box in enumerate(boxes):
        shape = around(0, 0, box[2] - box[0], box[3] - box[1])
        fits = [iou(shape, around(0, 0, *PLAN.shapes[level][which])) for level, which in ANCHORS]
        for fit, (level, which) in zip(fits, ANCHORS, strict=True):
            if fit < max(fits) and (best_alone or fit <= PLAN.box_matching_iou):
                continue
            row, column = (int((box[i] + box[i + 2]) / 2 / STRIDES[level]) for i in (1, 0))
            pair = (level, which, row, column)
            owners[pair] = max(owners.get(pair, (0.0, -1)), (fit, number), key=lambda each: each[0])
    return {pair: number for pair, (_, number) in owners.items()}


def anchor_reference(
    maps: Sequence[Tensor], boxes: list[list[Box]], labels: list[list[int]], *, best_alone: bool
) -> tuple[dict[str, float], int]:
    """The parts of the loss, and how many pairs are responsible."""
    parts = dict.fromkeys(("loss_box", "loss_object", "loss_class"), 0.0)
    count = 0
    for image, (of_image, names) in enumerate(zip(boxes, labels, strict=True)):
        owners = owners_of_pairs(of_image, best_alone)
        count += len(owners)
        for level, which in ANCHORS:
            scale, stride = 1 + PLAN.extends[level], STRIDES[level]
            for row, column in np.ndindex(*maps[level].shape[3:]):
                said = maps[level][image, which, :, row, column].double().tolist()
                center = [
                    (scale * sigmoid(each) - (scale - 1) / 2 + cell) * stride
                    for each, cell in zip(said[:2], (column, row), strict=True)
                ]
                shape = PLAN.shapes[level][which]
                sides = [math.exp(each) * side for each, side in zip(said[2:4], shape, strict=True)]
                prediction = around(*center, *sides)
                owner = owners.get((level, which, row, column))
                if owner is not None:
                    parts["loss_box"] += PLAN.box_weight * complete_iou_loss(prediction, of_image[owner])
                    parts["loss_object"] += cross_entropy(said[4], 1.0)
                    parts["loss_class"] += PLAN.class_weight * class_entropy(said[5:], names[owner], 1.0)
                elif all(iou(prediction, box) <= PLAN.neutral_iou for box in of_image):
                    parts["loss_object"] += PLAN.negative_weight * cross_entropy(said[4], 0.0)
    return {name: value / max(count, 1) for name, value in parts.items()}, count


@pytest.mark.parametrize("best_alone", [False, True])
@pytest.mark.parametrize(("num_classes", "counts"), [(1, (3, 0, 5)), (4, (0, 12)), (3, (0, 0))])
def test_yolo_is_what_its_papers_say(num_classes: int, counts: tuple[int, ...], best_alone: bool) -> None:
    random = np.random.default_rng(num_classes)
    maps = [
        torch.from_numpy(
            random.normal(0, 0.6, (len(counts), len(of_map), 5 + num_classes, HEIGHT // s, WIDTH // s))
        ).float()
        for s, of_map in zip(map(int, STRIDES), PLAN.shapes, strict=True)
    ]
    boxes = [random_boxes(random, count) for count in counts]
    labels = [torch.from_numpy(random.integers(0, num_classes, count)) for count in counts]
    expected, pairs = anchor_reference(
        maps,
        [each.double().tolist() for each in boxes],
        [each.tolist() for each in labels],
        best_alone=best_alone,
    )
    assert (pairs > sum(counts)) is (not best_alone and sum(counts) > 0)
    plan = AnchorPlan(**{**vars(PLAN), "box_matching_iou": 1.0}) if best_alone else PLAN
    found = anchor_losses(maps, STRIDES, plan, boxes, labels)
    assert {name: float(value) for name, value in found.items()} == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(("width", "height"), [(-20, -20), (-60, 0), (0, -60), (60, 60), (-1e4, 1e4)])
def test_no_value_makes_yolos_loss_no_number(width: float, height: float) -> None:
    """A box that vanishes beside the coordinates of its center has no ratio of its sides."""
    maps = [torch.zeros(1, len(of_map), 6, 2, 3) for of_map in PLAN.shapes]
    for values in maps:
        values[:, :, 2], values[:, :, 3] = width, height
        values.requires_grad_()
    box = torch.tensor([[400.0, 300.0, 470.0, 362.0]])
    losses = anchor_losses(maps, (320.0, 320.0, 320.0), PLAN, [box], [torch.tensor([0])])
    total = torch.stack(list(losses.values())).sum()
    assert torch.isfinite(total)
    assert all(torch.isfinite(each).all() for each in torch.autograd.grad(total, maps))
