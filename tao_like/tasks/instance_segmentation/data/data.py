"""The data of instance segmentation: detection's, with outlines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

from typing_extensions import override

from tao_like.contract.batch import Batch
from tao_like.contract.data import DataReport
from tao_like.contract.sample import SPLITS, Split
from tao_like.contract.trained import TrainedState
from tao_like.data.boxes.annotation import BoxRecord
from tao_like.data.boxes.sources import BoxSource, stated_regions
from tao_like.data.inference_files import image_sources
from tao_like.runtime.inputs.image.big_images import BigImages
from tao_like.tasks.detection.data.check import check_detection_data
from tao_like.tasks.detection.data.data import DetectionData, augmentation_of
from tao_like.tasks.detection.data.source import LabelledBoxes, path_of
from tao_like.tasks.detection.spec import DataSourceSpec
from tao_like.tasks.instance_segmentation.data.check import outline_findings
from tao_like.tasks.instance_segmentation.data.dataset import (
    InstanceDataset,
    InstanceTargets,
    collate_instances,
)
from tao_like.tasks.instance_segmentation.model.build import instance_normalization
from tao_like.tasks.instance_segmentation.spec import Spec
from tao_like.tasks.instance_segmentation.spec_data import (
    CLASS_MASKS,
    InstanceDatasetSpec,
    InstanceSourceSpec,
)

if TYPE_CHECKING:
    from tao_like.tasks.detection.spec import Spec as DetectionSpec


class LabelledInstances(LabelledBoxes):
    """Images and their objects with outlines, of any number of sources."""

    keep_segmentation: ClassVar[bool] = True
    spec: InstanceDatasetSpec

    @override
    def named(self, split: Split) -> list[DataSourceSpec]:
        return [*self.spec.sources(split)]

    @override
    def key_of(self, split: Split, number: int) -> str:
        alone = not getattr(self.spec, f"{split}_data_sources")
        return f"dataset.{split}" if alone else super().key_of(split, number)

    @override
    def root_of(self, given: DataSourceSpec) -> Path:
        assert isinstance(given, InstanceSourceSpec)
        folder = self.box_source(given).image_dir
        return folder or Path(str(given.annotations or given.label_file)).parent

    @override
    def box_source(self, given: DataSourceSpec) -> BoxSource:
        assert isinstance(given, InstanceSourceSpec)
        return replace(
            super().box_source(given),
            image_dir=path_of((given.kind == CLASS_MASKS and given.root_dir) or given.image_dir),
            json_file=path_of(given.annotations),
            format=given.kind,
            panoptic_dir=path_of(given.panoptic_dir),
            label_map=path_of(self.spec.label_map),
        )

    def regions(self) -> list[str]:
        """Names of the classes that the training data itself says are regions. Raises DatasetError."""
        sources = (self.settled_source("train", number)[0] for number in range(len(self.named("train"))))
        found = {name for source in sources for name in stated_regions(source)}
        return [name for name in self.classes if name in found] if found else []

    @override
    def labels_text(self, record: BoxRecord) -> tuple[str, ...]:
        return (*super().labels_text(record), *(repr(box.segmentation) for box in record.boxes))


class InstanceData(DetectionData):
    """Images and objects with outlines of COCO, YOLO, LabelMe and CVAT files.

    Args:
        spec: of the task.
        trained: what a trained model says of itself; None: it is yet to be trained.
    """

    source_kind: ClassVar[type[LabelledBoxes]] = LabelledInstances
    source: LabelledInstances
    block: InstanceDatasetSpec

    def __init__(self, spec: Spec, trained: TrainedState | None) -> None:
        # The blocks that are read there are the same in both tasks.
        super().__init__(cast("DetectionSpec", spec), trained)
        self._model = spec.model

    @property
    @override
    def interpolation(self) -> str:
        return instance_normalization(self._model).interpolation

    @property
    @override
    def big_images(self) -> BigImages:
        return BigImages.REFUSED  # masks are not cut

    @override
    def dataset(self, split: Split, *, augment: bool = False) -> InstanceDataset:
        records = self.given_records(split)
        augmentation = self.block.augmentation
        return InstanceDataset(
            records,
            self.labels.names,
            self.preprocessing,
            self.image_store([record.path for record in records]),
            augment=augmentation_of(augmentation, self.preprocessing) if augment else None,
            strong_epochs=self.spec.train.num_epochs - augmentation.plain_epochs,
        )

    @override
    def inference_files(self) -> list[Path]:
        folder = self.block.test.img_dir
        return super().inference_files() + (
            [*image_sources(folder, "dataset.test.img_dir")] if folder else []
        )

    @override
    def collate(self, samples: Sequence[Any]) -> Batch[InstanceTargets]:  # type: ignore[override]
        return collate_instances(samples)

    @override
    def check(self, *, full: bool, on_progress: Callable[[int, int], None] | None = None) -> DataReport:
        records = {split: self.source.records(split) for split in SPLITS if self.has(split)}
        found, summary = outline_findings(records, self.source.classes, full=full)
        # Images whose outlines cannot be read cannot be drawn with them.
        is_drawn = not any(finding.level == "error" for finding in found)
        figures = self.spec.dataset_check.max_pictures if is_drawn else 0
        report = check_detection_data(self, figures=figures, full=full, on_progress=on_progress)
        order = {"error": 0}
        findings = sorted([*report.findings, *found], key=lambda finding: order.get(finding.level, 1))
        return DataReport(findings, report.summary | {"outlines": summary}, report.figures)
