"""One sample as it is on disk, and the names that all of the contract uses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")
Outputs = dict[str, np.ndarray]
"""What an exported graph gives for a batch: output name to array, the batch in front."""
Preprocessed = dict[str, Any]
"""A batch as the runtime hands it to a model: input name to what that kind of input is joined to."""


@dataclass
class Sample:
    """One sample before preprocessing.

    Attributes:
        key: its name, for people: the path below the data's root.
        data: what ``Data.load`` gives: an image, points, a skeleton; for a task of several inputs a
            dictionary with the data of each by its name. None where only key and target are needed.
        target: in the task's own form; None where there is none.
    """

    key: str
    data: Any
    target: Any = None
