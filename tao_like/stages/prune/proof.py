"""Taking elements away, and proving that it was done rightly."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tao_like.errors import ConversionError
from tao_like.stages.prune.selection import Choice
from tao_like.stages.prune.units import Unit

_TOLERANCE = 1e-3
"""Largest difference that is rounding, as a fraction of the largest output."""


def remove_proven(
    network: nn.Module, units: Sequence[Unit], choice: Choice, inputs: Sequence[Tensor]
) -> float:
    """Takes the chosen elements away, in place.

    The proof: a copy of the network whose chosen channels carry nothing but zero must give what the network
    gives that lacks them. It finds every channel that was taken from the wrong tensor.

    Returns:
        The largest difference of the proof.

    Raises:
        ConversionError: this network cannot be pruned; ``network`` is spoilt then.
    """
    chosen = [(unit, elements) for unit, elements in zip(units, choice, strict=True) if elements]
    silent = copy.deepcopy(network)
    for unit, elements in chosen:
        unit.silence(silent, elements)
    try:
        for unit, elements in chosen:
            unit.remove(elements)
        expected, actual = _outputs(silent, inputs), _outputs(network, inputs)
    except (RuntimeError, ValueError, AssertionError, IndexError, TypeError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ConversionError(
            "this architecture cannot be pruned: without the chosen channels it no longer runs "
            f"({reason[:120]}); exclude layers with prune.excluded_layers, or take another architecture"
        ) from error
    difference = _difference(expected, actual)
    if not difference <= _TOLERANCE:
        raise ConversionError(
            "this architecture cannot be pruned: without the chosen channels it gives other outputs than "
            f"with them silent (difference {difference:.2g}); exclude layers with prune.excluded_layers, or "
            "take another architecture"
        )
    return difference


@torch.no_grad()
def _outputs(network: nn.Module, inputs: Sequence[Tensor]) -> list[Tensor]:
    return tensors(network.eval()(*inputs))


def tensors(output: object) -> list[Tensor]:
    """The tensors in what a network gives: one, or several in lists, tuples and dictionaries."""
    if isinstance(output, Tensor):
        return [output]
    if isinstance(output, dict):
        output = list(output.values())
    return [tensor for part in output for tensor in tensors(part)] if isinstance(output, list | tuple) else []


def _difference(expected: Sequence[Tensor], actual: Sequence[Tensor]) -> float:
    if [tensor.shape for tensor in expected] != [tensor.shape for tensor in actual]:
        return float("inf")
    worst = 0.0
    for one, other in zip(expected, actual, strict=True):
        scale = float(one.abs().max().clamp(min=1e-6))
        worst = max(worst, float((one - other).abs().max()) / scale)
    return worst
