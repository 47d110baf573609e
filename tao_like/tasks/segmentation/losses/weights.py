"""Weights of the classes from how many pixels each has."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tao_like.errors import DatasetError

ENET_CONSTANT = 1.02


def class_weights(kind: str, pixels: npt.NDArray[np.int64], present: npt.NDArray[np.int64]) -> list[float]:
    """Weights by frequency; a class without pixels gets the weight of the rarest that has some.

    Args:
        kind: ``log_frequency``: 1 / ln(1.02 + f), with f the fraction of all pixels (Paszke et al. 2016,
            ENet); ``median_frequency``: the median of all frequencies over a class's own, with the fraction
            among the pixels of the images that show it (Eigen and Fergus 2015, section 6.3.2).
        pixels: (classes,) of each class in the training masks.
        present: (classes,) pixels of the images that show it.

    Raises:
        DatasetError: no pixel has a class.
    """
    if not pixels.sum():
        raise DatasetError("no pixel of the training masks has a class")
    if kind == "log_frequency":
        return (1 / np.log(ENET_CONSTANT + pixels / pixels.sum())).tolist()
    has = pixels > 0
    frequency = np.where(has, pixels / np.maximum(present, 1), np.inf)
    weights = np.median(frequency[has]) / frequency
    weights[~has] = weights[has].max()
    return weights.tolist()
