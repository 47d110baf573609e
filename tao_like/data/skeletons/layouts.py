"""Layouts of skeletons: which joints there are, what joins them, which is the center.

Edges and centers are those of ST-GCN (Yan et al. 2018) and of TAO's pose classification. Names are the same
in all layouts, so that what is left and right, and where the spine is, can be told from them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from tao_like.errors import SpecError

CUSTOM = "custom"
"""The layout that a spec describes itself."""


@dataclass(frozen=True)
class Layout:
    """Joints and what joins them.

    Attributes:
        name: what users call it.
        joints: names in the order of the data, such as ``left knee``.
        edges: pairs of joint numbers from 0; the graph may have cycles.
        center: number of the joint that distances are measured from.
    """

    name: str
    joints: tuple[str, ...]
    edges: tuple[tuple[int, int], ...]
    center: int

    def __post_init__(self) -> None:
        """Refuse numbers that are no joints and joints that nothing joins, with a SpecError."""
        count = len(self.joints)
        wrong = [edge for edge in self.edges if not all(0 <= joint < count for joint in edge)]
        if wrong:
            raise SpecError(
                f"edge {list(wrong[0])} names a joint that is not there; there are 0 to {count - 1}"
            )
        if not 0 <= self.center < count:
            raise SpecError(f"center {self.center} is no joint; there are 0 to {count - 1}")
        apart = [number for number, hops in enumerate(self.distances) if hops < 0]
        if apart:
            raise SpecError(f"no edges lead from the center to joint {apart[0]} ({self.joints[apart[0]]})")

    @cached_property
    def distances(self) -> tuple[int, ...]:
        """Edges between each joint and the center; -1 where there is no way."""
        hops = [-1] * len(self.joints)
        hops[self.center] = 0
        waiting = deque([self.center])
        while waiting:
            here = waiting.popleft()
            for one, other in self.edges:
                for near, far in ((one, other), (other, one)):
                    if near == here and hops[far] < 0:
                        hops[far] = hops[here] + 1
                        waiting.append(far)
        return tuple(hops)

    @cached_property
    def inward(self) -> tuple[tuple[int, int], ...]:
        """Each edge as (farther from the center, nearer); equally far ones as they are listed."""
        hops = self.distances
        return tuple((one, other) if hops[one] >= hops[other] else (other, one) for one, other in self.edges)

    @cached_property
    def parents(self) -> tuple[int, ...]:
        """The neighbour nearer to the center, for each joint; the center is its own."""
        found = list(range(len(self.joints)))
        for far, near in reversed(self.inward):
            if self.distances[far] > self.distances[near]:
                found[far] = near
        return tuple(found)

    @cached_property
    def pairs(self) -> tuple[tuple[int, int], ...]:
        """Left joints with their right counterparts, by name."""
        numbers = {name: number for number, name in enumerate(self.joints)}
        return tuple(
            (number, numbers[other])
            for name, number in numbers.items()
            if name.startswith("left ") and (other := f"right {name.removeprefix('left ')}") in numbers
        )

    @property
    def spine(self) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
        """Joints in the middle of the hips, and those in the middle of the shoulders; None where unnamed."""
        low = self.numbers("pelvis") or self.numbers("left hip", "right hip")
        high = (
            self.numbers("thorax") or self.numbers("neck") or self.numbers("left shoulder", "right shoulder")
        )
        return (low, high) if low and high else None

    @property
    def shoulders(self) -> tuple[int, int] | None:
        """Left and right shoulder; None where unnamed."""
        found = self.numbers("left shoulder", "right shoulder")
        return None if found is None else (found[0], found[1])

    def numbers(self, *names: str) -> tuple[int, ...] | None:
        """Numbers of joints by name; None where one is not in this layout."""
        if not all(name in self.joints for name in names):
            return None
        return tuple(self.joints.index(name) for name in names)


def _counted_from_one(pairs: Sequence[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    return tuple((one - 1, other - 1) for one, other in pairs)


_NVIDIA = (
    *("pelvis", "left hip", "right hip", "spine", "left knee", "right knee", "neck", "left ankle"),
    *("right ankle", "left big toe", "right big toe", "left small toe", "right small toe", "left heel"),
    *("right heel", "nose", "left eye", "right eye", "left ear", "right ear", "left shoulder"),
    *(
        "right shoulder",
        "left elbow",
        "right elbow",
        "left wrist",
        "right wrist",
        "left pinky",
        "right pinky",
    ),
    *("left middle tip", "right middle tip", "left index", "right index", "left thumb", "right thumb"),
)
_OPENPOSE = (
    *("nose", "neck", "right shoulder", "right elbow", "right wrist", "left shoulder", "left elbow"),
    *("left wrist", "right hip", "right knee", "right ankle", "left hip", "left knee", "left ankle"),
    *("right eye", "left eye", "right ear", "left ear"),
)
_HUMAN36M = (
    *("pelvis", "right hip", "right knee", "right ankle", "left hip", "left knee", "left ankle", "spine"),
    *("thorax", "neck", "head", "left shoulder", "left elbow", "left wrist", "right shoulder"),
    *("right elbow", "right wrist"),
)
_KINECT_LIMBS = (
    *("left shoulder", "left elbow", "left wrist", "left hand", "right shoulder", "right elbow"),
    *("right wrist", "right hand", "left hip", "left knee", "left ankle", "left foot", "right hip"),
    *("right knee", "right ankle", "right foot"),
)
_HANDS = ("left hand tip", "left thumb", "right hand tip", "right thumb")
_COCO = (
    *("nose", "left eye", "right eye", "left ear", "right ear", "left shoulder", "right shoulder"),
    *("left elbow", "right elbow", "left wrist", "right wrist", "left hip", "right hip", "left knee"),
    *("right knee", "left ankle", "right ankle"),
)

LAYOUTS: dict[str, Layout] = {
    layout.name: layout
    for layout in (
        Layout(
            "nvidia",
            _NVIDIA,
            (
                *((0, 1), (0, 2), (0, 3), (1, 4), (2, 5), (3, 6), (4, 7), (5, 8), (7, 9), (8, 10), (9, 11)),
                *((10, 12), (7, 13), (8, 14), (6, 15), (15, 16), (15, 17), (16, 18), (17, 19), (1, 20)),
                *((2, 21), (6, 20), (6, 21), (20, 22), (21, 23), (22, 24), (23, 25), (24, 26), (25, 27)),
                *((24, 28), (25, 29), (24, 30), (25, 31), (24, 32), (25, 33)),
            ),
            0,
        ),
        Layout(
            "openpose",
            _OPENPOSE,
            (
                *((4, 3), (3, 2), (7, 6), (6, 5), (13, 12), (12, 11), (10, 9), (9, 8), (11, 5), (8, 2)),
                *((5, 1), (2, 1), (0, 1), (15, 0), (14, 0), (17, 15), (16, 14)),
            ),
            1,
        ),
        Layout(
            "human3.6m",
            _HUMAN36M,
            (
                *((9, 10), (8, 9), (7, 8), (1, 7), (4, 7), (0, 1), (0, 4), (9, 11), (9, 14), (11, 12)),
                *((14, 15), (12, 13), (15, 16), (1, 2), (2, 3), (4, 5), (5, 6)),
            ),
            8,
        ),
        Layout(
            "ntu-rgb+d",
            ("pelvis", "spine", "neck", "head", *_KINECT_LIMBS, "thorax", *_HANDS),
            _counted_from_one(
                (
                    *((1, 2), (2, 21), (3, 21), (4, 3), (5, 21), (6, 5), (7, 6), (8, 7), (9, 21), (10, 9)),
                    *((11, 10), (12, 11), (13, 1), (14, 13), (15, 14), (16, 15), (17, 1), (18, 17)),
                    *((19, 18), (20, 19), (22, 23), (23, 8), (24, 25), (25, 12)),
                )
            ),
            20,
        ),
        Layout(
            "ntu_edge",
            ("pelvis", "spine", "neck", "head", *_KINECT_LIMBS, *_HANDS),
            _counted_from_one(
                (
                    *((1, 2), (3, 2), (4, 3), (5, 2), (6, 5), (7, 6), (8, 7), (9, 2), (10, 9), (11, 10)),
                    *((12, 11), (13, 1), (14, 13), (15, 14), (16, 15), (17, 1), (18, 17), (19, 18)),
                    *((20, 19), (21, 22), (22, 8), (23, 24), (24, 12)),
                )
            ),
            2,
        ),
        Layout(
            "coco",
            _COCO,
            _counted_from_one(
                (
                    *((16, 14), (14, 12), (17, 15), (15, 13), (12, 13), (6, 12), (7, 13), (6, 7), (8, 6)),
                    *((9, 7), (10, 8), (11, 9), (2, 3), (2, 1), (3, 1), (4, 2), (5, 3), (4, 6), (5, 7)),
                )
            ),
            0,
        ),
        Layout(
            "kinect_v1",
            ("pelvis", "spine", "thorax", "head", *_KINECT_LIMBS),
            (
                *((0, 1), (1, 2), (2, 3), (2, 4), (4, 5), (5, 6), (6, 7), (2, 8), (8, 9), (9, 10), (10, 11)),
                *((0, 12), (12, 13), (13, 14), (14, 15), (0, 16), (16, 17), (17, 18), (18, 19)),
            ),
            2,
        ),
    )
}
"""Published layouts by name."""


def custom_layout(joints: Sequence[str], edges: Sequence[Sequence[int]], center: int) -> Layout:
    """A user's own layout.

    Args:
        joints: names; ``left ...`` and ``right ...`` make mirrored pairs.
        edges: pairs of joint numbers from 0.
        center: number of the joint that distances are measured from.

    Raises:
        SpecError: a number is no joint, a name stands twice, or a joint hangs in the air.
    """
    if len(set(joints)) != len(joints):
        raise SpecError("a joint's name stands twice; give each its own")
    if any(len(edge) != 2 for edge in edges):
        raise SpecError("an edge has not two joints; give pairs such as [0, 1]")
    return Layout(CUSTOM, tuple(joints), tuple((int(one), int(other)) for one, other in edges), center)
