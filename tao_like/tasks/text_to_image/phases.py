"""What each network learns by."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from typing_extensions import override

from tao_like.contract.batch import Batch
from tao_like.contract.metrics import Goal
from tao_like.contract.model import Exportable
from tao_like.contract.phase import Phase
from tao_like.contract.predictions import Predictions
from tao_like.contract.sample import Outputs
from tao_like.errors import TaoLikeError
from tao_like.runtime.generation.base import IMAGE, SEED, TEXT, Generator, GraphCall
from tao_like.runtime.generation.edit import KNOWN
from tao_like.tasks.text_to_image.data.data import CaptionData, Images
from tao_like.tasks.text_to_image.forward import Forward
from tao_like.tasks.text_to_image.metrics import GenerationMetrics, ReconstructionMetrics
from tao_like.tasks.text_to_image.model.dalle import transformer_losses
from tao_like.tasks.text_to_image.model.dvae import LOGIT_LAPLACE_EPS, logit_laplace_loss
from tao_like.tasks.text_to_image.model.scaling import reduced
from tao_like.tasks.text_to_image.model.wholes import DalleModel, GlideModel, dropped
from tao_like.tasks.text_to_image.predictions import Reconstructions
from tao_like.tasks.text_to_image.spec import GUMBEL, DiffusionSpec
from tao_like.tasks.text_to_image.spec_blocks.stages import GateSpec, GenerateTrainSpec

Exports = Callable[[Any], Mapping[str, Exportable]]
GATE_SAMPLES = 256
"""Images that the dVAE is judged by before the transformer begins."""


class DvaePhase(Phase[DalleModel]):
    """The dVAE learns to keep images as codes."""

    name = "dvae"
    goal = Goal("psnr")
    parts = ("dvae",)
    data: CaptionData
    spec: GenerateTrainSpec

    @override
    def losses(self, model: DalleModel, batch: Batch[Images]) -> dict[str, Tensor]:
        pixels = batch.targets.values
        if self.data.spec.model.dalle.quantizer == GUMBEL:
            own = self.spec.gumbel
            first, last = own.temperature
            temperature = along_cosine(first, last, self.progress / own.temperature_part)
            statistics, divergence = model(pixels, temperature=temperature)
            weight = along_cosine(0.0, own.kl_weight, self.progress / own.kl_part)
            # Both a value of a pixel, as in appendix A.2, where 6.6 is the weight.
            values = pixels[0].numel()
            image = logit_laplace_loss(statistics, pixels) / values
            return {"image": image, "divergence": weight / values * divergence}
        statistics, _ = model(pixels)
        # Not clamped, as images are: beyond the ends the gradient must lead back.
        made = (torch.sigmoid(statistics[:, :3]) - LOGIT_LAPLACE_EPS) / (1 - 2 * LOGIT_LAPLACE_EPS)
        return {"loss": functional.mse_loss(made, pixels)}

    @override
    def validate(self, model: DalleModel, batch: Batch[Images]) -> tuple[dict[str, Tensor], Outputs]:
        losses = self.losses(model, batch)
        codes = model.dvae.encode(batch.targets.values)
        made = model.dvae.decode(codes).permute(0, 2, 3, 1)
        return losses, {IMAGE: made.float().cpu().numpy(), "codes": codes.cpu().numpy()}

    @override
    def metrics(self) -> ReconstructionMetrics:
        spec = self.data.spec
        codes = spec.model.dalle.code_count
        return ReconstructionMetrics(codes, spec.dataset.attributes, lambda: self.data.judge)


def along_cosine(first: float, last: float, way: float) -> float:
    """From one value to another with half a wave of a cosine; a way of 1 or more is all of it."""
    return last + (first - last) * (1 + math.cos(math.pi * min(way, 1.0))) / 2


@dataclass(frozen=True)
class Running:
    """How a phase runs a model's graphs, as whoever uses the model does.

    Attributes:
        generator: makes the images.
        exports: the graphs of a model, which the generator runs.
    """

    generator: Generator
    exports: Exports

    def call(self, model: Any, device: torch.device) -> GraphCall:
        """Runs a graph of the model on a device."""
        graphs = self.exports(model)

        def call(name: str, values: Outputs) -> Outputs:
            graph = graphs[name]
            outputs = graph.module(*(tensor.to(device) for tensor in graph.to_inputs(values)))
            named = outputs if isinstance(outputs, tuple) else (outputs,)
            return {key: value.float().cpu().numpy() for key, value in zip(graph.outputs, named, strict=True)}

        return call


class Generating(Phase[Any]):
    """A phase whose validation makes images.

    Args:
        data, predictions, spec: as of `Phase`.
        running: runs the graphs.
    """

    goal = Goal("accuracy")
    data: CaptionData
    spec: GenerateTrainSpec

    def __init__(
        self, data: CaptionData, predictions: Predictions[Any], spec: GenerateTrainSpec, running: Running
    ) -> None:
        super().__init__(data, predictions, spec)
        self.running = running

    @override
    def metrics(self) -> GenerationMetrics:
        spec = self.data.spec
        clip = (lambda: self.data.clip) if spec.clip_checkpoint else None
        return GenerationMetrics(spec.dataset.attributes, lambda: self.data.judge, clip)

    @override
    def validate(self, model: Any, batch: Batch[Images]) -> tuple[dict[str, Tensor], Outputs]:
        losses = self.losses(model, batch)
        given = {TEXT: batch.inputs[TEXT].cpu().numpy(), SEED: batch.inputs[SEED].cpu().numpy()}
        return losses, self.running.generator.run(self.running.call(model, batch.device), given)


class TransformerPhase(Generating):
    """The transformer learns to say an image's codes after its caption."""

    name = "transformer"
    parts = ("transformer",)

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._codes: dict[int, Tensor] = {}

    @override
    def check(self, model: DalleModel) -> None:
        """Refuses a dVAE that would spoil every image."""
        split = "val" if self.data.has("val") else "train"
        dataset = self.data.dataset(split)  # type: ignore[arg-type]
        count = min(len(dataset), GATE_SAMPLES)
        gate = DvaePhase(self.data, Reconstructions(), self.spec)
        metrics = gate.metrics()
        model.dvae.eval()
        numbers = [number * len(dataset) // count for number in range(count)]
        for start in range(0, count, 64):
            batch = self.data.collate([dataset[number] for number in numbers[start : start + 64]])
            batch = batch.to(next(model.parameters()).device)
            with torch.no_grad():
                _, outputs = gate.validate(model, batch)
            predictions = gate.predictions.from_outputs(outputs)
            metrics.update(batch.indices.tolist(), predictions, gate.predictions.targets(batch))
        _pass_gate(metrics.compute().values, self.spec.gate, self.data.spec.dataset.attributes)

    @override
    def losses(self, model: DalleModel, batch: Batch[Images]) -> dict[str, Tensor]:
        text = batch.inputs[TEXT]
        numbers: list[int] = []
        if model.transformer.training:
            text = dropped(text, self.spec.text_drop)
            numbers = batch.indices.tolist()
        known = None
        if numbers and all(number in self._codes for number in numbers):
            known = torch.stack([self._codes[number] for number in numbers]).to(text.device)
        *logits, codes = model(batch.targets.values, text, known)
        if numbers and known is None:
            # Images are not changed at random and the dVAE stands still: each is encoded once.
            self._codes |= zip(numbers, codes.cpu(), strict=True)
        padded = model.transformer.padded(text)
        return transformer_losses((logits[0], logits[1]), padded, codes, self.spec.text_weight)


def _pass_gate(found: Mapping[str, float], gate: GateSpec, attributes: Iterable[str]) -> None:
    """Raises TaoLikeError where a dVAE is not good enough."""
    wanted = [("psnr", "psnr", gate.psnr), ("codes_used", "codes_used", gate.codes_used)]
    # Each by itself: a mean hides one that is lost.
    wanted += [(name, "accuracy", gate.accuracy) for name in attributes]
    missed = [
        f"{name} {found[name]:.3g} (train.gate.{key}={least:g})"
        for name, key, least in wanted
        if not found[name] >= least
    ]
    if missed:
        raise TaoLikeError(
            f"the dVAE misses what the transformer needs: {', '.join(missed)}. No image would get better "
            "than what it makes of real ones, so train it longer (train.dvae.num_epochs), make it larger "
            "(model.dalle.dvae_width, dvae_blocks, levels), or lower train.gate"
        )


class BasePhase(Generating):
    """GLIDE's network learns to take noise away.

    Args:
        diffusion: schedule and what the network says.
    """

    parts = ("base",)

    def __init__(self, *args: Any, diffusion: DiffusionSpec, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.process = Forward(diffusion)

    @override
    def losses(self, model: GlideModel, batch: Batch[Images]) -> dict[str, Tensor]:
        text = batch.inputs[TEXT]
        if model.base.training:
            text = dropped(text, self.spec.text_drop)
        pixels = 2 * reduced(batch.targets.values, self.data.spec.model.image_size) - 1
        noisy, steps, wanted = self.process.noisy(pixels, training=model.base.training)
        given = noisy
        if self.data.spec.model.glide.inpaint:
            given = torch.cat([noisy, self.known(pixels)], dim=1)
        # Through the whole model: divided weights are gathered when it is called.
        said = model("base", given, steps.float(), text)
        return self.process.losses(said, wanted, noisy, steps, pixels)

    def known(self, pixels: Tensor) -> Tensor:
        """What the network is told of images (N, 3, H, W), in four more channels: nothing."""
        return pixels.new_zeros(len(pixels), KNOWN, *pixels.shape[2:])


class NamedBasePhase(BasePhase):
    """The same where it is one of several."""

    name = "base"


class InpaintPhase(BasePhase):
    """The network goes on, and learns what is known of images with holes (Nichol et al. 2021, part 3.2)."""

    name = "inpaint"

    @override
    def known(self, pixels: Tensor) -> Tensor:
        """The images with a hole each; some are all hole, so that images out of nothing are not forgotten."""
        holes = holes_like(pixels).to(pixels.device)
        return torch.cat([pixels * (1 - holes), 1 - holes], dim=1)


def holes_like(pixels: Tensor, least: float = 0.25, whole: float = 0.2) -> Tensor:
    """A rectangular hole for each of images (N, C, H, W): (N, 1, H, W), 1 inside.

    Args:
        pixels: the images.
        least: side of the smallest hole, as a fraction of theirs.
        whole: fraction of the images that are all hole.
    """
    count, _, height, width = pixels.shape
    holes = torch.zeros(count, 1, height, width)
    for hole in holes:
        if torch.rand(()) < whole:
            hole.fill_(1)
            continue
        tall, wide = (
            ((least + (1 - least) * torch.rand(2)) * torch.tensor([height, width])).round().int().tolist()
        )
        top, left = (
            int(torch.randint(total - size + 1, ())) for total, size in ((height, tall), (width, wide))
        )
        hole[:, top : top + tall, left : left + wide] = 1
    return holes
