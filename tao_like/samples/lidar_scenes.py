"""Street scenes as a LiDAR sees them: rays cast over ground with cars, people, cyclists and clutter."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tao_like.data.lidar.frame import Object3d
from tao_like.data.lidar.kitti import lidar_line
from tao_like.runtime.geometry.boxes3d import ground_corners, points_inside
from tao_like.runtime.inputs.points import Points

COUNTS = {"train": 240, "val": 40, "test": 80}
GROUND = -1.73
"""Height of the road, in metres: the sensor stands 1.73 m above it, as KITTI's."""
REACH = 40.0
"""Objects stand within so many metres ahead."""
SIDE = 19.0
RINGS = 40
RING_ANGLES = (2.0, -18.0)
"""Highest and lowest ring, in degrees."""
COLUMN_ANGLES = (-50.0, 50.0, 0.35)
"""From right to left, and the step, in degrees."""
RANGE_NOISE = 0.02
DROPPED = 0.08
FEWEST_POINTS = 5
"""Objects of which the sensor sees less are not labelled."""
KINDS = {"Car": (1, 7), "Pedestrian": (0, 5), "Cyclist": (0, 4)}
"""Fewest and most of each in a scene."""
TRIES = 40

README = """\
LiDAR scenes
============

{count} frames in TAO's layout: <split>/lidar/*.bin (float32 x, y, z in metres and the strength of the echo
from 0 to 1) and <split>/label/*.txt (KITTI's columns in the LiDAR's frame). x points forward, y to the left,
z up; the sensor stands 1.73 m above a road that rises and falls a little. Rays are cast, so near things hide
far ones; ranges have noise of 2 cm, and one echo in twelve is lost. There are cars, pedestrians and cyclists,
and clutter that is not labelled: walls, hedges, containers, poles and bins. Objects with less than 5 points
are not labelled.

Drawn by a program: no sensor, no street, nobody's data. CC0.

Made with seed {seed}.
"""


@dataclass
class _Solid:
    """A box that stops rays: (7,) as everywhere, and how strongly it reflects."""

    box: npt.NDArray[np.float64]
    reflectance: float


@dataclass
class _Scene:
    """A scene in the making."""

    draw: np.random.Generator
    solids: list[_Solid] = field(default_factory=list)
    objects: list[tuple[str, npt.NDArray[np.float64]]] = field(default_factory=list)
    places: list[tuple[float, float, float]] = field(default_factory=list)
    slope: tuple[float, float] = (0.0, 0.0)

    def height(self, x: npt.ArrayLike, y: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Height of the road."""
        return GROUND + self.slope[0] * np.asarray(x) + self.slope[1] * np.asarray(y)

    def place(self, reach: float) -> tuple[float, float] | None:
        """A free position for something of this radius in metres; None where there is none."""
        for _ in range(TRIES):
            x, y = self.draw.uniform(5, REACH), self.draw.uniform(-SIDE, SIDE)
            if all(np.hypot(x - a, y - b) > reach + radius for a, b, radius in self.places):
                self.places.append((x, y, reach))
                return x, y
        return None

    def put(self, kind: str) -> None:
        """Puts an object of a kind where there is room."""
        size = _size(kind, self.draw)
        spot = self.place(float(np.hypot(size[0], size[1])) / 2 + 0.2)
        if spot is None:
            return
        yaw = self.draw.uniform(-np.pi, np.pi)
        if kind == "Car" and self.draw.random() < 0.7:
            # Along the road, in both directions.
            yaw = self.draw.choice([0.0, np.pi]) + self.draw.normal(0, 0.1)
        bottom = float(self.height(*spot))
        box = np.array([*spot, bottom + size[2] / 2, *size, yaw])
        self.objects.append((kind, box))
        self.solids += [_Solid(part, self.draw.uniform(0.1, 0.9)) for part in _parts(kind, box)]

    def put_clutter(self) -> None:
        """Puts something that nobody asks for."""
        kind = self.draw.choice(["wall", "hedge", "container", "pole", "bin"])
        low, high = {
            "wall": ((5.0, 0.2, 1.0), (12.0, 0.5, 3.0)),
            "hedge": ((2.0, 0.6, 0.6), (5.0, 1.4, 1.6)),
            "container": ((2.2, 2.0, 1.8), (6.0, 2.6, 2.8)),
            "pole": ((0.1, 0.1, 3.0), (0.3, 0.3, 6.0)),
            "bin": ((0.5, 0.5, 0.8), (0.9, 0.9, 1.3)),
        }[str(kind)]
        size = self.draw.uniform(low, high)
        spot = self.place(float(np.hypot(size[0], size[1])) / 2)
        if spot is None:
            return
        box = np.array([*spot, float(self.height(*spot)) + size[2] / 2, *size, self.draw.uniform(0, np.pi)])
        self.solids.append(_Solid(box, self.draw.uniform(0.05, 0.5)))


def _size(kind: str, draw: np.random.Generator) -> npt.NDArray[np.float64]:
    """Length, width and height in metres, near KITTI's means."""
    mean = {"Car": (3.9, 1.6, 1.56), "Pedestrian": (0.8, 0.6, 1.73), "Cyclist": (1.76, 0.6, 1.73)}[kind]
    size: npt.NDArray[np.float64] = np.array(mean) * draw.normal(1, 0.06, 3).clip(0.85, 1.15)
    return size


def _parts(kind: str, box: npt.NDArray[np.float64]) -> list[npt.NDArray[np.float64]]:
    """What an object is built of: boxes as fractions of its own, from (-1, -1, -1) to (1, 1, 1)."""
    shapes: dict[str, list[tuple[tuple[float, float, float], tuple[float, float, float]]]] = {
        # The cabin stands to the rear, so that front and rear differ.
        "Car": [((-1, -1, -0.75), (1, 1, 0.15)), ((-0.85, -0.85, 0.15), (0.35, 0.85, 1))],
        "Pedestrian": [
            ((-0.35, -0.6, -1), (0.35, 0.6, 0)),
            ((-0.6, -1, 0), (0.5, 1, 0.72)),
            ((-0.25, -0.35, 0.72), (0.3, 0.35, 1)),
        ],
        "Cyclist": [
            ((-1, -0.15, -1), (1, 0.15, -0.25)),
            ((-0.35, -0.7, -0.25), (0.15, 0.7, 0.65)),
            ((-0.05, -0.35, 0.65), (0.25, 0.35, 1)),
            ((0.35, -1, -0.1), (0.5, 1, 0.1)),
        ],
    }
    cosine, sine = np.cos(box[6]), np.sin(box[6])
    parts = []
    for low, high in shapes[kind]:
        middle = (np.array(low) + np.array(high)) / 4 * box[3:6]
        size = (np.array(high) - np.array(low)) / 2 * box[3:6]
        x = box[0] + middle[0] * cosine - middle[1] * sine
        y = box[1] + middle[0] * sine + middle[1] * cosine
        parts.append(np.array([x, y, box[2] + middle[2], *size, box[6]]))
    return parts


def make_frame(draw: np.random.Generator) -> tuple[Points, list[Object3d]]:
    """A scene as the sensor sees it.

    Args:
        draw: of everything that is drawn.

    Returns:
        Points (N, 4) float32, and the objects that it has seen enough of.
    """
    scene = _Scene(draw, slope=(draw.normal(0, 0.004), draw.normal(0, 0.006)))
    for kind, (fewest, most) in KINDS.items():
        for _ in range(draw.integers(fewest, most + 1)):
            scene.put(kind)
    for _ in range(draw.integers(4, 11)):
        scene.put_clutter()
    points = _cast(scene)
    boxes = np.array([box for _, box in scene.objects]).reshape(-1, 7)
    # The road just below an object is none of its points.
    above = points[points[:, 2] > scene.height(points[:, 0], points[:, 1]) + 0.05]
    counts = points_inside(above, boxes).sum(axis=1)
    seen = [
        Object3d(kind, tuple(np.round(box, 4).tolist()), truncated=0.0, occluded=0)
        for (kind, box), count in zip(scene.objects, counts.tolist(), strict=True)
        if count >= FEWEST_POINTS
    ]
    return points, seen


def _rays() -> npt.NDArray[np.float64]:
    """Directions of all rays, (R, 3)."""
    rise = np.deg2rad(np.linspace(*RING_ANGLES, RINGS))[:, None]
    turn = np.deg2rad(np.arange(*COLUMN_ANGLES))[None, :]
    parts = (np.cos(rise) * np.cos(turn), np.cos(rise) * np.sin(turn), np.sin(rise) * np.ones_like(turn))
    return np.stack(parts, axis=-1).reshape(-1, 3)


def _cast(scene: _Scene) -> Points:
    """The nearest thing on every ray, with noise; rays into the sky come back with nothing."""
    rays, draw = _rays(), scene.draw
    # Where z = GROUND + a x + b y along the ray.
    fall = rays[:, 2] - scene.slope[0] * rays[:, 0] - scene.slope[1] * rays[:, 1]
    nearest = np.where(fall < -1e-6, GROUND / np.minimum(fall, -1e-6), np.inf)
    strength = np.full(len(rays), 0.25)
    bearings = np.arctan2(rays[:, 1], rays[:, 0])
    for solid in scene.solids:
        edge = ground_corners(solid.box)[0]
        angles = np.arctan2(edge[:, 1], edge[:, 0])
        # Few rays point at it: follow these alone.
        near = np.flatnonzero((bearings >= angles.min()) & (bearings <= angles.max()))
        distance = _hits(rays[near], solid.box)
        is_first = distance < nearest[near]
        hit = near[is_first]
        nearest[hit] = distance[is_first]
        strength[hit] = solid.reflectance
    back = np.flatnonzero((nearest < 1.6 * REACH) & (draw.random(len(rays)) >= DROPPED))
    away = nearest[back] + draw.normal(0, RANGE_NOISE, len(back))
    echo = (strength[back] * draw.normal(1, 0.1, len(back))).clip(0, 1)
    points: Points = np.concatenate([rays[back] * away[:, None], echo[:, None]], axis=1).astype(np.float32)
    return points


def _hits(rays: npt.NDArray[np.float64], box: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Distance from the sensor at which each ray (R, 3) enters a box; infinite where it passes by."""
    cosine, sine = np.cos(box[6]), np.sin(box[6])
    turned = np.stack(
        [rays[:, 0] * cosine + rays[:, 1] * sine, rays[:, 1] * cosine - rays[:, 0] * sine, rays[:, 2]], axis=1
    )
    east, north = -box[0], -box[1]
    start = np.array([east * cosine + north * sine, north * cosine - east * sine, -box[2]])
    safe = np.where(np.abs(turned) < 1e-9, 1e-9, turned)
    first, second = (-box[3:6] / 2 - start) / safe, (box[3:6] / 2 - start) / safe
    enters = np.minimum(first, second).max(axis=1)
    leaves = np.maximum(first, second).min(axis=1)
    return np.where((enters <= leaves) & (enters > 0), enters, np.inf)


def write_frames(folder: Path, counts: dict[str, int], seed: int) -> None:
    """Writes so many frames of each split in TAO's layout. The same seed gives the same files."""
    for number, (split, count) in enumerate(counts.items()):
        for part in ("lidar", "label"):
            (folder / split / part).mkdir(parents=True, exist_ok=True)
        for frame in range(count):
            points, objects = make_frame(np.random.default_rng([seed, number, frame]))
            (folder / split / "lidar" / f"{frame:06d}.bin").write_bytes(points.astype("<f4").tobytes())
            lines = [lidar_line(one.label, one.box, one=one) for one in objects]
            text = "".join(f"{line}\n" for line in lines)
            (folder / split / "label" / f"{frame:06d}.txt").write_text(text, encoding="utf-8")


def write_lidar_scenes(folder: Path, seed: int = 0) -> Path:
    """Writes ``<split>/lidar/*.bin``, ``<split>/label/*.txt`` and a README.txt.

    Args:
        folder: where to write; made when it is missing.
        seed: of everything that is drawn.

    Returns:
        The folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_frames(folder, COUNTS, seed)
    text = README.format(count=sum(COUNTS.values()), seed=seed)
    (folder / "README.txt").write_text(text, encoding="utf-8")
    return folder
