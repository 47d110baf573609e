"""Training frames drawn so that classes are balanced."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tao_like.data.lidar.frame import LidarRecord, frame_objects

SEED = 0
"""Of the draw, which is the same in every process and after every interruption."""


def balanced(
    records: Sequence[LidarRecord], classes: Sequence[str], renamed: Mapping[str, str]
) -> list[LidarRecord]:
    """Frames in which each class has the same chance, in the order that they came in.

    Class-balanced grouping and sampling (Zhu et al. 2019, section 3.1): frames are duplicated for each class
    that they show, and for each class the same number is drawn out of its frames, together as many as there
    are duplicates. Classes that no frame shows take no part.

    Args:
        records: frames and their objects.
        classes: class names.
        renamed: label of the data to the class that it counts as.
    """
    shown = [set(frame_objects(record.objects, classes, renamed).labels.tolist()) for record in records]
    of_class = [
        [index for index, labels in enumerate(shown) if number in labels] for number in range(len(classes))
    ]
    groups = [positions for positions in of_class if positions]
    if not groups:
        return list(records)
    random = np.random.default_rng(SEED)
    each = round(sum(map(len, groups)) / len(groups))
    drawn = np.concatenate([_drawn(positions, each, random) for positions in groups])
    return [records[index] for index in np.sort(drawn)]


def _drawn(positions: Sequence[int], count: int, random: np.random.Generator) -> np.ndarray:
    """So many of the indices: all of them as often as they fit, and the rest at random without repetition."""
    whole, rest = divmod(count, len(positions))
    return np.concatenate([np.repeat(positions, whole), random.choice(positions, rest, replace=False)])
