"""The data of instance segmentation: detection's, with outlines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, cast

from typing_extensions import override

from tao_like.contract.batch import Batch
from tao_like.contract.data import DataReport
from tao_like.contract.sample import SPLITS, Split
from tao_like.contract.trained import TrainedState
from tao_like.data.boxes.annotation import BoxRecord
from tao_like.runtime.inputs.image.big_images import BigImages
from tao_like.tasks.detection.data.data import DetectionData, augmentation_of
from tao_like.tasks.detection.data.source import LabelledBoxes
from tao_like.tasks.instance_segmentation.data.check import outline_findings
from tao_like.tasks.instance_segmentation.data.dataset import (
    InstanceDataset,
    InstanceTargets,
    collate_instances,
)
from tao_like.tasks.instance_segmentation.spec import Spec

if TYPE_CHECKING:
    from tao_like.tasks.detection.spec import Spec as DetectionSpec


class LabelledInstances(LabelledBoxes):
    """Images and their objects with outlines, of any number of sources."""

    keep_segmentation: ClassVar[bool] = True

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

    def __init__(self, spec: Spec, trained: TrainedState | None) -> None:
        # The blocks that are read there are the same in both tasks.
        super().__init__(cast("DetectionSpec", spec), trained)

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
    def collate(self, samples: Sequence[Any]) -> Batch[InstanceTargets]:  # type: ignore[override]
        return collate_instances(samples)

    @override
    def check(self, *, full: bool, on_progress: Callable[[int, int], None] | None = None) -> DataReport:
        report = super().check(full=full, on_progress=on_progress)
        records = {split: self.source.records(split) for split in SPLITS if self.has(split)}
        found, summary = outline_findings(records, self.source.classes, full=full)
        order = {"error": 0}
        findings = sorted([*report.findings, *found], key=lambda finding: order.get(finding.level, 1))
        return DataReport(findings, report.summary | {"outlines": summary}, report.figures)
