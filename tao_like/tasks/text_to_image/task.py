"""Images out of sentences, as stages see it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn
from typing_extensions import override

from tao_like.contract.capabilities import Describes, Generates
from tao_like.contract.model import Exportable
from tao_like.contract.phase import Phase
from tao_like.contract.sample import Sample
from tao_like.contract.task import Task
from tao_like.contract.trained import TrainedState
from tao_like.errors import DatasetError
from tao_like.runtime.generation.base import SEED, TEXT, Generator
from tao_like.runtime.generation.kinds import generator_metadata
from tao_like.runtime.inputs.image import preprocess, read_image
from tao_like.tasks.common.text_input import TextInput
from tao_like.tasks.text_to_image.data.data import CaptionData
from tao_like.tasks.text_to_image.data.inputs import SeedInput
from tao_like.tasks.text_to_image.graphs import dalle_graphs, glide_graphs
from tao_like.tasks.text_to_image.model.build import build_dalle, build_glide, build_unclip
from tao_like.tasks.text_to_image.model.wholes import DalleModel, GlideModel
from tao_like.tasks.text_to_image.phases import BasePhase, DvaePhase, Running, TransformerPhase
from tao_like.tasks.text_to_image.predictions import MadeImages, Reconstructions
from tao_like.tasks.text_to_image.rerank import Reranked
from tao_like.tasks.text_to_image.sampling import generator_for
from tao_like.tasks.text_to_image.spec import DALLE, GLIDE, UNCLIP, ModelSpec
from tao_like.tasks.text_to_image.spec import Spec as GenerateSpec
from tao_like.tasks.text_to_image.spec_stages import (
    GENERATE,
    INTERPOLATE,
    VARIATIONS,
    GenerateInferenceSpec,
)
from tao_like.tasks.text_to_image.unclip.graphs import unclip_graphs
from tao_like.tasks.text_to_image.unclip.metrics import Embedded
from tao_like.tasks.text_to_image.unclip.model import UnclipModel
from tao_like.tasks.text_to_image.unclip.phases import ClipPhase, DecoderPhase, PriorPhase
from tao_like.tasks.text_to_image.warm_start import load_weights

BUILDERS: dict[str, Callable[[ModelSpec, int], nn.Module]] = {
    DALLE: build_dalle,
    GLIDE: build_glide,
    UNCLIP: build_unclip,
}


class TextToImage(Task[GenerateSpec, Any], Generates, Describes):
    """DALL-E, GLIDE or unCLIP."""

    name = "text_to_image"
    Spec = GenerateSpec
    stored_dataset_keys = ("pixel_range",)
    data: CaptionData
    predictions: MadeImages

    def __init__(self, spec: GenerateSpec, trained: TrainedState | None = None) -> None:
        super().__init__(spec, trained)
        data = CaptionData(spec, trained)
        judge = (lambda: data.judge) if data.has("train") else None
        predictions = MadeImages(spec.dataset.attributes, judge)
        self._generator = generator_for(spec)
        self.data = data
        self.compose(
            data=data,
            inputs={TEXT: TextInput(lambda: data.tokenizer), SEED: SeedInput(lambda: data.preprocessing)},
            predictions=predictions,
            phases=self._make_phases(data, predictions),
        )

    def _make_phases(self, data: CaptionData, predictions: MadeImages) -> list[Phase[Any]]:
        train, diffusion = self.spec.train, self.spec.model.diffusion
        running = Running(self._generator, lambda model: self.exports(model, ""))
        if self.spec.model.arch == DALLE:
            return [
                DvaePhase(data, Reconstructions(), train.of_phase("dvae")),
                TransformerPhase(data, predictions, train.of_phase("transformer"), running),
            ]
        if self.spec.model.arch == UNCLIP:
            return [
                ClipPhase(data, Embedded(), train.of_phase("clip")),
                PriorPhase(data, train.of_phase("prior"), running, diffusion),
                DecoderPhase(data, predictions, train.of_phase("decoder"), running, diffusion=diffusion),
            ]
        return [BasePhase(data, predictions, train, running, diffusion=diffusion)]

    @override
    def model(self, *, pretrained: bool) -> tuple[nn.Module, list[str]]:
        build = BUILDERS[self.spec.model.arch]
        model = build(self.spec.model, self.data.tokenizer.vocabulary_size)
        path = self.spec.train.pretrained_model_path
        notes = load_weights(model, Path(path), self.data.text) if pretrained and path else []
        return model, notes

    @override
    def exports(self, model: Any, input_format: str) -> dict[str, Exportable]:
        del input_format  # captions have one form
        if isinstance(model, DalleModel):
            return dalle_graphs(model)
        if isinstance(model, UnclipModel):
            return unclip_graphs(model)
        assert isinstance(model, GlideModel)
        return glide_graphs(model)

    # --- capabilities ---

    @override
    def generator(self) -> Generator:
        return self._generator

    @override
    def generator_for_prompts(self) -> Generator:
        inference = self.spec.inference
        if inference.image is None:
            return self._best_of(inference.rerank)
        edit: dict[str, Any] = {"image": _pixels(self.data, inference.image, "image")}
        if inference.mode != GENERATE:
            return self._generator.changed(**edit, **self._way(inference))
        if inference.mask is not None:
            edit["mask"] = _pixels(self.data, inference.mask, "mask").mean(axis=2).round().astype(np.uint8)
        if inference.strength is not None:
            edit["strength"] = inference.strength
        return self._generator.changed(**edit)

    def _way(self, inference: GenerateInferenceSpec) -> dict[str, Any]:
        """Where a given image goes."""
        way: dict[str, Any] = {"frames": inference.num_images, "first": inference.seed}
        if inference.image_to is not None:
            way["image_to"] = _pixels(self.data, inference.image_to, "image_to")
        if inference.caption is not None:
            way["caption"] = self.data.tokenizer.ids(inference.caption)[None]
        return way

    @override
    def variants(self) -> dict[str, Generator]:
        evaluate = self.spec.evaluate
        scales = {
            f"guidance_{scale:g}": self._generator.changed(guidance_scale=scale)
            for scale in evaluate.guidance
        }
        others = {f"from_{name}": self._generator.changed(condition=name) for name in evaluate.conditions}
        ranked = {f"rerank_{evaluate.rerank}": self._best_of(evaluate.rerank)} if evaluate.rerank > 1 else {}
        return scales | others | ranked

    def _best_of(self, candidates: int) -> Generator:
        """The generator, of whose images the best of so many is taken."""
        if candidates == 1:
            return self._generator
        return Reranked(self._generator, lambda: self.data.clip, lambda: self.data.text, candidates)

    @override
    def prompts(self) -> list[Sample]:
        inference = self.spec.inference
        texts = list(inference.prompts)
        if inference.source:
            path = Path(inference.source)
            if not path.is_file():
                raise DatasetError(f"inference.source: there is no file {path}")
            try:
                lines = path.read_text("utf-8").splitlines()
            except (OSError, UnicodeDecodeError) as error:
                raise DatasetError(f"inference.source: {path} cannot be read as text: {error}") from error
            texts = [line.strip() for line in lines if line.strip()]
            if not texts:
                raise DatasetError(f"inference.source: {path} has no prompt; give one a line")
        if inference.mode in (VARIATIONS, INTERPOLATE):
            texts = [""]
        seeds = range(inference.seed, inference.seed + inference.num_images)
        return [Sample(text, {TEXT: text, SEED: seed}) for text in texts for seed in seeds]

    @override
    def save(self, path: Path, sample: Sample, prediction: np.ndarray, model: str) -> None:
        self.predictions.save(path, sample, prediction, model)

    @override
    def metadata_extra(self) -> dict[str, Any]:
        return generator_metadata(self._generator)


def _pixels(data: CaptionData, path: str, name: str) -> np.ndarray:
    """An image of the inference block at the size of the model's, (H, W, 3) uint8. Raises DatasetError."""
    if not Path(path).is_file():
        raise DatasetError(f"inference.{name}: there is no file {path}")
    return preprocess(read_image(Path(path), data.preprocessing.window), data.preprocessing)


TASK = TextToImage
