"""The noise that diffusion models learn from, and what they lose by it."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from tao_like.runtime.choices import LEARNED_RANGE
from tao_like.runtime.generation.schedules import alphas_cumprod, step_back
from tao_like.tasks.text_to_image.spec import DiffusionSpec

BOUND_WEIGHT = 0.001
"""Of the variational bound beside the simple loss (Nichol and Dhariwal 2021, equation 16)."""
PIXEL = 2 / 255
"""Width of one of 256 values between -1 and 1."""
LEAST_LIKELIHOOD = 1e-12


class Forward:
    """Makes samples noisy, as a diffusion model learns from them.

    Args:
        diffusion: schedule, steps and what the network says.
    """

    def __init__(self, diffusion: DiffusionSpec) -> None:
        self.diffusion = diffusion
        kept = alphas_cumprod(diffusion.schedule, diffusion.steps)
        self.kept = torch.from_numpy(kept).float()
        of_image, of_noisy, small, large = step_back(kept, np.concatenate([[1.0], kept[:-1]]))
        # Of the first step it is zero, whose logarithm has no value: that of the second, as in Ho et al.
        small[0] = small[1]
        self._weights = torch.from_numpy(np.stack([of_image, of_noisy])).float()
        """What image and noisy image weigh in the mean of each step back, (2, T)."""
        self._logarithms = torch.from_numpy(np.log(np.stack([small, large]))).float()
        """Of the smallest and the largest variance of each step back, (2, T)."""

    def noisy(self, clean: Tensor, *, training: bool) -> tuple[Tensor, Tensor, Tensor]:
        """Samples at steps of the process.

        Args:
            clean: (N, ...).
            training: steps and noise are drawn; else they are always the same.

        Returns:
            Noisy samples, as ``clean``; the step of each (N,); what the network should say of them.
        """
        steps = self._steps(len(clean), training).to(clean.device)
        noise = self._noise(clean, training)
        kept = self.kept.to(clean.device)[steps].view(-1, *[1] * (clean.ndim - 1))
        noisy = kept.sqrt() * clean + (1 - kept).sqrt() * noise
        wanted = {
            "epsilon": lambda: noise,
            "v": lambda: kept.sqrt() * noise - (1 - kept).sqrt() * clean,
            "x0": lambda: clean,
        }[self.diffusion.prediction]()
        return noisy, steps, wanted

    def _steps(self, count: int, training: bool) -> Tensor:
        """A step for each sample, spread evenly over the process: one of each of ``count`` equal sections."""
        positions = torch.randperm(count) + torch.rand(count) if training else torch.arange(count) + 0.5
        return (positions / count * self.diffusion.steps).long()

    def _noise(self, clean: Tensor, training: bool) -> Tensor:
        if training:
            return torch.randn_like(clean)
        generator = torch.Generator().manual_seed(0)
        return torch.randn(clean.shape, generator=generator).to(clean.device)

    def losses(
        self, said: Tensor, wanted: Tensor, noisy: Tensor, steps: Tensor, clean: Tensor
    ) -> dict[str, Tensor]:
        """The squared error, and where the variance is learnt the bound that it is learnt by.

        Args:
            said: (N, 3 or 6, H, W): what the network says of ``noisy``; of six channels the last three tell
                where between its smallest (-1) and its largest value (1) the variance's logarithm lies.
            wanted, noisy, clean: (N, 3, H, W); steps: (N,).
        """
        if self.diffusion.variance != LEARNED_RANGE:
            return {"loss": functional.mse_loss(said, wanted)}
        word, position = said.float().chunk(2, dim=1)
        # The bound teaches the variance alone: its gradients are too noisy for the mean.
        bound = self.bound(word.detach(), position, noisy, steps, clean).mean()
        weight = BOUND_WEIGHT * self.diffusion.steps
        return {"image": functional.mse_loss(word, wanted), "variance": weight * bound}

    def bound(self, word: Tensor, position: Tensor, noisy: Tensor, steps: Tensor, clean: Tensor) -> Tensor:
        """Each sample's term of the variational bound, in bits a value (Ho et al. 2020, equation 5), (N,).

        The divergence of the network's step back from the one that knows the image; of the first step how
        unlikely the image's own pixel values are.
        """
        kept, image_weight, noisy_weight = (
            table.to(clean.device)[steps].view(-1, 1, 1, 1) for table in (self.kept, *self._weights)
        )
        low, high = (one[steps].view(-1, 1, 1, 1) for one in self._logarithms.to(clean.device))
        logarithm = (position + 1) / 2 * (high - low) + low
        signal, spread = kept.sqrt(), (1 - kept).sqrt()
        image = {
            "epsilon": lambda: (noisy - spread * word) / signal,
            "v": lambda: signal * noisy - spread * word,
            "x0": lambda: word,
        }[self.diffusion.prediction]()
        difference = image_weight * (clean - image)
        divergence = 0.5 * (
            logarithm - low - 1 + (low - logarithm).exp() + difference.square() * (-logarithm).exp()
        )
        mean = image_weight * image + noisy_weight * noisy
        unlikely = -_pixel_likelihood(clean, mean, (0.5 * logarithm).exp()).log()
        first = (steps == 0).view(-1, 1, 1, 1)
        return torch.where(first, unlikely, divergence).flatten(1).mean(dim=1) / math.log(2)


def _pixel_likelihood(pixels: Tensor, mean: Tensor, deviation: Tensor) -> Tensor:
    """How likely a normal distribution makes each of 256 pixel values; the ends take what lies beyond."""
    above = torch.special.ndtr((pixels + PIXEL / 2 - mean) / deviation)
    below = torch.special.ndtr((pixels - PIXEL / 2 - mean) / deviation)
    above = torch.where(pixels > 1 - PIXEL / 2, torch.ones_like(above), above)
    below = torch.where(pixels < -1 + PIXEL / 2, torch.zeros_like(below), below)
    return (above - below).clamp(min=LEAST_LIKELIHOOD)
