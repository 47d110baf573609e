"""Images and words in one space, as the stages see it."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from tao_like.contract.capabilities import Prunes
from tao_like.contract.model import Exportable, Prunable
from tao_like.contract.sample import Preprocessed
from tao_like.contract.task import Task
from tao_like.contract.trained import TrainedState
from tao_like.networks.structure import refresh_widths
from tao_like.runtime.predictions.embedding import PAIR_LOSS
from tao_like.tasks.clip.data.data import PairData
from tao_like.tasks.clip.data.dataset import TEXT
from tao_like.tasks.clip.model.build import Vocabulary, build_pair
from tao_like.tasks.clip.model.pair import ImageTowerForExport, PairNetwork, TextTowerForExport
from tao_like.tasks.clip.model.sentence_files import described, load_sentence
from tao_like.tasks.clip.model.weights import load_start, load_vision
from tao_like.tasks.clip.phase import PairPhase
from tao_like.tasks.clip.predictions import PairPredictions
from tao_like.tasks.clip.spec import Spec as ClipSpec
from tao_like.tasks.common.captions.text_input import TextInput
from tao_like.tasks.common.image_input import IMAGE, ImageInput, image_tensors


class PairImageInput(ImageInput):
    """Its normalization is a part of the image tower."""

    @override
    def scaling(self, model: PairNetwork) -> dict[str, list[float]]:  # type: ignore[override]
        return super().scaling(model.image)


class ClipTask(Task[ClipSpec, PairNetwork], Prunes[PairNetwork]):
    """An image tower and a text tower that meet in one space."""

    name = "clip"
    Spec = ClipSpec
    stored_dataset_keys = ("templates", "resize", "pixel_range")
    data: PairData
    predictions: PairPredictions

    def __init__(self, spec: ClipSpec, trained: TrainedState | None = None) -> None:
        if trained is not None:
            spec = _of_file(spec, trained.extra)
        elif spec.model.text_encoder.path:
            block = described(spec.model.text_encoder)
            spec = replace(spec, model=replace(spec.model, text_encoder=block))
        super().__init__(spec, trained)
        data = PairData(spec, trained)
        predictions = PairPredictions(data, spec)
        self.image = PairImageInput(lambda: data.preprocessing)
        self.compose(
            data=data,
            inputs={IMAGE: self.image, TEXT: TextInput(lambda: data.tokenizer)},
            predictions=predictions,
            phases=[PairPhase(data, predictions, spec)],
        )

    @override
    def model(self, *, pretrained: bool) -> tuple[PairNetwork, list[str]]:
        spec = self.spec
        network = build_pair(spec.model, spec.train.loss_type, Vocabulary.of(self.data.tokenizer))
        if not pretrained:
            return network, []
        if not spec.train.pretrained_model_path:
            notes = load_vision(network, spec.model) if spec.model.pretrained_vision_path else []
            if spec.model.text_encoder.path:
                notes += load_sentence(network.text, Path(spec.model.text_encoder.path))
            return network, notes
        return network, load_start(network, Path(spec.train.pretrained_model_path), spec.model)

    @override
    def exports(self, model: PairNetwork, input_format: str) -> dict[str, Exportable]:
        meanings = self.predictions.meanings
        return {
            IMAGE: Exportable(
                ImageTowerForExport(model.image, input_format).eval(),
                inputs={IMAGE: {0: "batch"}},
                outputs={name: {0: "batch"} for name in meanings[IMAGE]},
                meanings=meanings[IMAGE],
                to_inputs=partial(image_tensors, model.image, input_format),
                takes=(IMAGE,),
            ),
            TEXT: Exportable(
                TextTowerForExport(model.text).eval(),
                inputs={TEXT: {0: "batch"}},
                outputs={name: {0: "batch"} for name in meanings[TEXT]},
                meanings=meanings[TEXT],
                to_inputs=_ids,
                takes=(TEXT,),
            ),
        }

    @override
    def prunable(self, model: PairNetwork) -> dict[str, Prunable]:
        pixels = self.image.pixels()
        backbone = model.image.backbone
        ids = torch.from_numpy(self.data.tokenizer.ids("a photo"))[None]

        def refresh() -> None:
            if hasattr(backbone, "forward_features"):
                refresh_widths(backbone, model.image.normalise(pixels))

        return {
            IMAGE: Prunable((pixels,), [model.image.head()], refresh),
            TEXT: Prunable((ids,), [model.text.projection]),
        }

    @classmethod
    @override
    def restored_spec(cls, spec: ClipSpec, stored: ClipSpec) -> ClipSpec:
        # Whether one class applies or any number follows from the loss.
        restored = super().restored_spec(spec, stored)
        return replace(restored, train=replace(restored.train, loss_type=stored.train.loss_type))


def _of_file(spec: ClipSpec, extra: dict[str, Any]) -> ClipSpec:
    """The spec with what an exported file says of its training; a bundle holds a spec of its own."""
    templates = extra.get("templates", spec.dataset.templates)
    loss = extra.get(PAIR_LOSS, spec.train.loss_type)
    return replace(
        spec,
        dataset=replace(spec.dataset, templates=templates),
        train=replace(spec.train, loss_type=loss),
    )


def _ids(preprocessed: Preprocessed) -> tuple[Tensor]:
    return (torch.from_numpy(preprocessed[TEXT]),)


TASK = ClipTask
