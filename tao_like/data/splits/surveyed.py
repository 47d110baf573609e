"""What a look at somebody's data tells of its splits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

UNSPLIT = "all"
"""The name of data that comes without splits."""


class SurveyedSplits:
    """For a dataclass with these attributes.

    Attributes:
        sources: for each split where to read it; the one name ``all`` for data that is not split.
        images: of each split.
    """

    sources: Mapping[str, Any]
    images: Mapping[str, int]

    @property
    def is_split(self) -> bool:
        """Whether the data comes in splits."""
        return UNSPLIT not in self.sources

    @property
    def training_images(self) -> int:
        """Images of the training split, or all of unsplit data."""
        return self.images["train" if self.is_split else UNSPLIT]
