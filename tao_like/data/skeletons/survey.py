"""What a look at skeleton sequences tells: how long they are, the order of joints, and classes with sides."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tao_like.data.skeletons.arrays import SkeletonData
from tao_like.data.skeletons.bones import BoneCheck, check_bones
from tao_like.data.skeletons.layouts import Layout
from tao_like.data.skeletons.sides import sided_classes, swapped_classes
from tao_like.runtime.inputs.skeleton import SkeletonPreprocessing, preprocess_skeleton

SEQUENCES = 300
"""That are looked at, spread evenly."""
FRAMES = 16


def looked_at(count: int) -> range:
    """Numbers of the sequences that are looked at."""
    return range(0, count, max(1, -(-count // SEQUENCES)))


def shown_lengths(data: SkeletonData) -> npt.NDArray[np.int64]:
    """Frames from the first in which somebody is seen to the last, of some sequences; not of empty ones."""
    lengths = []
    for index in looked_at(len(data)):
        shown = np.flatnonzero(np.asarray(data.values[index]).any(axis=(0, 2, 3)))
        if len(shown):
            lengths.append(int(shown[-1] - shown[0] + 1))
    return np.array(lengths, np.int64)


def bones_of(data: SkeletonData, layout: Layout, dimensions: int) -> BoneCheck | None:
    """Whether the joints stand in the order of a layout; None where too few frames show all of them."""
    return check_bones(layout, (data.values[index][:dimensions] for index in looked_at(len(data))))


def side_classes(data: SkeletonData, names: Sequence[str], layout: Layout, dimensions: int) -> list[str]:
    """Classes that a mirror image changes: by their names, else by what the sequences look like.

    Args:
        data: the training sequences.
        names: class names in the order of the labels' numbers.
        layout: of the joints; one without left and right finds none in the sequences.
        dimensions: channels that are coordinates.
    """
    if named := sided_classes(names):
        return named
    if not layout.pairs:
        return []
    _, channels, _, joints, persons = data.values.shape
    preprocessing = SkeletonPreprocessing(
        channels,
        FRAMES,
        joints,
        persons,
        confidence=dimensions < channels,
        center=layout.center,
        spine=layout.spine,
        shoulders=layout.shoulders if dimensions == 3 and layout.spine else None,
    )
    swapped = np.arange(joints)
    for left, right in layout.pairs:
        swapped[[left, right]] = right, left
    features, mirrored, labels = [], [], []
    for index in looked_at(len(data)):
        values = np.array(data.values[index], np.float32)
        if not np.isfinite(values).all() or not values.any():
            continue
        joints_only = preprocess_skeleton(values, preprocessing)[:dimensions]
        flipped = joints_only[:, :, swapped].copy()
        flipped[0] *= -1
        features.append(joints_only.ravel())
        mirrored.append(flipped.ravel())
        labels.append(data.labels.labels[index])
    if not features:
        return []
    pairs = swapped_classes(np.stack(features), np.stack(mirrored), np.array(labels, np.int64))
    return [names[number] for number in sorted({number for pair in pairs for number in pair})]
