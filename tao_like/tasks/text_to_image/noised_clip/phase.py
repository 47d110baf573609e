"""What a noised CLIP learns by."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from typing_extensions import override

from tao_like.contract.batch import Batch
from tao_like.runtime.generation.base import TEXT
from tao_like.tasks.text_to_image.data.data import CaptionData, Images
from tao_like.tasks.text_to_image.forward import Forward
from tao_like.tasks.text_to_image.spec import DiffusionSpec
from tao_like.tasks.text_to_image.spec_blocks.stages import GenerateTrainSpec
from tao_like.tasks.text_to_image.unclip.metrics import Embedded
from tao_like.tasks.text_to_image.unclip.phases import ClipPhase, small


class NoisedClipPhase(ClipPhase):
    """Noisy images and captions meet in one space; validation sees noise of every strength, always the same.

    Args:
        data, spec: as of `Phase`.
        diffusion: the noise of the process that is to be guided.
    """

    name = "noised_clip"
    parts = ("noised_clip",)

    def __init__(self, data: CaptionData, spec: GenerateTrainSpec, diffusion: DiffusionSpec) -> None:
        super().__init__(data, Embedded(), spec)
        self.process = Forward(diffusion)

    @override
    def found(self, model: Any, batch: Batch[Images]) -> tuple[Tensor, Tensor, Tensor]:
        training = model.noised_clip.training
        noisy, steps, _ = self.process.noisy(2 * small(self.data, batch) - 1, training=training)
        found: tuple[Tensor, Tensor, Tensor] = model(self.name, noisy, steps.float(), batch.inputs[TEXT])
        return found
