"""How strong the echoes of a data set are, as the preprocessing of a network keeps it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tao_like.data.lidar.frame import LidarRecord
from tao_like.errors import DatasetError
from tao_like.runtime.inputs.points import ECHO_PERCENTILE, STRONG_ECHO, PointsPreprocessing, read_points

FRAMES_READ = 8
LIMITS = (255.0, 65535.0)


def largest_echo(records: Sequence[LidarRecord], preprocessing: PointsPreprocessing) -> float | None:
    """The end of the scale of the echoes: 1 where they lie between 0 and 1, else 255, 65535 or more.

    Some frames are read, spread evenly; those that cannot be read are passed over, as the check names them.

    Args:
        records: the training frames.
        preprocessing: how they are read.

    Returns:
        It, after the division by ``intensity_scale``; None where no frame can be read.
    """
    anything = replace(preprocessing, largest_echo=math.inf)
    echoes = []
    for record in records[:: max(1, -(-len(records) // FRAMES_READ))]:
        try:
            echoes.append(read_points(record.path, anything)[:, 3])
        except DatasetError:
            continue
    if not echoes:
        return None
    strong = float(np.percentile(np.concatenate(echoes), ECHO_PERCENTILE))
    if strong <= STRONG_ECHO:
        return 1.0
    return next((limit for limit in LIMITS if strong <= limit), 10 * strong)
