"""The data of pointpillars: LiDAR frames with boxes around their objects."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from typing_extensions import override

from tao_like.contract.batch import Batch
from tao_like.contract.capabilities import Converts
from tao_like.contract.data import DataReport
from tao_like.contract.sample import Split
from tao_like.contract.trained import TrainedState
from tao_like.data.lidar.echoes import largest_echo
from tao_like.errors import DatasetError
from tao_like.runtime.inputs.points import PointsPreprocessing
from tao_like.tasks.common.split_data import SplitData
from tao_like.tasks.pointpillars.data.augmentation import Augmentation, Database, Scene, make_database
from tao_like.tasks.pointpillars.data.balancing import balanced
from tao_like.tasks.pointpillars.data.check import CheckedFrames, check_lidar_data
from tao_like.tasks.pointpillars.data.convert import convert_frames
from tao_like.tasks.pointpillars.data.dataset import FrameDataset, FrameTargets, collate_frames
from tao_like.tasks.pointpillars.data.source import LabelledFrames
from tao_like.tasks.pointpillars.spec import Spec


class FrameData(SplitData[LabelledFrames], Converts):
    """Frames of TAO's, KITTI's or OpenPCDet's layout.

    Args:
        spec: of the task.
        trained: what a trained model says of itself; None: it is yet to be trained.
    """

    key_form = "dataset.data_split.{split}"

    def __init__(self, spec: Spec, trained: TrainedState | None) -> None:
        split, classes = (trained.split, trained.classes) if trained else (None, spec.dataset.class_names)
        super().__init__(spec.dataset, LabelledFrames(spec.dataset, classes, split))
        self.spec = spec
        self.trained = trained

    @property
    @override
    def divided(self) -> bool:
        return self.block.data_split.is_divided

    @cached_property
    def preprocessing(self) -> PointsPreprocessing:
        """How a frame becomes an input."""
        if self.trained:
            return PointsPreprocessing.from_dict(self.trained.preprocessing)
        encoding = self.block.point_feature_encoding
        plain = PointsPreprocessing(
            tuple(self.block.point_cloud_range),
            len(encoding.src_feature_list),
            encoding.columns,
            encoding.intensity_scale,
        )
        records = self.source.records("train") if self.block.data_path else []
        return replace(plain, largest_echo=largest_echo(records, plain))

    @override
    def dataset(self, split: Split, *, augment: bool = False) -> FrameDataset:
        records = self.source.records(split)
        if not records:
            raise DatasetError(f"there is no {split} data; give {self.key(split)}")
        block, classes = self.block, self.labels.names
        if augment and block.balanced_resampling:
            records = balanced(records, classes, block.map_class_to)
        changes = None
        if augment and block.data_augmentor.steps:
            changes = Augmentation(block.data_augmentor.steps, classes, self._database)
        return FrameDataset(
            records,
            classes,
            block.map_class_to,
            self.preprocessing,
            remove_outside_boxes=block.remove_outside_boxes,
            augment=changes,
        )

    @override
    def collate(self, samples: Sequence[Any]) -> Batch[FrameTargets]:
        return collate_frames(samples)

    @override
    def check(self, *, full: bool, on_progress: Callable[[int, int], None] | None = None) -> DataReport:
        checked = CheckedFrames(self.source, self.labels.names, self.preprocessing, self.spec, self.dataset)
        return check_lidar_data(checked, full=full, on_progress=on_progress)

    @override
    def convert(self, folder: Path) -> tuple[dict[str, Any], list[str], str]:
        return convert_frames(self.source, self.preprocessing, self.spec.dataset_convert.format, folder)

    def _database(self) -> Database:
        """Objects of the training data, for ground-truth sampling."""
        (step,) = (one for one in self.block.data_augmentor.steps if one.name == "gt_sampling")
        plain = self.dataset("train")

        def scene(index: int) -> Scene:
            sample = plain.sample(index)
            return Scene(sample.data, sample.target.boxes, sample.target.labels)

        reads = [lambda index=index: scene(index) for index in range(len(plain))]
        return make_database(reads, step, self.labels.names)
