"""The data of detection: images and the boxes around the objects on them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any, ClassVar

from typing_extensions import override

from tao_like.contract.batch import Batch
from tao_like.contract.capabilities import AnchorFit, Converts, FitsAnchors
from tao_like.contract.data import DataReport
from tao_like.contract.sample import SPLITS, Split
from tao_like.contract.trained import TrainedState
from tao_like.errors import DatasetError
from tao_like.runtime.inputs.image import ImagePreprocessing
from tao_like.runtime.inputs.image.big_images import BigImages
from tao_like.runtime.predictions.tiles import Tiling
from tao_like.tasks.common.augmentation.scenes import SceneAugmentation
from tao_like.tasks.common.image_data import ImageData
from tao_like.tasks.common.image_tiles import tiles_of
from tao_like.tasks.detection.anchors.fit import fit_anchors
from tao_like.tasks.detection.data.check import check_detection_data
from tao_like.tasks.detection.data.convert import convert_labels
from tao_like.tasks.detection.data.dataset import DetectionDataset, DetectionTargets, collate_items
from tao_like.tasks.detection.data.source import LabelledBoxes, inference_files
from tao_like.tasks.detection.data.tiles import BoxTiles, TiledDataset
from tao_like.tasks.detection.model.build import input_normalization
from tao_like.tasks.detection.spec import AugmentationSpec, Spec

FILL = 114
"""Grey of the borders around an image, as in YOLOX."""


class DetectionData(ImageData[LabelledBoxes], Converts, FitsAnchors):
    """Images and boxes of COCO, VOC, KITTI and YOLO files; big images perhaps in tiles.

    Args:
        spec: of the task.
        trained: what a trained model says of itself; None: it is yet to be trained.
    """

    key_form = "dataset.{split}_data_sources"
    source_kind: ClassVar[type[LabelledBoxes]] = LabelledBoxes

    def __init__(self, spec: Spec, trained: TrainedState | None) -> None:
        split, classes = (trained.split, trained.classes) if trained else (None, None)
        super().__init__(spec.dataset, self.source_kind(spec.dataset, split, classes), spec.results_dir)
        self.spec = spec
        self.trained = trained

    @cached_property
    def preprocessing(self) -> ImagePreprocessing:
        """How an image, or a tile of it, becomes an input."""
        if self.trained:
            return ImagePreprocessing.from_dict(self.trained.preprocessing)
        block = self.block
        return ImagePreprocessing(
            height=block.img_height or block.img_size,
            width=block.img_size,
            resize=block.resize,
            crop_pct=1.0,
            interpolation=input_normalization(self.spec.model).interpolation,
            fill=FILL,
            window=self.pixel_window(block.pixel_range),
        )

    @property
    def is_tiled(self) -> bool:
        """Whether big images are cut into tiles."""
        if self._exported is not None:
            return Tiling.of(self._exported) is not None
        return bool(self.block.tiling.enable)

    @property
    def _exported(self) -> dict[str, Any] | None:
        """What an exported file says besides: all of it, so that predictions are those of the runtime."""
        return self.trained.extra if self.trained and "selection" in self.trained.extra else None

    @cached_property
    def tiling(self) -> Tiling | None:
        """How big images are cut; None: they are not."""
        if not self.is_tiled or self._exported is not None:
            return Tiling.of(self._exported or {})
        settings = self.block.tiling
        return Tiling(
            settings.tile_width or self.preprocessing.width,
            settings.tile_height or self.preprocessing.height,
            settings.overlap,
            settings.agreement,
        )

    @property
    @override
    def big_images(self) -> BigImages:
        if self.is_tiled:
            return BigImages.READ
        return BigImages.BY_KEY if self._exported is None else BigImages.OF_MODEL

    def tilings(self) -> list[BoxTiles]:
        """What cuts images into tiles and merges predictions; none where they are not cut."""
        return [BoxTiles(self)] if self.is_tiled else []

    @override
    def count(self, split: Split) -> int:
        records = self.source.records(split)
        return len(tiles_of(records, self.tiling)) if self.tiling else len(records)

    @override
    def dataset(self, split: Split, *, augment: bool = False) -> DetectionDataset:
        records = self.source.records(split)
        if not records:
            raise DatasetError(f"there is no {split} data; give {self.key(split)}")
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
        return check_detection_data(
            self.source,
            [split for split in SPLITS if self.has(split)],
            self.preprocessing.window,
            self.big_images,
            lambda: self.dataset("train"),
            figures=self.spec.dataset_check.max_pictures,
            full=full,
            on_progress=on_progress,
        )

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
