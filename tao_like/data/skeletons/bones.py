"""Whether the joints of a data set stand in the order of a layout, as the lengths of its bones tell.

Bones join joints that are near each other. In the right order the bones of a layout are together hardly
longer than the shortest tree that joins all joints; in another order they lead all over the body.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tao_like.data.skeletons.layouts import Layout

TOO_LONG = 1.4
"""Bones that are longer than the shortest tree by this factor are none: the order of the joints is another.
Over the published layouts and UTKinect the right order comes to 1.03 to 1.18, MSR-Action3D's taken for
Kinect's to 2.4, an order at random to 1.8 and more."""
FEWEST_FRAMES = 20
_MOST_FRAMES = 2000
_LONG = 1e9


@dataclass(frozen=True)
class BoneCheck:
    """How the bones of a layout compare with the shortest tree.

    Attributes:
        ratio: length of the layout's bones to that of the tree; those that close a cycle are left out.
        edges: the tree, as pairs of joint numbers, the smaller first.
        center: the joint from which the others are fewest edges away in all.
    """

    ratio: float
    edges: tuple[tuple[int, int], ...]
    center: int

    @property
    def is_plausible(self) -> bool:
        """Whether the joints can stand in the layout's order."""
        return self.ratio <= TOO_LONG


def check_bones(layout: Layout, sequences: Iterable[npt.NDArray[np.floating]]) -> BoneCheck | None:
    """Compares the bones of a layout with what the joints' distances say.

    Args:
        layout: with as many joints as the sequences.
        sequences: (coordinates, frames, joints, persons), without scores; zeros were not seen.

    Returns:
        The comparison; None where too few frames show all joints.
    """
    lengths = mean_distances(sequences)
    if lengths is None:
        return None
    tree = shortest_tree(lengths)
    # A layout's cycles would count for more bones than a tree has.
    allowed = np.full_like(lengths, _LONG)
    for one, other in layout.edges:
        allowed[one, other] = allowed[other, one] = lengths[one, other]
    own = sum(lengths[edge] for edge in shortest_tree(allowed))
    shortest = sum(lengths[edge] for edge in tree)
    if shortest <= 0:
        return None
    return BoneCheck(float(own / shortest), tree, middle_joint(len(lengths), tree))


def mean_distances(sequences: Iterable[npt.NDArray[np.floating]]) -> npt.NDArray[np.float64] | None:
    """Mean distance (V, V) of each two joints, over frames in which all are seen; None: too few of these."""
    total, count = None, 0
    for sequence in sequences:
        # (coordinates, frames, joints, persons) to a row for each frame and person.
        poses = np.asarray(sequence, np.float64).transpose(1, 3, 2, 0)
        flat = poses.reshape(-1, *poses.shape[2:])
        whole = flat[flat.any(axis=2).all(axis=1) & np.isfinite(flat).all(axis=(1, 2))]
        if not len(whole):
            continue
        between = np.linalg.norm(whole[:, :, None] - whole[:, None], axis=3).sum(axis=0)
        total = between if total is None else total + between
        count += len(whole)
        if count >= _MOST_FRAMES:
            break
    return None if total is None or count < FEWEST_FRAMES else np.asarray(total / count)


def shortest_tree(lengths: npt.NDArray[np.float64]) -> tuple[tuple[int, int], ...]:
    """The edges of the shortest tree over all joints (Prim 1957), as pairs with the smaller number first."""
    reached = [0]
    edges = []
    while len(reached) < len(lengths):
        rest = [joint for joint in range(len(lengths)) if joint not in reached]
        part = lengths[np.ix_(reached, rest)]
        near, far = np.unravel_index(int(part.argmin()), part.shape)
        one, other = reached[int(near)], rest[int(far)]
        edges.append((min(one, other), max(one, other)))
        reached.append(other)
    return tuple(sorted(edges))


def middle_joint(joints: int, edges: Sequence[tuple[int, int]]) -> int:
    """The joint whose distances to all others, counted in edges, have the smallest sum."""
    hops = np.full((joints, joints), joints)
    np.fill_diagonal(hops, 0)
    for one, other in edges:
        hops[one, other] = hops[other, one] = 1
    for through in range(joints):
        hops = np.minimum(hops, hops[:, through : through + 1] + hops[through])
    return int(hops.sum(axis=1).argmin())
