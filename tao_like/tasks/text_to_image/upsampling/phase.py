"""What an upsampler learns by."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from typing_extensions import override

from tao_like.contract.batch import Batch
from tao_like.contract.metrics import Goal
from tao_like.contract.phase import Phase
from tao_like.contract.sample import Outputs
from tao_like.runtime.generation.base import IMAGE, SEED
from tao_like.runtime.generation.cascade import CascadeGenerator
from tao_like.tasks.text_to_image.data.data import CaptionData, Images
from tao_like.tasks.text_to_image.forward import Forward
from tao_like.tasks.text_to_image.model.scaling import reduced
from tao_like.tasks.text_to_image.phases import Running
from tao_like.tasks.text_to_image.predictions import MadeImages
from tao_like.tasks.text_to_image.spec_blocks.stages import GenerateTrainSpec
from tao_like.tasks.text_to_image.upsampling.damage import blurred, worn
from tao_like.tasks.text_to_image.upsampling.metrics import EnlargedMetrics


class UpsamplerPhase(Phase[Any]):
    """The first upsampler learns to take noise away, with the small image beside it.

    The small image is blurred a little in training; that of the second upsampler is damaged more (Ramesh et
    al. 2022, section 2.3). Both learn on parts of images.

    Args:
        data, spec: as of `Phase`.
        running: runs the graphs.
    """

    name = "upsampler_1"
    goal = Goal("psnr")
    parts = ("upsampler_1",)
    number = 1
    data: CaptionData
    spec: GenerateTrainSpec

    def __init__(self, data: CaptionData, spec: GenerateTrainSpec, running: Running) -> None:
        super().__init__(data, MadeImages({}, None), spec)
        model = data.spec.model
        self.running = running
        self.smaller, self.side = [model.image_size, *model.upsampler.sides][self.number - 1 :][:2]
        self.process = Forward(replace(model.diffusion, prediction=model.upsampler.prediction))

    @override
    def losses(self, model: Any, batch: Batch[Images]) -> dict[str, Tensor]:
        training = model.parts()[self.name].training
        pixels = 2 * reduced(batch.targets.values, self.side) - 1
        low = reduced(pixels, self.smaller)
        if training:
            low = (blurred if self.number == 1 else worn)(low)
            low, pixels = self._crops(low, pixels)
        noisy, steps, wanted = self.process.noisy(pixels, training=training)
        said = model(self.name, noisy, steps.float(), low)
        return {"loss": functional.mse_loss(said, wanted)}

    def _crops(self, low: Tensor, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """The same part of small and large images, one place for a batch."""
        own = self.data.spec.model.upsampler
        scale = self.side // self.smaller
        # The network halves what it gets, and patches must stay whole.
        least = own.patch * 2 ** (len(own.multipliers) - 1)
        side = max(self.side // self.spec.upsampler_crops, least, scale) // scale
        while side * scale % least:
            side += 1
        top, left = (int(torch.randint(self.smaller - side + 1, ())) for _ in range(2))
        rows, columns = slice(top, top + side), slice(left, left + side)
        tall, wide = (slice(scale * one.start, scale * one.stop) for one in (rows, columns))
        return low[:, :, rows, columns], pixels[:, :, tall, wide]

    @override
    def validate(self, model: Any, batch: Batch[Images]) -> tuple[dict[str, Tensor], Outputs]:
        losses = self.losses(model, batch)
        generator = self.running.generator
        assert isinstance(generator, CascadeGenerator)
        low = reduced(batch.targets.values, self.smaller).permute(0, 2, 3, 1).cpu().numpy()
        call = self.running.call(model, batch.device)
        seeds = batch.inputs[SEED].cpu().numpy()
        return losses, {IMAGE: generator.enlarged(call, self.number, low, seeds)}

    @override
    def metrics(self) -> EnlargedMetrics:
        return EnlargedMetrics(self.smaller, self.side)


class SecondUpsamplerPhase(UpsamplerPhase):
    """The second upsampler."""

    name = "upsampler_2"
    parts = ("upsampler_2",)
    number = 2


UPSAMPLER_PHASES = (UpsamplerPhase, SecondUpsamplerPhase)
