"""The data of pose classification: skeleton sequences, each with one label."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from typing_extensions import override

from tao_like.contract.batch import Batch
from tao_like.contract.capabilities import Converts
from tao_like.contract.data import DataReport
from tao_like.contract.sample import Split
from tao_like.contract.trained import TrainedState
from tao_like.data.skeletons.drawing import SkeletonView
from tao_like.data.skeletons.layouts import LAYOUTS, Layout
from tao_like.errors import SpecError
from tao_like.runtime.inputs.skeleton import SkeletonPreprocessing
from tao_like.tasks.common.split_data import SplitData
from tao_like.tasks.pose_classification.data.augmentation import Augmentation, Sequence4
from tao_like.tasks.pose_classification.data.check import check_pose_data
from tao_like.tasks.pose_classification.data.convert import convert_sequences
from tao_like.tasks.pose_classification.data.dataset import SkeletonDataset, collate_sequences
from tao_like.tasks.pose_classification.data.source import LabelledSkeletons
from tao_like.tasks.pose_classification.spec import Spec


class PoseData(SplitData[LabelledSkeletons], Converts):
    """Arrays of sequences with files of labels.

    Args:
        spec: of the task.
        trained: what a trained model says of itself; None: it is yet to be trained.
    """

    key_form = "dataset.{split}_dataset.data_path"

    def __init__(self, spec: Spec, trained: TrainedState | None) -> None:
        super().__init__(spec.dataset, LabelledSkeletons(spec, trained.classes if trained else None))
        self.spec = spec
        self.trained = trained
        if trained is not None:
            _check_layout(trained.extra, self.layout)

    @property
    def layout(self) -> Layout:
        """The joints, and which of them are connected."""
        return self.source.layout

    @cached_property
    def preprocessing(self) -> SkeletonPreprocessing:
        """How a sequence becomes an input."""
        if self.trained:
            return SkeletonPreprocessing.from_dict(self.trained.preprocessing)
        block, model, layout = self.block, self.spec.model, self.layout
        _, _, frames, _, persons = self.source.data("train").values.shape
        return SkeletonPreprocessing(
            channels=model.input_channels,
            frames=frames if block.window_size < 0 else block.window_size,
            joints=len(layout.joints),
            persons=block.max_persons or persons,
            confidence=model.confidence,
            sampling=block.sampling,
            center=layout.center if block.center else None,
            spine=layout.spine if block.scale_by_body or block.align_axes else None,
            scale=block.scale_by_body,
            shoulders=layout.shoulders if block.align_axes else None,
        )

    def view(self, sequence: Sequence4) -> SkeletonView:
        """A sequence (C, T, V, M) as it is drawn.

        Raises:
            SpecError: it has other joints than the layout. Old exported files say how many joints they take,
                not which, so the layout is the spec's.
        """
        layout, joints = self.layout, sequence.shape[2]
        if joints != len(layout.joints):
            raise SpecError(
                f"model.graph_layout={layout.name} has {len(layout.joints)} joints, and the model takes "
                f"{joints}; set model.graph_layout to the layout that the model was trained on"
            )
        return SkeletonView(sequence, self.layout, self.preprocessing.dimensions)

    @override
    def dataset(self, split: Split, *, augment: bool = False) -> SkeletonDataset:
        self.source.check_known(split)
        change = Augmentation(self.block, self.preprocessing, self.layout) if augment else None
        return SkeletonDataset(self.source, split, self.preprocessing, change)

    @override
    def collate(self, samples: Sequence[Any]) -> Batch[torch.Tensor]:
        return collate_sequences(samples)

    @override
    def check(self, *, full: bool, on_progress: Callable[[int, int], None] | None = None) -> DataReport:
        return check_pose_data(
            self.source,
            lambda: self.dataset("train"),
            lambda: self.preprocessing.dimensions,
            self.spec.dataset_check.max_pictures,
            full=full,
            on_progress=on_progress,
        )

    @override
    def convert(self, folder: Path) -> tuple[dict[str, Any], list[str], str]:
        return convert_sequences(self.spec.dataset_convert, folder)


def _check_layout(stored: Mapping[str, Any], layout: Layout) -> None:
    """Compares the layout of an exported file with the spec's; old files and bundles do not state theirs.

    Raises:
        SpecError: joints or edges are others, so that the model would take a knee for an elbow.
    """
    joints, edges = stored.get("joints"), stored.get("edges")
    own = list(layout.joints), [list(edge) for edge in layout.edges]
    if joints is None or (joints, edges) == own:
        return
    name = stored.get("layout")
    remedy = (
        f"set model.graph_layout={name}"
        if name in LAYOUTS
        else f"set model.graph_layout=custom and model.layout to its joints {joints} and edges {edges}"
    )
    raise SpecError(
        f"model.graph_layout={layout.name} has {len(layout.joints)} joints, and the model was trained on the "
        f"{len(joints)} joints of {name}; {remedy}"
    )
