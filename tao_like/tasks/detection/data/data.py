"""The data of detection: images and the boxes around the objects on them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from typing_extensions import override

from tao_like.contract.batch import Batch
from tao_like.contract.capabilities import AnchorFit, Converts, FitsAnchors
from tao_like.contract.data import DataReport
from tao_like.contract.sample import Split
from tao_like.contract.trained import TrainedState
from tao_like.runtime.inputs.image import ImagePreprocessing
from tao_like.tasks.common.augmentation.scenes import SceneAugmentation
from tao_like.tasks.common.tiled_image_data import TiledImageData
from tao_like.tasks.detection.anchors.fit import fit_anchors
from tao_like.tasks.detection.data.check import check_detection_data
from tao_like.tasks.detection.data.convert import convert_labels
from tao_like.tasks.detection.data.dataset import DetectionDataset, DetectionTargets, collate_items
from tao_like.tasks.detection.data.source import LabelledBoxes, inference_files
from tao_like.tasks.detection.data.tiles import BoxTiles, TiledDataset
from tao_like.tasks.detection.model.build import input_normalization
from tao_like.tasks.detection.spec import AugmentationSpec, Spec


class DetectionData(TiledImageData[LabelledBoxes], Converts, FitsAnchors):
    """Images and boxes of COCO, VOC, KITTI and YOLO files; big images perhaps in tiles.

    Args:
        spec: of the task.
        trained: what a trained model says of itself; None: it is yet to be trained.
    """

    key_form = "dataset.{split}_data_sources"
    export_mark = "selection"
    spec: Spec
    source_kind: ClassVar[type[LabelledBoxes]] = LabelledBoxes

    def __init__(self, spec: Spec, trained: TrainedState | None) -> None:
        split, classes = (trained.split, trained.classes) if trained else (None, None)
        super().__init__(spec, self.source_kind(spec.dataset, split, classes), trained)

    @property
    @override
    def interpolation(self) -> str:
        return input_normalization(self.spec.model).interpolation

    @property
    @override
    def agreement(self) -> float:
        return float(self.block.tiling.agreement)

    @override
    def tilings(self) -> list[BoxTiles]:
        return [BoxTiles(self)] if self.is_tiled else []

    @override
    def dataset(self, split: Split, *, augment: bool = False) -> DetectionDataset:
        records = self.given_records(split)
        augmentation = self.block.augmentation
        make = partial(TiledDataset, tiling=self.tiling) if self.tiling else DetectionDataset
        return make(
            records,
            self.labels.names,
            self.preprocessing,
            self.image_store([record.path for record in records]),
            augment=augmentation_of(augmentation, self.preprocessing) if augment else None,
            strong_epochs=self.spec.train.num_epochs - augmentation.plain_epochs,
        )

    @override
    def collate(self, samples: Sequence[Any]) -> Batch[DetectionTargets]:
        return collate_items(samples)

    @override
    def inference_files(self) -> list[Path]:
        return inference_files(self.block.infer_data_sources, self.labels.names)

    @override
    def check(self, *, full: bool, on_progress: Callable[[int, int], None] | None = None) -> DataReport:
        figures = self.spec.dataset_check.max_pictures
        return check_detection_data(self, figures=figures, full=full, on_progress=on_progress)

    @override
    def convert(self, folder: Path) -> tuple[dict[str, Any], list[str], str]:
        return convert_labels(self.source, self.spec.dataset_convert.format, folder)

    @override
    def fit_anchors(self) -> AnchorFit:
        return fit_anchors(self.spec, self.source, self.preprocessing)


def augmentation_of(spec: AugmentationSpec, preprocessing: ImagePreprocessing) -> SceneAugmentation:
    """What changes training images by the spec."""
    return SceneAugmentation(
        preprocessing,
        affine=spec.random_affine,
        color=spec.random_color,
        horizontal_flip_prob=spec.horizontal_flip_prob,
        vertical_flip_prob=spec.vertical_flip_prob,
        mosaic_prob=spec.mosaic_prob,
        mixup_prob=spec.mixup_prob,
    )
