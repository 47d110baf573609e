"""Draws from torch's global generator, which a loader seeds from seed, epoch and sample."""

from __future__ import annotations

import torch


def uniform(low: float, high: float) -> float:
    """A number between two others."""
    return low + (high - low) * float(torch.rand(()))


def happens(probability: float) -> bool:
    """Whether something of this probability happens; draws in any case."""
    return float(torch.rand(())) < probability
