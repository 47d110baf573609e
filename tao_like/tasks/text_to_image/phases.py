"""What each network learns by."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
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
from tao_like.runtime.generation.base import PICTURE, SEED, TEXT, Generator
from tao_like.runtime.generation.schedules import alphas_cumprod
from tao_like.tasks.text_to_image.data.data import CaptionData, Pictures
from tao_like.tasks.text_to_image.metrics import GenerationMetrics, ReconstructionMetrics
from tao_like.tasks.text_to_image.model.dalle import transformer_losses
from tao_like.tasks.text_to_image.model.dvae import LOGIT_LAPLACE_EPS
from tao_like.tasks.text_to_image.model.wholes import DalleModel, GlideModel, dropped
from tao_like.tasks.text_to_image.predictions import Reconstructions
from tao_like.tasks.text_to_image.spec import DiffusionSpec
from tao_like.tasks.text_to_image.spec_stages import GateSpec, GenerateTrainSpec

Exports = Callable[[Any], Mapping[str, Exportable]]
GATE_SAMPLES = 256
"""Pictures that the dVAE is judged by before the transformer begins."""


class DvaePhase(Phase[DalleModel]):
    """The dVAE learns to keep pictures as codes."""

    name = "dvae"
    goal = Goal("psnr")
    parts = ("dvae",)
    data: CaptionData

    @override
    def losses(self, model: DalleModel, batch: Batch[Pictures]) -> dict[str, Tensor]:
        pixels = batch.targets.values
        statistics, _ = model.dvae(pixels)
        # Not clamped, as pictures are: beyond the ends the gradient must lead back.
        made = (torch.sigmoid(statistics[:, :3]) - LOGIT_LAPLACE_EPS) / (1 - 2 * LOGIT_LAPLACE_EPS)
        return {"loss": functional.mse_loss(made, pixels)}

    @override
    def validate(self, model: DalleModel, batch: Batch[Pictures]) -> tuple[dict[str, Tensor], Outputs]:
        losses = self.losses(model, batch)
        codes = model.dvae.encode(batch.targets.values)
        made = model.dvae.decode(codes).permute(0, 2, 3, 1)
        return losses, {PICTURE: made.float().cpu().numpy(), "codes": codes.cpu().numpy()}

    @override
    def metrics(self) -> ReconstructionMetrics:
        spec = self.data.spec
        codes = 1
        for levels in spec.model.dalle.levels:
            codes *= levels
        return ReconstructionMetrics(codes, spec.dataset.attributes, lambda: self.data.judge)


class _Generating(Phase[Any]):
    """A phase whose validation makes pictures.

    Args:
        data, predictions, spec: as of `Phase`.
        generator: makes the pictures.
        exports: the graphs of a model, which the generator runs.
    """

    goal = Goal("accuracy")
    data: CaptionData
    spec: GenerateTrainSpec

    def __init__(
        self,
        data: CaptionData,
        predictions: Predictions[Any],
        spec: GenerateTrainSpec,
        *,
        generator: Generator,
        exports: Exports,
    ) -> None:
        super().__init__(data, predictions, spec)
        self.generator = generator
        self.exports = exports

    def metrics(self) -> GenerationMetrics:
        return GenerationMetrics(self.data.spec.dataset.attributes, lambda: self.data.judge)

    def validate(self, model: Any, batch: Batch[Pictures]) -> tuple[dict[str, Tensor], Outputs]:
        losses = self.losses(model, batch)
        graphs = self.exports(model)

        def call(name: str, values: Outputs) -> Outputs:
            graph = graphs[name]
            outputs = graph.module(*(tensor.to(batch.device) for tensor in graph.to_inputs(values)))
            named = outputs if isinstance(outputs, tuple) else (outputs,)
            return {key: value.float().cpu().numpy() for key, value in zip(graph.outputs, named, strict=True)}

        given = {TEXT: batch.inputs[TEXT].cpu().numpy(), SEED: batch.inputs[SEED].cpu().numpy()}
        return losses, self.generator.run(call, given)


class TransformerPhase(_Generating):
    """The transformer learns to say a picture's codes after its caption."""

    name = "transformer"
    parts = ("transformer",)

    @override
    def check(self, model: DalleModel) -> None:
        """Refuses a dVAE that would spoil every picture."""
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
    def losses(self, model: DalleModel, batch: Batch[Pictures]) -> dict[str, Tensor]:
        with torch.no_grad():
            codes = model.dvae.encode(batch.targets.values).flatten(1)
        text = batch.inputs[TEXT]
        if model.transformer.training:
            text = dropped(text, self.spec.text_drop)
        return transformer_losses(model.transformer, text, codes, self.spec.text_weight)


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
            f"the dVAE misses what the transformer needs: {', '.join(missed)}. No picture would get better "
            "than what it makes of real ones, so train it longer (train.dvae.num_epochs), make it larger "
            "(model.dalle.dvae_width, dvae_blocks, levels), or lower train.gate"
        )


class BasePhase(_Generating):
    """GLIDE's network learns to take noise away.

    Args:
        diffusion: schedule and what the network says.
    """

    parts = ("base",)

    def __init__(self, *args: Any, diffusion: DiffusionSpec, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.diffusion = diffusion
        self.kept = torch.from_numpy(alphas_cumprod(diffusion.schedule, diffusion.steps)).float()

    @override
    def losses(self, model: GlideModel, batch: Batch[Pictures]) -> dict[str, Tensor]:
        text = batch.inputs[TEXT]
        if model.base.training:
            text = dropped(text, self.spec.text_drop)
        pixels = 2 * batch.targets.values - 1
        steps = self._steps(len(pixels), model.base.training).to(pixels.device)
        noise = self._noise(pixels, model.base.training)
        kept = self.kept.to(pixels.device)[steps].view(-1, 1, 1, 1)
        noisy = kept.sqrt() * pixels + (1 - kept).sqrt() * noise
        wanted = {
            "epsilon": lambda: noise,
            "v": lambda: kept.sqrt() * noise - (1 - kept).sqrt() * pixels,
            "x0": lambda: pixels,
        }[self.diffusion.prediction]()
        said = model.base(noisy, steps.float(), *model.base.text(text))
        return {"loss": functional.mse_loss(said, wanted)}

    def _steps(self, count: int, training: bool) -> Tensor:
        """A step for each sample, spread evenly over the process: one of each of ``count`` equal sections."""
        places = torch.randperm(count) + torch.rand(count) if training else torch.arange(count) + 0.5
        return (places / count * self.diffusion.steps).long()

    def _noise(self, pixels: Tensor, training: bool) -> Tensor:
        """Noise of the pixels' shape; in validation always the same."""
        if training:
            return torch.randn_like(pixels)
        generator = torch.Generator().manual_seed(0)
        return torch.randn(pixels.shape, generator=generator).to(pixels.device)
