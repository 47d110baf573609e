"""Predictions of segmentation: class maps as rows, images and files."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from typing_extensions import override

from tao_like.contract.batch import Batch
from tao_like.contract.capabilities import WritesFiles
from tao_like.contract.predictions import Predictions
from tao_like.contract.sample import Outputs, Sample
from tao_like.runtime.predictions.mask import CLASS_MAP, PIXEL_PROBABILITIES, palette_image, pixel_counts
from tao_like.tasks.common.label_files import file_names
from tao_like.tasks.segmentation.data.data import SegmentationData
from tao_like.tasks.segmentation.data.targets import MaskTarget, SegmentationTargets
from tao_like.tasks.segmentation.draw import class_colors, draw_prediction, overlay
from tao_like.tasks.segmentation.metrics.pixels import confusion_of, ious
from tao_like.tasks.segmentation.prediction import Segmented
from tao_like.tasks.segmentation.spec import Spec

NAMES = {"class_map": CLASS_MAP, "probabilities": PIXEL_PROBABILITIES}
"""Name of each possible output to its meaning."""


class MaskFile(NamedTuple):
    """The mask of a sample as a file's content."""

    key: str
    png: bytes


class MaskPredictions(Predictions[Segmented], WritesFiles):
    """The class of every pixel.

    Args:
        data: names the classes and says how a photo becomes an input.
        spec: of the task.
        mask_files: write the masks as files.
    """

    kind = "mask"

    def __init__(self, data: SegmentationData, spec: Spec) -> None:
        self.data = data
        self._output = spec.export.output
        self._mask_files = spec.inference.mask_files
        self._has_files = False

    @property
    def output(self) -> str:
        """What a network of the toolkit's own gives: the name of its output."""
        return "probabilities" if self.data.tilings() else self._output

    @override
    def from_outputs(self, outputs: Outputs) -> list[Segmented]:
        (values,) = outputs.values()
        return [Segmented(one, self.data.preprocessing) for one in values]

    @override
    def targets(self, batch: Batch[SegmentationTargets]) -> list[MaskTarget]:
        return batch.targets.photos

    @override
    def difference(self, expected: Outputs, actual: Outputs) -> float:
        """Of class maps the fraction of pixels whose class differs; of probabilities the largest
        difference."""
        name = next(iter(expected))
        if name == "class_map":
            return float(np.mean(expected[name] != actual[name]))
        return super().difference(expected, actual)

    def mask_of(self, sample: Sample, prediction: Segmented) -> np.ndarray:
        """(H, W) class numbers of a photo, which need not be at hand where there is a target."""
        width, height = (
            sample.data.size if sample.data is not None else (sample.target.width, sample.target.height)
        )
        return prediction.at(width, height)

    @override
    def csv_row(self, sample: Sample, prediction: Segmented) -> dict[str, Any]:
        mask = self.mask_of(sample, prediction)
        names = self.data.labels.names
        fractions = pixel_counts(mask, len(names)) / mask.size
        row: dict[str, Any] = {"path": sample.key, "width": mask.shape[1], "height": mask.shape[0]}
        if sample.target is not None and sample.target.classes is not None:
            confusion = confusion_of(mask, sample.target.classes, len(names))
            of_classes = ious(confusion)
            is_scored = np.isfinite(of_classes)
            row["pixel_accuracy"] = f"{np.trace(confusion) / max(1, confusion.sum()):.6f}"
            row["mIoU"] = f"{of_classes[is_scored].mean():.6f}" if is_scored.any() else ""
        return row | {
            f"share_{name}": f"{fraction:.6f}" for name, fraction in zip(names, fractions, strict=True)
        }

    @override
    def record(self, sample: Sample, prediction: Segmented) -> MaskFile | None:
        if not self._mask_files or sample.data is None:
            return None  # an evaluation has rows and images
        self._has_files = True
        mask = palette_image(self.mask_of(sample, prediction), class_colors(len(self.data.labels)))
        content = io.BytesIO()
        mask.save(content, "PNG")
        return MaskFile(sample.key, content.getvalue())

    @override
    def files(self, records: Sequence[MaskFile | None]) -> dict[str, str | bytes]:
        written = [record for record in records if record is not None]
        names = file_names((record.key for record in written), "masks/{}.png")
        return {name: record.png for name, record in zip(names, written, strict=True)}

    @override
    def notes(self) -> list[str]:
        return ["Masks as palette PNG, whose values are class numbers: masks"] if self._has_files else []

    @override
    def draw(self, sample: Sample, prediction: Segmented, heatmap: np.ndarray | None = None) -> Image.Image:
        target = None if sample.target is None else sample.target.classes
        return draw_prediction(sample.data, self.mask_of(sample, prediction), target, self.data.labels.names)

    @override
    def draw_batch(self, batch: Batch[SegmentationTargets]) -> list[Image.Image]:
        images = batch.input.permute(0, 2, 3, 1).clamp(0, 255).byte().cpu().numpy()
        masks = batch.targets.masks.cpu().numpy()
        return [overlay(Image.fromarray(pixels), mask) for pixels, mask in zip(images, masks, strict=True)]
