"""Pose classification as the stages see it."""

from __future__ import annotations

from typing import Any

from PIL import Image
from typing_extensions import override

from tao_like.contract.capabilities import Describes, DrawsModel, Prunes
from tao_like.contract.model import ONLY_PART, Exportable, Prunable
from tao_like.contract.task import Task
from tao_like.contract.trained import TrainedState
from tao_like.tasks.pose_classification.data.data import PoseData
from tao_like.tasks.pose_classification.data.skeleton_input import JOINTS, SkeletonInput, joint_tensors
from tao_like.tasks.pose_classification.draw import joint_importance
from tao_like.tasks.pose_classification.model.build import build_network
from tao_like.tasks.pose_classification.model.classifier import (
    SkeletonClassifier,
    SkeletonClassifierForExport,
)
from tao_like.tasks.pose_classification.phase import PosePhase
from tao_like.tasks.pose_classification.predictions import PosePredictions
from tao_like.tasks.pose_classification.spec import Spec as PoseSpec


class PoseClassificationTask(
    Task[PoseSpec, SkeletonClassifier],
    Prunes[SkeletonClassifier],
    DrawsModel[SkeletonClassifier],
    Describes,
):
    """One label a sequence of skeletons."""

    name = "pose_classification"
    Spec = PoseSpec
    stored_dataset_keys = ("window_size", "sampling", "center", "scale_by_body", "align_axes", "max_persons")
    data: PoseData
    predictions: PosePredictions

    def __init__(self, spec: PoseSpec, trained: TrainedState | None = None) -> None:
        super().__init__(spec, trained)
        data = PoseData(spec, trained)
        predictions = PosePredictions(data, trained.thresholds if trained else {})
        self.skeleton = SkeletonInput(lambda: data.preprocessing)
        self.compose(
            data=data,
            inputs={JOINTS: self.skeleton},
            predictions=predictions,
            phases=[PosePhase(data, predictions, spec)],
        )

    @override
    def model(self, *, pretrained: bool) -> tuple[SkeletonClassifier, list[str]]:
        return build_network(self.spec, self.data.labels.names, pretrained=pretrained)

    @override
    def exports(self, model: SkeletonClassifier, input_format: str) -> dict[str, Exportable]:
        del input_format
        meanings = self.predictions.meanings
        graph = Exportable(
            module=SkeletonClassifierForExport(model).eval(),
            inputs={JOINTS: {0: "batch", 2: "frames"}},
            outputs={name: {0: "batch"} for name in meanings},
            meanings=meanings,
            to_inputs=joint_tensors,
        )
        return {ONLY_PART: graph}

    @override
    def prunable(self, model: SkeletonClassifier) -> dict[str, Prunable]:
        joints = len(self.data.layout.joints)
        # Each value of these convolutions is multiplied with a row of the adjacency.
        products = {convolution: joints for graph in model.graphs() for convolution in graph.convolutions}
        constants = model.graph_parameters()
        return {
            ONLY_PART: Prunable(
                (self.skeleton.joints(),), model.heads, constants=constants, products=products
            )
        }

    @override
    def metadata_extra(self) -> dict[str, Any]:
        layout = self.data.layout
        return {
            "layout": layout.name,
            "joints": list(layout.joints),
            "edges": [list(edge) for edge in layout.edges],
        }

    @override
    def draw_model(self, model: SkeletonClassifier) -> dict[str, Image.Image]:
        figures = {}
        for name in model.streams:
            matrices = [graph.matrices().detach().cpu().numpy() for graph in model.graphs(name)]
            title = f"What others take from each joint ({name})"
            figures[f"joint_importance_{name}"] = joint_importance(matrices, self.data.layout, title)
        return figures


TASK = PoseClassificationTask
