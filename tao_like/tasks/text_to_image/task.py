"""Images out of sentences, as stages see it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from typing_extensions import override

from tao_like.contract.capabilities import Describes, Generates, Prunes, Variant
from tao_like.contract.data import Dataset
from tao_like.contract.model import Exportable, Prunable
from tao_like.contract.phase import Phase
from tao_like.contract.sample import Sample
from tao_like.contract.task import Task
from tao_like.contract.trained import TrainedState
from tao_like.data.images.files import read_text
from tao_like.errors import DatasetError, SpecError
from tao_like.runtime.generation.base import SEED, TEXT, Generator
from tao_like.runtime.generation.cascade import CascadeGenerator
from tao_like.runtime.generation.diffusion import DiffusionGenerator
from tao_like.runtime.generation.kinds import generator_metadata
from tao_like.runtime.inputs.image import preprocess, read_image
from tao_like.tasks.common.captions.text_input import TextInput
from tao_like.tasks.common.pair_judge import open_guide
from tao_like.tasks.text_to_image.data.data import CaptionData, CaptionDataset
from tao_like.tasks.text_to_image.data.inputs import SeedInput
from tao_like.tasks.text_to_image.graphs import dalle_graphs, glide_graphs
from tao_like.tasks.text_to_image.model.build import build_dalle, build_glide, build_unclip
from tao_like.tasks.text_to_image.model.wholes import DalleModel, GlideModel
from tao_like.tasks.text_to_image.noised_clip.graphs import guide_graphs
from tao_like.tasks.text_to_image.noised_clip.phase import NoisedClipPhase
from tao_like.tasks.text_to_image.optimise.canvases import (
    PIXELS,
    STROKES,
    Canvas,
    CodeCanvas,
    PixelCanvas,
    StrokeCanvas,
)
from tao_like.tasks.text_to_image.optimise.search import Optimised
from tao_like.tasks.text_to_image.phases import (
    BasePhase,
    DvaePhase,
    InpaintPhase,
    NamedBasePhase,
    Running,
    TransformerPhase,
)
from tao_like.tasks.text_to_image.predictions import MadeImages, Reconstructions
from tao_like.tasks.text_to_image.pruning import prunable_parts
from tao_like.tasks.text_to_image.rerank import Reranked
from tao_like.tasks.text_to_image.sampling import generator_for
from tao_like.tasks.text_to_image.spec import DALLE, GLIDE, UNCLIP, ModelSpec
from tao_like.tasks.text_to_image.spec import Spec as GenerateSpec
from tao_like.tasks.text_to_image.spec_blocks.stages import (
    GENERATE,
    INTERPOLATE,
    OPTIMISE,
    PCA,
    ROWS,
    VARIATIONS,
    WAYS,
    GenerateInferenceSpec,
)
from tao_like.tasks.text_to_image.unclip.clip_source import (
    EMBEDDING,
    KEY,
    build_towers,
    fill,
    given_clip,
    notes_of,
    of_file,
    resolved,
)
from tao_like.tasks.text_to_image.unclip.graphs import unclip_graphs
from tao_like.tasks.text_to_image.unclip.metrics import Embedded
from tao_like.tasks.text_to_image.unclip.model import UnclipModel
from tao_like.tasks.text_to_image.unclip.phases import ClipPhase, DecoderPhase, PriorPhase
from tao_like.tasks.text_to_image.unclip.rows import image_paths, row_samples, row_settings
from tao_like.tasks.text_to_image.upsampling.metrics import EnlargedMetrics, PaintedMetrics
from tao_like.tasks.text_to_image.upsampling.phase import UPSAMPLER_PHASES
from tao_like.tasks.text_to_image.upsampling.variants import Enlarging, Painting, middle_mask
from tao_like.tasks.text_to_image.warm_start import load_weights

BUILDERS: dict[str, Callable[[ModelSpec, int], nn.Module]] = {
    DALLE: build_dalle,
    GLIDE: build_glide,
    UNCLIP: build_unclip,
}


class TextToImage(Task[GenerateSpec, Any], Generates, Prunes[Any], Describes):
    """DALL-E, GLIDE or unCLIP."""

    name = "text_to_image"
    Spec = GenerateSpec
    stored_dataset_keys = ("pixel_range",)
    data: CaptionData
    predictions: MadeImages

    def __init__(self, spec: GenerateSpec, trained: TrainedState | None = None) -> None:
        self._clip = given_clip(spec, trained)
        self._notes = [] if self._clip is None else notes_of(self._clip, spec)
        if self._clip is not None:
            spec = resolved(self._clip, spec)
        elif trained is not None:
            spec = of_file(spec, trained.extra)
        super().__init__(spec, trained)
        data = CaptionData(spec, trained, self._clip.text if self._clip else None)
        judge = (lambda: data.judge) if data.has("train") else None
        predictions = MadeImages(spec.dataset.attributes, judge, spec.inference.prompts)
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
        # First, for the last phase is the one whose images come out.
        upsamplers: list[Phase[Any]] = [
            kind(data, train.of_phase(kind.name), running)
            for kind, _ in zip(UPSAMPLER_PHASES, self.spec.model.upsampler.sides, strict=False)
        ]
        if self.spec.model.arch == DALLE:
            return [
                DvaePhase(data, Reconstructions(), train.of_phase("dvae")),
                TransformerPhase(data, predictions, train.of_phase("transformer"), running),
            ]
        if self.spec.model.arch == UNCLIP:
            own_clip = not self.spec.model.unclip.pretrained_clip_path
            return [
                *upsamplers,
                *([ClipPhase(data, Embedded(), train.of_phase("clip"))] if own_clip else []),
                PriorPhase(data, train.of_phase("prior"), running, diffusion),
                DecoderPhase(data, predictions, train.of_phase("decoder"), running, diffusion=diffusion),
            ]
        glide = self.spec.model.glide
        first = list(upsamplers)
        if glide.noised_clip.enable:
            first.append(NoisedClipPhase(data, train.of_phase(NoisedClipPhase.name), diffusion))
        if not (first or glide.inpaint):
            return [BasePhase(data, predictions, train, running, diffusion=diffusion)]
        kinds = (NamedBasePhase, InpaintPhase) if glide.inpaint else (NamedBasePhase,)
        own = [
            kind(data, predictions, train.of_phase(kind.name), running, diffusion=diffusion) for kind in kinds
        ]
        return [*first, *own]

    @override
    def model(self, *, pretrained: bool) -> tuple[nn.Module, list[str]]:
        spec = self.spec.model
        if spec.unclip.clip.sha256 and self._clip is None and self.trained is None:
            # A copy of a bundle's spec: it describes towers, and nothing would give them their weights.
            raise SpecError(f"model.unclip.clip is what a training keeps of {KEY}; leave it out")
        vocabulary = self.data.tokenizer.vocabulary_size
        towers = build_towers(spec, self.data.text) if spec.arch == UNCLIP else None
        if towers is None:
            model = BUILDERS[spec.arch](spec, vocabulary)
        else:
            model = build_unclip(spec, vocabulary, towers)
        if not pretrained:
            return model, []
        if towers is not None and self._clip is not None and self._clip.towers is not None:
            fill(towers, self._clip.towers)
        path = self.spec.train.pretrained_model_path
        notes = load_weights(model, Path(path), self.data.text) if path else []
        return model, [*self._notes, *notes]

    @override
    def exports(self, model: Any, input_format: str) -> dict[str, Exportable]:
        del input_format  # captions have one form
        if isinstance(model, DalleModel):
            return dalle_graphs(model)
        if isinstance(model, UnclipModel):
            return unclip_graphs(model)
        assert isinstance(model, GlideModel)
        guide = guide_graphs(model.noised_clip) if model.noised_clip is not None else {}
        return {**glide_graphs(model), **guide}

    # --- capabilities ---

    @override
    def prunable(self, model: Any) -> dict[str, Prunable]:
        text = torch.from_numpy(self.data.tokenizer.ids("a"))[None]
        return prunable_parts(model, self.spec.model, text)

    @override
    def generator(self) -> Generator:
        return self._generator

    @override
    def generator_for_prompts(self, network: nn.Module | None) -> Generator:
        inference = self.spec.inference
        if inference.mode == OPTIMISE:
            return self._optimised(network)
        if inference.image is None:
            return self._best_of(inference.rerank)
        if inference.mode in ROWS:
            return self._generator.changed(**self._rows(inference))
        edit: dict[str, Any] = {"image": _pixels(self.data, inference.image, "image")}
        if inference.mode != GENERATE:
            return self._generator.changed(**edit, **self._way(inference))
        if inference.mask is not None:
            edit["mask"] = _pixels(self.data, inference.mask, "mask").mean(axis=2).round().astype(np.uint8)
        if inference.strength is not None:
            edit["strength"] = inference.strength
        return self._generator.changed(**edit)

    def _optimised(self, network: nn.Module | None) -> Generator:
        """Seeks images by gradient."""
        settings, side = self.spec.inference.optimise, self.spec.model.output_size
        guide = open_guide(str(self.spec.clip_checkpoint), "clip_checkpoint")

        def canvas(random: torch.Generator) -> Canvas:
            if settings.canvas == PIXELS:
                return PixelCanvas(side, random)
            if settings.canvas == STROKES:
                return StrokeCanvas(side, settings.strokes, random)
            if not isinstance(network, DalleModel):
                raise SpecError(
                    "inference.optimise.canvas=codes needs gradients of the dVAE, which an exported model "
                    "does not give; name a bundle (inference.checkpoint)"
                )
            return CodeCanvas(network.dvae.requires_grad_(False), side, random)

        return Optimised(self._generator, lambda: guide, lambda: self.data.text, canvas, settings)

    def _rows(self, inference: GenerateInferenceSpec) -> dict[str, Any]:
        """Given images, each with what is made of it."""

        def pixels(path: Path) -> np.ndarray:
            return _pixels(self.data, str(path), "image")

        return row_settings(inference, self.spec.model.unclip.embedding, pixels, self.data.tokenizer.ids)

    def _way(self, inference: GenerateInferenceSpec) -> dict[str, Any]:
        """Where a given image goes."""
        way: dict[str, Any] = {"frames": inference.num_images, "first": inference.seed}
        if inference.image_to is not None:
            way["image_to"] = _pixels(self.data, inference.image_to, "image_to")
        if inference.caption is not None:
            way["caption"] = self.data.tokenizer.ids(inference.caption)[None]
            way["turn"] = inference.turn
        return way

    @override
    def variants(self, dataset: Dataset) -> dict[str, Variant]:
        evaluate = self.spec.evaluate
        scales = {
            f"guidance_{scale:g}": self._generator.changed(guidance_scale=scale)
            for scale in evaluate.guidance
        }
        scales |= {
            f"clip_guidance_{scale:g}": self._generator.changed(clip_guidance_scale=scale)
            for scale in evaluate.clip_guidance
        }
        others = {f"from_{name}": self._generator.changed(condition=name) for name in evaluate.conditions}
        ranked = {f"rerank_{evaluate.rerank}": self._best_of(evaluate.rerank)} if evaluate.rerank > 1 else {}
        found = {name: Variant(one) for name, one in (scales | others | ranked).items()}
        assert isinstance(dataset, CaptionDataset)
        return found | self._from_real(dataset)

    def _from_real(self, dataset: CaptionDataset) -> dict[str, Variant]:
        """Ways that begin with a split's real images."""
        generator, model = self._generator, self.spec.model
        found = {}
        if isinstance(generator, CascadeGenerator):
            sizes = model.image_size, model.output_size
            metrics = partial(EnlargedMetrics, *sizes)
            found["enlarged"] = Variant(Enlarging(generator, dataset.pixels), metrics)
        if self.spec.evaluate.inpaint:
            assert isinstance(generator, DiffusionGenerator | CascadeGenerator)
            mask = middle_mask(model.output_size)
            painted = partial(PaintedMetrics, self.spec.dataset.attributes, lambda: self.data.judge, mask)
            found["inpainted"] = Variant(Painting(generator, dataset.pixels, mask), painted)
        return found

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
            lines = read_text(path, "a prompt a line").splitlines()
            texts = [line.strip() for line in lines if line.strip()]
            if not texts:
                raise DatasetError(f"inference.source: {path} has no prompt; give one a line")
        if inference.mode in ROWS:
            return row_samples(inference, self.spec.model.unclip.embedding)
        if inference.mode in (VARIATIONS, INTERPOLATE):
            texts = [""]
        seeds = range(inference.seed, inference.seed + inference.num_images)
        return [Sample(text, {TEXT: text, SEED: seed}) for text in texts for seed in seeds]

    @override
    def sheet_columns(self) -> int:
        inference = self.spec.inference
        if inference.mode in ROWS:
            rows = len(image_paths(str(inference.image))) if inference.mode == PCA else 2
            return len(self.prompts()) // rows
        return inference.num_images if inference.mode in WAYS else super().sheet_columns()

    @override
    def save(self, path: Path, sample: Sample, prediction: np.ndarray, model: str) -> None:
        self.predictions.save(path, sample, prediction, model)

    @override
    def metadata_extra(self) -> dict[str, Any]:
        unclip = self.spec.model.unclip
        space = {EMBEDDING: unclip.embedding} if unclip.clip.sha256 else {}
        return {**generator_metadata(self._generator), **space}


def _pixels(data: CaptionData, path: str, name: str) -> np.ndarray:
    """An image of the inference block at the size of the model's, (H, W, 3) uint8. Raises DatasetError."""
    if not Path(path).is_file():
        raise DatasetError(f"inference.{name}: there is no file {path}")
    return preprocess(read_image(Path(path), data.preprocessing.window), data.preprocessing)


TASK = TextToImage
