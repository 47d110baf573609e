"""Average precision as Pascal VOC and TAO's older detectors state it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from tao_like.tasks.common.classes.class_scores import ClassScores

SAMPLED_RECALLS = np.linspace(0, 1, 11)
TOLERANCE = 1e-9


def average_precision(matched: ClassScores, mode: str) -> float:
    """Average precision of a class; NaN where it has no object.

    At each recall counts the best precision at this recall or a higher one. ``SAMPLE`` takes the mean of it
    at the recalls 0, 0.1 ... 1 (Everingham et al. 2010, section 4.2); ``INTEGRATE`` the area below it, as
    VOC has done since 2010.

    Args:
        matched: boxes as VOC matches them: one whose object is found already is wrong.
        mode: ``SAMPLE`` or ``INTEGRATE``.
    """
    if not matched.objects:
        return math.nan
    precision, recall = matched.curve()
    best = np.maximum.accumulate(precision[::-1])[::-1]
    if mode == "SAMPLE":
        # A recall of 0.3 may be stored as a little less, such as 3 of 10 times 0.1.
        reached = np.searchsorted(recall, SAMPLED_RECALLS - TOLERANCE)
        return float(np.append(best, 0.0)[reached].mean())
    return float((np.diff(recall, prepend=0.0) * best).sum())


def mean_average_precision(by_class: Sequence[ClassScores], mode: str) -> float:
    """The mean over the classes that have objects; -1 where none has."""
    values = [average_precision(matched, mode) for matched in by_class if matched.objects]
    return float(np.mean(values)) if values else -1.0
