"""From objects that may cover each other to segments: at most one a pixel (Cheng et al. 2021)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tao_like.errors import BundleError

Masks = Callable[[], Iterable[npt.NDArray[np.float64]]]
HALF = 0.5
"""Probability from which on a pixel belongs to an object's own mask."""


@dataclass(frozen=True)
class SegmentRule:
    """Which objects become segments.

    Attributes:
        score_threshold: objects up to this score are dropped.
        overlap_threshold: an object is dropped of whose own mask less than this fraction is seen.
        regions: numbers of the classes whose objects are one region (stuff: sky, road), joined to one.
    """

    score_threshold: float = 0.8
    overlap_threshold: float = 0.8
    regions: frozenset[int] = frozenset()

    def to_dict(self) -> dict[str, Any]:
        """For the metadata of an exported file."""
        return {
            "score_threshold": self.score_threshold,
            "overlap_threshold": self.overlap_threshold,
            "regions": sorted(self.regions),
        }


def stated_rule(extra: Mapping[str, Any], num_classes: int) -> SegmentRule | None:
    """The rule that a model's metadata states; None: its objects may cover each other. Raises BundleError."""
    given = extra.get("segments")
    if given is None:
        return None
    try:
        rule = SegmentRule(
            float(given["score_threshold"]),
            float(given["overlap_threshold"]),
            frozenset(int(number) for number in given["regions"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(f"the model's metadata has segments {given!r}, which cannot be read.") from error
    if not (0 <= rule.score_threshold <= 1 and 0 <= rule.overlap_threshold <= 1):
        raise BundleError(f"the model's metadata has segments {given!r}; thresholds lie between 0 and 1.")
    if any(not 0 <= number < num_classes for number in rule.regions):
        raise BundleError(f"the model's metadata has segments {given!r} of {num_classes} classes.")
    return rule


def segment_masks(
    masks: Masks,
    scores: npt.NDArray[np.float32],
    labels: npt.NDArray[np.int64],
    size: tuple[int, int],
    rule: SegmentRule,
) -> list[tuple[int, npt.NDArray[np.bool_]]]:
    """The segments of a photo (section 3.3 of MaskFormer, Cheng et al. 2021).

    A pixel goes to the object whose score times mask is the largest there. An object of which little is left
    of its own mask is dropped, as is one that has no pixel. Objects of a region's class are joined.

    Args:
        masks: gives the probabilities (height, width) of each object, 0 to 1, in order; called twice, so that
            no more than one is held at a time.
        scores: (M,) of the objects.
        labels: (M,) class numbers.
        size: width and height.
        rule: which objects become segments.

    Returns:
        Number of an object, the first of its region, and mask (height, width), in the order of the objects.
    """
    best, owner = np.zeros(size[::-1]), np.full(size[::-1], -1, np.int64)
    for number, mask in enumerate(masks()):
        weighed = mask * float(scores[number])
        better = weighed > best
        best[better], owner[better] = weighed[better], number
    segments: list[tuple[int, npt.NDArray[np.bool_]]] = []
    of_region: dict[int, npt.NDArray[np.bool_]] = {}
    for number, mask in enumerate(masks()):
        own, seen = mask >= HALF, owner == number
        visible = own & seen
        if not visible.any() or seen.sum() < rule.overlap_threshold * own.sum():
            continue
        label = int(labels[number])
        if label in of_region:
            of_region[label] |= visible
            continue
        if label in rule.regions:
            of_region[label] = visible
        segments.append((number, visible))
    return segments
