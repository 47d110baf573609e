"""What only some tasks can do, each with a default that says no."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

if TYPE_CHECKING:
    from tao_like.tasks.base import Batch, Sample, Split


class Capabilities:
    """Optional parts of a task; see ``tasks.base.Task``."""

    def data_key(self, split: Split) -> str:
        """The key of the spec that names a split's data, for messages."""
        return f"dataset.{split}_dataset.images_dir"

    def convert(self, folder: Path) -> tuple[dict[str, Any], list[str]]:
        """Writes the labels in another format into a folder, for a task with the stage `dataset_convert`.

        Returns:
            What was written, as JSON, and lines that say so.
        """
        raise NotImplementedError(f"{type(self).__name__} has no formats to convert between: {folder}")

    def metadata_extra(self) -> dict[str, Any]:
        """What else the runtime must know of a model, as JSON."""
        return {}

    def entry(self, sample: Sample, answer: Any) -> Any:
        """What `result_files` needs of a sample and its answer; None: nothing."""
        del sample, answer
        return None

    def result_files(self, entries: Sequence[Any]) -> dict[str, str]:
        """Further files with the answers, beside the CSV: path below the stage's folder to text."""
        del entries
        return {}

    def draw_batch(self, batch: Batch) -> list[Image.Image]:
        """A training batch as the network sees it, with its truths; empty: this task does not draw it."""
        del batch
        return []
