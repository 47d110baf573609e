"""What unCLIP's three networks learn by."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from typing_extensions import override

from tao_like.contract.batch import Batch
from tao_like.contract.metrics import Goal
from tao_like.contract.phase import Phase
from tao_like.contract.sample import Outputs
from tao_like.runtime.generation.base import SEED, TEXT, Noise
from tao_like.runtime.generation.cascade import CascadeGenerator
from tao_like.runtime.generation.diffusion import TEXT_GRAPH
from tao_like.runtime.generation.unclip import UnclipGenerator
from tao_like.tasks.text_to_image.data.data import CaptionData, Images
from tao_like.tasks.text_to_image.forward import Forward
from tao_like.tasks.text_to_image.model.code_prior import CodePrior, EmbeddingCodes
from tao_like.tasks.text_to_image.model.scaling import reduced
from tao_like.tasks.text_to_image.model.towers import LARGEST_SCALE, contrastive_loss
from tao_like.tasks.text_to_image.model.wholes import dropped
from tao_like.tasks.text_to_image.phases import Generating, Running
from tao_like.tasks.text_to_image.spec import DiffusionSpec
from tao_like.tasks.text_to_image.spec_blocks.stages import GenerateTrainSpec
from tao_like.tasks.text_to_image.unclip.metrics import (
    CAPTION,
    DRAWN,
    IMAGE,
    Embedded,
    PriorMetrics,
    RetrievalMetrics,
)
from tao_like.tasks.text_to_image.unclip.model import Standardized, UnclipModel

MEASURED = 4096
"""Training images whose embeddings give mean and deviation."""
AT_ONCE = 256


def small(data: CaptionData, batch: Batch[Images]) -> Tensor:
    """The batch's images (N, 3, H, W), 0 to 1, at the size that all but the upsamplers see."""
    return reduced(batch.targets.values, data.spec.model.image_size)


class ClipPhase(Phase[Any]):
    """Images and captions meet in one space."""

    name = "clip"
    goal = Goal("recall_at_1")
    parts = ("clip",)
    data: CaptionData

    @override
    def losses(self, model: Any, batch: Batch[Images]) -> dict[str, Tensor]:
        towers: Any = model.parts()[self.name]
        if towers.training:
            with torch.no_grad():
                # In place too: a weight above the limit would have no gradient to come back by.
                towers.scale.clamp_(max=LARGEST_SCALE)
        return {"loss": self._loss(self.found(model, batch), batch)}

    def found(self, model: Any, batch: Batch[Images]) -> tuple[Tensor, Tensor, Tensor]:
        """Embeddings of images and captions, and the scale of their cosines."""
        found: tuple[Tensor, Tensor, Tensor] = model(self.name, small(self.data, batch), batch.inputs[TEXT])
        return found

    @override
    def validate(self, model: Any, batch: Batch[Images]) -> tuple[dict[str, Tensor], Outputs]:
        found = self.found(model, batch)
        named = {IMAGE: found[0].float().cpu().numpy(), CAPTION: found[1].float().cpu().numpy()}
        return {"loss": self._loss(found, batch)}, named

    def _loss(self, found: tuple[Tensor, Tensor, Tensor], batch: Batch[Images]) -> Tensor:
        text = batch.inputs[TEXT]
        same = (text[:, None] == text[None]).all(dim=2)
        return contrastive_loss(*found, same)

    @override
    def metrics(self) -> RetrievalMetrics:
        return RetrievalMetrics()


class PriorPhase(Phase[UnclipModel]):
    """Captions to embeddings of images: out of noise, or code by code.

    Args:
        data, spec: as of `Phase`.
        running: runs the graphs.
        diffusion: schedule and steps; the prior foresees the embedding, whatever the decoder says.
    """

    name = "prior"
    goal = Goal("cosine")
    parts = ("prior",)
    data: CaptionData
    spec: GenerateTrainSpec

    def __init__(
        self, data: CaptionData, spec: GenerateTrainSpec, running: Running, diffusion: DiffusionSpec
    ) -> None:
        super().__init__(data, Embedded(), spec)
        self.running = running
        self.process = Forward(diffusion)

    @override
    def check(self, model: UnclipModel) -> None:
        """Measures the embeddings of the training's images."""
        prior = model.prior
        measure(model, self.data, prior.coder if isinstance(prior, CodePrior) else prior)

    @override
    def losses(self, model: UnclipModel, batch: Batch[Images]) -> dict[str, Tensor]:
        text, prior = batch.inputs[TEXT], model.prior
        training = prior.training
        if training:
            text = dropped(text, self.spec.text_drop)
        with torch.no_grad():
            image = model("image", small(self.data, batch))
        if isinstance(prior, CodePrior):
            codes = prior.coder.codes(image)
            logits = model("codes", codes, text)
            return {"loss": functional.cross_entropy(logits.flatten(0, 1), codes.flatten())}
        wanted = prior.standardized(image)
        noisy, steps, _ = self.process.noisy(wanted, training=training)
        return {"loss": functional.mse_loss(model("prior", noisy, steps.float(), text), wanted)}

    @override
    def validate(self, model: UnclipModel, batch: Batch[Images]) -> tuple[dict[str, Tensor], Outputs]:
        losses = self.losses(model, batch)
        call = self.running.call(model, batch.device)
        generator = self.running.generator
        if isinstance(generator, CascadeGenerator):
            generator = generator.base
        assert isinstance(generator, UnclipGenerator)
        text = batch.inputs[TEXT].cpu().numpy()
        words = call(TEXT_GRAPH, {TEXT: text})
        without = call(TEXT_GRAPH, {TEXT: 0 * text})
        noise = Noise(batch.inputs[SEED].cpu().numpy())
        image = model.clip.image(small(self.data, batch)).float().cpu().numpy()
        drawn = generator.drawn(call, words, without, noise)
        return losses, {IMAGE: image, CAPTION: words["text_embedding"], DRAWN: drawn}

    @override
    def metrics(self) -> PriorMetrics:
        return PriorMetrics()


class DecoderPhase(Generating):
    """Embeddings to images, by diffusion; the caption is heard beside them."""

    name = "decoder"
    parts = ("decoder",)

    def __init__(self, *args: Any, diffusion: DiffusionSpec, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.process = Forward(diffusion)

    @override
    def check(self, model: UnclipModel) -> None:
        """Measures the embeddings of the training's images."""
        measure(model, self.data, model.decoder)

    @override
    def losses(self, model: UnclipModel, batch: Batch[Images]) -> dict[str, Tensor]:
        text, pixels = batch.inputs[TEXT], small(self.data, batch)
        training = model.decoder.training
        with torch.no_grad():
            image = model("image", pixels)
        if training:
            text = dropped(text, self.spec.decoder_text_drop)
            image = dropped(image, self.spec.embedding_drop)
        noisy, steps, wanted = self.process.noisy(2 * pixels - 1, training=training)
        said = model("decoder", noisy, steps.float(), image, text)
        return self.process.losses(said, wanted, noisy, steps, 2 * pixels - 1)


@torch.no_grad()
def measure(model: UnclipModel, data: CaptionData, part: Standardized | EmbeddingCodes) -> None:
    """Tells a part what the embeddings of the training's images are like."""
    dataset = data.dataset("train")
    count = min(len(dataset), MEASURED)
    numbers = [number * len(dataset) // count for number in range(count)]
    device = next(model.clip.parameters()).device
    model.clip.eval()
    found = []
    for start in range(0, count, AT_ONCE):
        batch = data.collate([dataset[number] for number in numbers[start : start + AT_ONCE]])
        found.append(model.clip.image(small(data, batch).to(device)))
    part.measure(torch.cat(found))
