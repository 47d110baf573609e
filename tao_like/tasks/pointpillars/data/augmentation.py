"""Random changes of training frames; the points of an object follow its box."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch

from tao_like.runtime.geometry.boxes3d import Boxes, ground_intersections, points_inside, wrapped
from tao_like.runtime.inputs.points import Points
from tao_like.tasks.pointpillars.spec_blocks.data import AugmentorSpec


@dataclass(frozen=True)
class Scene:
    """A frame with what is to be learnt of it.

    Attributes:
        points: (N, 4).
        boxes: (G, 7).
        labels: (G,) class numbers.
    """

    points: Points
    boxes: Boxes
    labels: npt.NDArray[np.int64]


@dataclass(frozen=True)
class StoredObject:
    """An object cut out of a training frame.

    Attributes:
        box: (7,).
        points: (N, 4) inside of it, where they were.
    """

    box: Boxes
    points: Points


Database = dict[int, list[StoredObject]]
"""Class number to the objects that may be put into other frames."""


def draw() -> np.random.Generator:
    """A generator seeded by torch's, which knows seed, epoch and sample."""
    return np.random.default_rng(int(torch.randint(2**62, ())))


class Augmentation:
    """The changes of a spec, one after the other.

    Args:
        steps: kinds and strengths, in order.
        classes: class names in the order of the numbers.
        database: gives the objects of ground-truth sampling; called once, when it is first needed.
    """

    def __init__(
        self, steps: Sequence[AugmentorSpec], classes: Sequence[str], database: Callable[[], Database]
    ) -> None:
        self.steps = list(steps)
        self.classes = list(classes)
        self._make_database = database

    def __call__(self, scene: Scene) -> Scene:
        """A changed frame; everything is drawn from torch's generator."""
        random = draw()
        for step in self.steps:
            if step.name == "gt_sampling":
                scene = sampled(scene, step, self.classes, self.database, random)
            else:
                scene = CHANGES[step.name](scene, step, random)
        return scene

    @cached_property
    def database(self) -> Database:
        """The objects of ground-truth sampling."""
        return self._make_database()


def flipped(scene: Scene, step: AugmentorSpec, random: np.random.Generator) -> Scene:
    """Left for right, and front for rear, each by half a chance."""
    points, boxes = scene.points.copy(), scene.boxes.copy()
    for axis in step.along_axis_list:
        if random.random() < 0.5:
            continue
        # The axis that is kept; the other one changes its sign.
        other = 1 if axis == "x" else 0
        points[:, other] *= -1
        boxes[:, other] *= -1
        boxes[:, 6] = wrapped(-boxes[:, 6] if axis == "x" else np.pi - boxes[:, 6])
    return Scene(points, boxes, scene.labels)


def rotated(scene: Scene, step: AugmentorSpec, random: np.random.Generator) -> Scene:
    """The whole frame turned about the sensor."""
    angle = _between(step.world_rot_angle, random)
    points, boxes = scene.points.copy(), scene.boxes.copy()
    points[:, :2] = turned(points[:, :2], angle)
    boxes[:, :2] = turned(boxes[:, :2], angle)
    boxes[:, 6] = wrapped(boxes[:, 6] + angle)
    return Scene(points, boxes, scene.labels)


def scaled(scene: Scene, step: AugmentorSpec, random: np.random.Generator) -> Scene:
    """The whole frame larger or smaller."""
    factor = _between(step.world_scale_range, random)
    points, boxes = scene.points.copy(), scene.boxes.copy()
    points[:, :3] *= np.float32(factor)
    boxes[:, :6] *= factor
    return Scene(points, boxes, scene.labels)


def jostled(scene: Scene, step: AugmentorSpec, random: np.random.Generator) -> Scene:
    """Each object turned about itself and shifted, with its points, where no other stands in its way."""
    points, boxes = scene.points.copy(), scene.boxes.copy()
    inside = points_inside(scene.points, scene.boxes)
    for number, mine in enumerate(inside):
        moved = boxes[number].copy()
        angle = _between(step.object_rot_angle, random)
        moved[:3] += random.normal(0, step.object_shift)
        moved[6] = wrapped(moved[6] + angle)
        others = np.delete(boxes, number, axis=0)
        if (ground_intersections(moved[None], others) > 0).any():
            continue
        local = points[mine, :3] - boxes[number, :3]
        local[:, :2] = turned(local[:, :2], angle)
        points[mine, :3] = local + moved[:3]
        boxes[number] = moved
    return Scene(points, boxes, scene.labels)


CHANGES: dict[str, Callable[[Scene, AugmentorSpec, np.random.Generator], Scene]] = {
    "random_world_flip": flipped,
    "random_world_rotation": rotated,
    "random_world_scaling": scaled,
    "random_object_noise": jostled,
}


def _between(limits: Sequence[float], random: np.random.Generator) -> float:
    low, high = limits
    return float(random.uniform(low, high))


def turned(positions: npt.NDArray[np.floating], angle: float) -> npt.NDArray[np.floating]:
    """Points (N, 2) turned about the origin, counter-clockwise."""
    cosine, sine = np.cos(angle), np.sin(angle)
    x, y = positions[:, 0], positions[:, 1]
    return np.stack([x * cosine - y * sine, x * sine + y * cosine], axis=1)


def group_counts(groups: Sequence[str], classes: Sequence[str]) -> dict[int, int]:
    """What CLASS:NUMBER says, by class number; other classes are left out."""
    numbers = {name: number for number, name in enumerate(classes)}
    pairs = (group.rpartition(":") for group in groups)
    return {numbers[name]: int(count) for name, _, count in pairs if name in numbers}


def sampled(
    scene: Scene,
    step: AugmentorSpec,
    classes: Sequence[str],
    database: Database,
    random: np.random.Generator,
) -> Scene:
    """Objects of other frames put where they stood there, unless something stands there already.

    SECOND, section 3.2. Points of the frame within a new object's box are taken out.
    """
    boxes, labels = scene.boxes, scene.labels
    added: list[StoredObject] = []
    for label, wanted in group_counts(step.sample_groups, classes).items():
        stored = database.get(label, [])
        count = wanted - int((scene.labels == label).sum()) if step.limit_whole_scene else wanted
        count = min(count, len(stored))
        if count <= 0:
            continue
        for position in random.choice(len(stored), count, replace=False):
            one = stored[position]
            if (ground_intersections(one.box[None], boxes) > 0).any():
                continue
            added.append(one)
            boxes = np.concatenate([boxes, one.box[None]])
            labels = np.append(labels, label)
    if not added:
        return scene
    room = np.stack([one.box for one in added])
    room[:, 3:6] += step.remove_extra_width
    kept = scene.points[~points_inside(scene.points, room).any(axis=0)]
    return Scene(np.concatenate([kept, *(one.points for one in added)]), boxes, labels)


def make_database(
    scenes: Sequence[Callable[[], Scene]], step: AugmentorSpec, classes: Sequence[str]
) -> Database:
    """Cuts the objects out of training frames.

    Args:
        scenes: give each frame.
        step: says how many points an object must have.
        classes: class names in the order of the numbers.
    """
    fewest = group_counts(step.preface.filter_by_min_points, classes)
    database: Database = {}
    for read in scenes:
        scene = read()
        inside = points_inside(scene.points, scene.boxes)
        for box, label, mine in zip(scene.boxes, scene.labels.tolist(), inside, strict=True):
            if int(mine.sum()) >= max(1, fewest.get(label, 1)):
                database.setdefault(label, []).append(StoredObject(box, scene.points[mine]))
    return database
