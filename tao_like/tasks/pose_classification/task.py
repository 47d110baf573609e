"""Pose classification as the stages see it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from typing_extensions import override

from tao_like.contract.task import (
    Batch,
    DataReport,
    Exportable,
    ModelRecord,
    Outputs,
    Prunable,
    Sample,
    Split,
)
from tao_like.data.inference_files import skeleton_sources
from tao_like.data.skeletons.drawing import SkeletonView
from tao_like.plots.cards import NEUTRAL, draw_card
from tao_like.runtime.inputs.skeleton import SkeletonPreparation, prepare_skeleton, read_skeleton
from tao_like.runtime.predictions.classes import SINGLE_LABEL, ClassificationAnswer, decide
from tao_like.tasks.common.split_task import SplitTask
from tao_like.tasks.pose_classification.augmentation import Augmentation
from tao_like.tasks.pose_classification.check import check_data
from tao_like.tasks.pose_classification.convert import convert_sequences
from tao_like.tasks.pose_classification.data import SkeletonDataset, collate_items
from tao_like.tasks.pose_classification.draw import answer_card, joint_importance
from tao_like.tasks.pose_classification.losses import stream_distillation_losses, stream_losses
from tao_like.tasks.pose_classification.metrics import PoseMetrics
from tao_like.tasks.pose_classification.model.blocks import GraphConvolution
from tao_like.tasks.pose_classification.model.build import build_network
from tao_like.tasks.pose_classification.model.classifier import (
    ShippedSkeletonClassifier,
    SkeletonClassifier,
)
from tao_like.tasks.pose_classification.source import LabelledSkeletons
from tao_like.tasks.pose_classification.spec import Spec as PoseSpec

MAX_PROBABILITY_COLUMNS = 100
"""With more classes than this, the CSV of predictions leaves the single probabilities out."""


class PoseClassificationTask(SplitTask[PoseSpec]):
    """One label a sequence of skeletons."""

    name = "pose_classification"
    Spec = PoseSpec
    headline = "accuracy"
    input_kind = "skeleton"
    input_format = "float_nctvm"
    higher_is_better: ClassVar[Mapping[str, bool]] = {
        "accuracy": True,
        "mean_class_accuracy": True,
        "precision": True,
        "recall": True,
        "f1": True,
        "calibration_error": False,
    }

    model_data_keys = ("window_size", "sampling", "center", "scale_by_body", "align_axes", "max_persons")

    def __init__(self, spec: PoseSpec, record: ModelRecord | None = None) -> None:
        super().__init__(spec, record)
        self.skeletons = LabelledSkeletons(spec, record.classes if record else None)

    @override
    def reported(self) -> Mapping[str, bool]:
        more = {"top5_accuracy": True} if len(self.classes) >= 5 else {}
        return {**self.higher_is_better, **more}

    # --- data ---

    @property
    @override
    def classes(self) -> list[str]:
        return self.skeletons.classes

    @property
    @override
    def source(self) -> LabelledSkeletons:
        return self.skeletons

    @override
    def data_key(self, split: Split) -> str:
        return f"dataset.{split}_dataset.data_path"

    @override
    def count(self, split: Split) -> int:
        return len(self.skeletons.data(split))

    @override
    def dataset(self, split: Split, *, augment: bool = False) -> SkeletonDataset:
        self.skeletons.check_known(split)
        change = None
        if augment:
            change = Augmentation(self.spec.dataset, self.skeleton_preparation, self.skeletons.layout)
        return SkeletonDataset(self.skeletons, split, self.skeleton_preparation, change)

    @override
    def collate(self, samples: Sequence[Any]) -> Batch:
        return collate_items(samples)

    @override
    def check(self, *, full: bool, on_progress: Callable[[int, int], None] | None = None) -> DataReport:
        return check_data(self, full=full, on_progress=on_progress)

    @override
    def convert(self, folder: Path) -> tuple[dict[str, Any], list[str], str]:
        return convert_sequences(self.spec.dataset_convert, folder)

    # --- network ---

    @cached_property
    def skeleton_preparation(self) -> SkeletonPreparation:
        """How a sequence becomes an input."""
        if self.record:
            return SkeletonPreparation.from_dict(self.record.preparation)
        data, model, layout = self.spec.dataset, self.spec.model, self.skeletons.layout
        _, _, frames, _, persons = self.skeletons.data("train").values.shape
        return SkeletonPreparation(
            channels=model.input_channels,
            frames=frames if data.window_size < 0 else data.window_size,
            joints=len(layout.joints),
            persons=data.max_persons or persons,
            confidence=model.confidence,
            sampling=data.sampling,
            centre=layout.centre if data.center else None,
            spine=layout.spine if data.scale_by_body or data.align_axes else None,
            scale=data.scale_by_body,
            shoulders=layout.shoulders if data.align_axes else None,
        )

    @override
    def network(self, *, pretrained: bool) -> tuple[SkeletonClassifier, list[str]]:
        return build_network(self.spec, self.classes, pretrained=pretrained)

    @override
    def losses(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        logits = network(batch.inputs)
        return stream_losses(logits, batch.targets, self.spec.train.label_smoothing, self.spec.model.streams)

    @override
    def distillation_losses(
        self, network: nn.Module, teacher: nn.Module, batch: Batch, *, loss_lambda: float, temperature: float
    ) -> dict[str, Tensor]:
        assert isinstance(teacher, SkeletonClassifier)
        logits = network(batch.inputs)
        with torch.no_grad():
            wanted = teacher.probabilities(teacher(batch.inputs)).clamp(min=1e-8).log()
        own = stream_losses(logits, batch.targets, self.spec.train.label_smoothing, self.spec.model.streams)
        return {name: (1 - loss_lambda) * loss for name, loss in own.items()} | {
            "distillation_loss": loss_lambda * stream_distillation_losses(logits, wanted, temperature)
        }

    @override
    def validate(self, network: nn.Module, batch: Batch) -> tuple[dict[str, Tensor], Outputs]:
        assert isinstance(network, SkeletonClassifier)
        logits = network(batch.inputs)
        losses = stream_losses(logits, batch.targets, 0.0, self.spec.model.streams)
        return losses, {"probabilities": network.probabilities(logits).cpu().numpy()}

    @override
    def prunable(self, network: nn.Module) -> Prunable:
        assert isinstance(network, SkeletonClassifier)
        joints = torch.randn(1, *self.skeleton_preparation.shape, generator=torch.Generator().manual_seed(0))
        count = len(self.skeletons.layout.joints)
        # Each value of these convolutions is multiplied with a row of the adjacency.
        products = {
            convolution: count
            for graph in network.modules()
            if isinstance(graph, GraphConvolution)
            for convolution in graph.convolutions
        }
        return Prunable((joints,), network.heads, constants=network.graph_parameters(), products=products)

    # --- answers ---

    @override
    def exportable(self, network: nn.Module, input_format: str) -> Exportable:
        assert isinstance(network, SkeletonClassifier)
        return Exportable(
            module=ShippedSkeletonClassifier(network).eval(),
            inputs={"joints": {0: "batch", 2: "frames"}},
            outputs={"probabilities": {0: "batch"}},
            meanings={"probabilities": SINGLE_LABEL},
            to_inputs=lambda prepared: (torch.from_numpy(prepared),),
        )

    @override
    def preparation(self) -> dict[str, Any]:
        return self.skeleton_preparation.to_dict()

    @override
    def metadata_extra(self) -> dict[str, Any]:
        layout = self.skeletons.layout
        return {
            "layout": layout.name,
            "joints": list(layout.joints),
            "edges": [list(edge) for edge in layout.edges],
        }

    @override
    def input_scaling(self, network: nn.Module) -> dict[str, Any]:
        return {"mean": [0.0, 0.0, 0.0], "std": [1.0, 1.0, 1.0]}

    @override
    def noise(self, generator: np.random.Generator) -> Sample:
        return Sample("noise", generator.normal(0, 0.5, self.skeleton_preparation.shape).astype(np.float32))

    @override
    def prepared(self, batch: Batch) -> np.ndarray:
        return batch.inputs.cpu().numpy()

    @override
    def prepare(self, samples: Sequence[Sample]) -> np.ndarray:
        return np.stack([prepare_skeleton(sample.data, self.skeleton_preparation) for sample in samples])

    @override
    def answers(self, outputs: Outputs) -> list[np.ndarray]:
        return list(outputs["probabilities"])

    @override
    def targets(self, batch: Batch) -> list[Any]:
        return batch.targets.tolist()

    @override
    def metrics(self) -> PoseMetrics:
        return PoseMetrics(self.classes, self._thresholds)

    @property
    def _thresholds(self) -> dict[str, Any]:
        return self.record.thresholds if self.record else {}

    def _decision(self, answer: np.ndarray) -> ClassificationAnswer:
        return decide(answer, self.classes, self._thresholds, multi_label=False)

    @override
    def row(self, sample: Sample, answer: np.ndarray) -> dict[str, Any]:
        decision = self._decision(answer)
        row: dict[str, Any] = {
            "path": sample.key,
            "label": decision.label or "",
            "score": f"{decision.score:.6f}",
            "rejected": decision.rejected,
        }
        if sample.target is not None:
            truth = self.classes[sample.target]
            row |= {"truth": truth, "correct": truth == decision.label}
        if len(self.classes) <= MAX_PROBABILITY_COLUMNS:
            row |= {f"p_{name}": f"{value:.6f}" for name, value in zip(self.classes, answer, strict=True)}
        return row

    @override
    def entry(self, sample: Sample, answer: np.ndarray) -> dict[str, Any]:
        decision = self._decision(answer)
        shares = {name: round(value, 6) for name, value in decision.probabilities.items()}
        return {
            "path": sample.key,
            "label": decision.label,
            "score": round(decision.score, 6),
            "probabilities": shares,
        }

    @override
    def result_files(self, entries: Sequence[dict[str, Any]]) -> dict[str, str]:
        return {"predictions.json": json.dumps(list(entries), indent=1, ensure_ascii=False) + "\n"}

    def _view(self, joints: np.ndarray) -> SkeletonView:
        return SkeletonView(joints, self.skeletons.layout, self.skeleton_preparation.places)

    def _card(self, picture: Image.Image, sample: Sample, answer: np.ndarray) -> Image.Image:
        truth = None if sample.target is None else self.classes[sample.target]
        return answer_card(picture, self._decision(answer), truth, Path(sample.key).name)

    @override
    def draw(self, sample: Sample, answer: np.ndarray, heat: np.ndarray | None = None) -> Image.Image:
        del heat
        return self._card(self._view(sample.data).picture(), sample, answer)

    @override
    def animate(self, sample: Sample, answer: np.ndarray) -> list[Image.Image]:
        return [self._card(picture, sample, answer) for picture in self._view(sample.data).animation()]

    @override
    def draw_batch(self, batch: Batch) -> list[Image.Image]:
        pairs = zip(batch.inputs.cpu().numpy(), batch.targets.tolist(), strict=True)
        return [
            draw_card(self._view(joints).picture(), [self.classes[target]], NEUTRAL)
            for joints, target in pairs
        ]

    @override
    def draw_network(self, network: nn.Module) -> dict[str, Image.Image]:
        assert isinstance(network, SkeletonClassifier)
        cards = {}
        for name, stream in network.streams.items():
            graphs = [part for part in stream.modules() if isinstance(part, GraphConvolution)]
            matrices = [graph.matrices().detach().cpu().numpy() for graph in graphs]
            title = f"What others take from each joint ({name})"
            cards[f"joint_importance_{name}"] = joint_importance(matrices, self.skeletons.layout, title)
        return cards

    # --- inference ---

    @override
    def sources(self, source: str) -> list[Path]:
        return skeleton_sources(source)

    @override
    def load(self, path: Path) -> Sample:
        return Sample(str(path), read_skeleton(path, self.skeleton_preparation))


TASK = PoseClassificationTask
