"""Pictures out of sentences, as stages see it."""

from __future__ import annotations

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
from tao_like.tasks.text_to_image.model.build import build_dalle, build_glide
from tao_like.tasks.text_to_image.model.wholes import DalleModel, GlideModel
from tao_like.tasks.text_to_image.phases import BasePhase, DvaePhase, TransformerPhase
from tao_like.tasks.text_to_image.predictions import MadePictures, Reconstructions
from tao_like.tasks.text_to_image.sampling import generator_for
from tao_like.tasks.text_to_image.spec import DALLE
from tao_like.tasks.text_to_image.spec import Spec as GenerateSpec
from tao_like.tasks.text_to_image.warm_start import load_weights


class TextToImage(Task[GenerateSpec, Any], Generates, Describes):
    """DALL-E or GLIDE."""

    name = "text_to_image"
    Spec = GenerateSpec
    data: CaptionData
    predictions: MadePictures

    def __init__(self, spec: GenerateSpec, trained: TrainedState | None = None) -> None:
        super().__init__(spec, trained)
        data = CaptionData(spec, trained)
        judge = (lambda: data.judge) if data.has("train") else None
        predictions = MadePictures(spec.dataset.attributes, judge)
        self._generator = generator_for(spec)
        self.data = data
        self.compose(
            data=data,
            inputs={TEXT: TextInput(lambda: data.tokenizer), SEED: SeedInput()},
            predictions=predictions,
            phases=self._make_phases(data, predictions),
        )

    def _make_phases(self, data: CaptionData, predictions: MadePictures) -> list[Phase[Any]]:
        train = self.spec.train
        generating: dict[str, Any] = {
            "generator": self._generator,
            "exports": lambda model: self.exports(model, ""),
        }
        if self.spec.model.arch == DALLE:
            return [
                DvaePhase(data, Reconstructions(), train.of_phase("dvae")),
                TransformerPhase(data, predictions, train.of_phase("transformer"), **generating),
            ]
        base = BasePhase(data, predictions, train, diffusion=self.spec.model.diffusion, **generating)
        return [base]

    @override
    def model(self, *, pretrained: bool) -> tuple[nn.Module, list[str]]:
        build = build_dalle if self.spec.model.arch == DALLE else build_glide
        model = build(self.spec.model, self.data.tokenizer.vocabulary_size)
        path = self.spec.train.pretrained_model_path
        notes = load_weights(model, Path(path), self.data.text) if pretrained and path else []
        return model, notes

    @override
    def exports(self, model: Any, input_format: str) -> dict[str, Exportable]:
        del input_format  # captions have one form
        if isinstance(model, DalleModel):
            return dalle_graphs(model)
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
            return self._generator
        edit: dict[str, Any] = {"image": _pixels(self.data, inference.image, "image")}
        if inference.mask is not None:
            edit["mask"] = _pixels(self.data, inference.mask, "mask").mean(axis=2).round().astype(np.uint8)
        if inference.strength is not None:
            edit["strength"] = inference.strength
        return self._generator.changed(**edit)

    @override
    def variants(self) -> dict[str, Generator]:
        return {
            f"guidance_{scale:g}": self._generator.changed(guidance_scale=scale)
            for scale in self.spec.evaluate.guidance
        }

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
        seeds = range(inference.seed, inference.seed + inference.num_images)
        return [Sample(text, {TEXT: text, SEED: seed}) for text in texts for seed in seeds]

    @override
    def save(self, path: Path, sample: Sample, prediction: np.ndarray, model: str) -> None:
        self.predictions.save(path, sample, prediction, model)

    @override
    def metadata_extra(self) -> dict[str, Any]:
        return generator_metadata(self._generator)


def _pixels(data: CaptionData, path: str, name: str) -> np.ndarray:
    """A picture of the inference block at the size of the model's, (H, W, 3) uint8. Raises DatasetError."""
    if not Path(path).is_file():
        raise DatasetError(f"inference.{name}: there is no file {path}")
    return preprocess(read_image(Path(path)), data.preprocessing)


TASK = TextToImage
