"""One image and what is known about it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ImageRecord:
    """One image with its labels.

    Attributes:
        path: The file.
        labels: Class names: one for single-label data, any number (also none) for multi-label data.
        group: What must stay in one split, such as a patient or a video; empty: the image stands alone.
        key: Path relative to the folder that the data was read from, with forward slashes. It names the
            image in reports and in stored splits, so that these survive when the folder moves. An image
            outside that folder has its absolute path as key.
    """

    path: Path
    labels: tuple[str, ...]
    group: str = ""
    key: str = ""

    @property
    def name(self) -> str:
        """The key, or the path where the record has no key."""
        return self.key or self.path.as_posix()


def sample_names(records: Sequence[ImageRecord]) -> list[str]:
    """A name for each record: its own, or its path where another record bears that name.

    Two sources may hold files of one name, and predictions are told apart by the names of their samples.
    """
    counts = Counter(record.name for record in records)
    return [record.name if counts[record.name] == 1 else record.path.as_posix() for record in records]
