"""Noise schedules of diffusion, and which of their steps a sampler takes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

LARGEST_BETA = 0.999
FAST27 = "fast27"
"""GLIDE's 27 steps for its upsampler."""

Floats = npt.NDArray[np.float64]


def betas(schedule: str, steps: int) -> Floats:
    """The variance that each step adds, (steps,).

    Args:
        schedule: ``squaredcos_cap_v2``: the cosine of Nichol and Dhariwal 2021, equation 17; ``linear``: of
            Ho et al. 2020, 1e-4 to 2e-2 at 1,000 steps and in proportion at others.
        steps: of the whole process.
    """
    if schedule == "linear":
        scale = 1000 / steps
        return np.linspace(scale * 1e-4, scale * 2e-2, steps).astype(np.float64)

    def kept(fraction: float) -> float:
        return math.cos((fraction + 0.008) / 1.008 * math.pi / 2) ** 2

    return np.array([min(1 - kept((i + 1) / steps) / kept(i / steps), LARGEST_BETA) for i in range(steps)])


def alphas_cumprod(schedule: str, steps: int) -> Floats:
    """The fraction of an image's variance that is left after each step, (steps,)."""
    return np.asarray(np.cumprod(1.0 - betas(schedule, steps)), np.float64)


def step_back(kept: Any, before: Any) -> tuple[Any, Any, Any, Any]:
    """One step back, between two numbers or arrays of what is left (Ho et al. 2020, equations 6 and 7).

    Args:
        kept: the fraction of variance that is left; before: that after the step.

    Returns:
        What the image and the noisy image weigh in the mean, and the step's smallest and largest variance.
    """
    beta = 1 - kept / before
    image = np.sqrt(before) * beta / (1 - kept)
    noisy = np.sqrt(kept / before) * (1 - before) / (1 - kept)
    return image, noisy, beta * (1 - before) / (1 - kept), beta


def spaced(steps: int, sections: str | int | Sequence[int]) -> list[int]:
    """Which steps of a process a sampler takes, rising.

    As `space_timesteps` of the code of GLIDE: the process is cut into equal sections, and from each as many
    steps are taken as it says, its first and last among them.

    Args:
        steps: of the whole process.
        sections: steps of each section; a number: of the only one; ``fast27``: 10, 10, 3, 2, 2, of which
            the last is moved from 999 to 997 where there are 1,000.
    """
    if sections == FAST27:
        found = spaced(steps, [10, 10, 3, 2, 2])
        return [997 if step == 999 else step for step in found] if steps == 1000 else found
    counts = [sections] if isinstance(sections, int) else [int(one) for one in sections]
    size, more = divmod(steps, len(counts))
    taken: list[int] = []
    start = 0
    for number, count in enumerate(counts):
        length = size + (1 if number < more else 0)
        if count > length:
            raise ValueError(f"a section of {length} steps cannot give {count}")
        stride = 1.0 if count <= 1 else (length - 1) / (count - 1)
        taken += [start + round(stride * index) for index in range(count)]
        start += length
    return sorted(set(taken))
