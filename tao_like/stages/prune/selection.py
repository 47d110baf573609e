"""Which elements go: by a ratio, or by the fraction of multiply-accumulates that shall stay."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tao_like.errors import SpecError
from tao_like.stages.lib.cost import network_cost
from tao_like.stages.prune.units import Unit

Choice = list[list[int]]
"""For each unit the elements that go."""
_SEARCH_STEPS = 40


@dataclass(frozen=True)
class Rules:
    """What the spec says of the choice.

    Attributes:
        scope: ``global``: all elements are ranked together; ``local``: each unit loses the same share.
        max_ratio: no unit loses a larger fraction of the elements that it once had.
        initial: elements that each unit once had, by its name.
    """

    scope: str
    max_ratio: float
    initial: Mapping[str, int]


def choose(units: Sequence[Unit], scores: Sequence[Tensor], ratio: float, rules: Rules) -> Choice:
    """The elements that go so that ``ratio`` of all that there once were is gone, steps permitting."""
    once = [rules.initial.get(unit.name, unit.size) for unit in units]
    if rules.scope == "global":
        pooled = torch.cat(list(scores)) if scores else torch.zeros(0)
        gone = round(ratio * sum(once)) - (sum(once) - len(pooled))
        # By rank and not by a limit, which could not part elements of equal score.
        owners = torch.repeat_interleave(torch.tensor([unit.size for unit in units]))
        lowest = owners[pooled.argsort(stable=True)[: max(gone, 0)]]
        wanted = torch.bincount(lowest, minlength=len(units)).double().tolist()
    else:
        wanted = [ratio * before - (before - unit.size) for unit, before in zip(units, once, strict=True)]
    choice: Choice = []
    for unit, score, before, number in zip(units, scores, once, wanted, strict=True):
        fewest = max(1, int(before * (1 - rules.max_ratio)))
        kept = _in_steps(unit.size - number, unit, fewest)
        judged = int(score.isfinite().sum())
        choice.append(sorted(score.argsort(stable=True)[: min(unit.size - kept, judged)].tolist()))
    return choice


def _in_steps(kept: float, unit: Unit, fewest: int) -> int:
    """The nearest number of elements that is a multiple of the unit's step; all, or at least ``fewest``."""
    step = unit.step
    nearest = int(kept / step + 0.5) * step
    lowest = -(-fewest // step) * step
    nearest = max(nearest, lowest)
    return nearest if nearest < unit.size else unit.size


class MacsEstimate:
    """Multiply-accumulates of a network after a choice, without making it.

    A layer's products shrink with the fraction of its inputs and with that of its outputs.

    Args:
        network: whose cost is measured once.
        units: of this network.
        inputs: example inputs.
        products: multiply-accumulates that follow for each value that a convolution gives, outside of layers.
    """

    def __init__(
        self,
        network: nn.Module,
        units: Sequence[Unit],
        inputs: Sequence[Tensor],
        products: Mapping[nn.Module, int] | None = None,
    ) -> None:
        self.units = units
        self.total = network_cost(network, inputs).macs
        concerned = {share.layer for unit in units for share in unit.shares}
        self._layers = _layer_macs(network, concerned, inputs)
        self._products = products or {}

    def each(self) -> list[float]:
        """Multiply-accumulates that go with one element of each unit, as the fraction of the whole
        network."""
        whole: Choice = [[] for _ in self.units]
        spared = []
        for number in range(len(self.units)):
            one = [*whole[:number], [0], *whole[number + 1 :]]
            spared.append((self.total - self.of(one)) / self.total)
        return spared

    def of(self, choice: Choice) -> float:
        """Multiply-accumulates with these elements gone."""
        lost: dict[tuple[nn.Module, bool], int] = {}
        for unit, elements in zip(self.units, choice, strict=True):
            for share in unit.shares:
                key = (share.layer, share.output)
                lost[key] = lost.get(key, 0) + share.channels * len(elements)
        macs = float(self.total)
        for layer, (own, inputs, outputs) in self._layers.items():
            kept = 1 - lost.get((layer, True), 0) / outputs
            if layer in self._products:
                assert isinstance(layer, nn.modules.conv._ConvNd)
                values = own / layer.weight[0].numel()
                macs -= self._products[layer] * values * (1 - kept)
            if getattr(layer, "groups", 1) != inputs:  # else depthwise: in and out are one
                kept *= 1 - lost.get((layer, False), 0) / inputs
            macs -= own * (1 - kept)
        return macs


def _layer_macs(
    network: nn.Module, layers: set[nn.Module], inputs: Sequence[Tensor]
) -> dict[nn.Module, tuple[float, int, int]]:
    """For each layer its multiply-accumulates, inputs and outputs; for attention its products and heads."""
    found: dict[nn.Module, tuple[float, int, int]] = {}

    def note(layer: nn.Module, arguments: tuple[Tensor, ...], output: Tensor) -> None:
        own, before, after = _macs_of(layer, arguments[0], output)
        found[layer] = (own + found.get(layer, (0.0, 0, 0))[0], before, after)

    hooks = [layer.register_forward_hook(note) for layer in layers]
    try:
        with torch.no_grad():
            network.eval()(*inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def _macs_of(layer: nn.Module, given: Tensor, output: Tensor) -> tuple[float, int, int]:
    if isinstance(layer, nn.modules.conv._ConvNd):
        weights = layer.weight[0].numel() * layer.weight.shape[0]
        positions = (given if layer.transposed else output)[:, 0].numel()
        return float(weights * positions), layer.in_channels, layer.out_channels
    if isinstance(layer, nn.Linear):
        positions = output.numel() // layer.out_features
        return float(layer.weight.numel() * positions), layer.in_features, layer.out_features
    heads, joined = int(vars(layer)["num_heads"]), layer.get_submodule("proj")
    assert isinstance(joined, nn.Linear)
    tokens, width = given.shape[-2], joined.in_features
    return float(2 * given.shape[0] * tokens**2 * width), heads, heads


def find_ratio(
    target: float, whole: float, estimate: MacsEstimate, choose_at: Callable[[float], Choice]
) -> Choice:
    """The choice whose multiply-accumulates come nearest to a fraction of the unpruned network's.

    Args:
        target: share that shall stay, between 0 and 1.
        whole: multiply-accumulates of the unpruned network.
        estimate: of the network as it is now.
        choose_at: gives the choice for a ratio.

    Raises:
        SpecError: the target cannot be reached.
    """
    low, high = 0.0, 1.0
    least = estimate.of(choose_at(high)) / whole
    if least > target * 1.02:
        raise SpecError(
            f"prune.target_macs={target:g} cannot be reached: at most so much can be taken away that "
            f"{least:.3f} of the multiply-accumulates stay; raise prune.max_ratio, lower prune.granularity, "
            "or exclude fewer layers"
        )
    best, distance = choose_at(high), abs(least - target)
    for _ in range(_SEARCH_STEPS):
        middle = (low + high) / 2
        choice = choose_at(middle)
        share = estimate.of(choice) / whole
        if abs(share - target) < distance:
            best, distance = choice, abs(share - target)
        low, high = (middle, high) if share > target else (low, middle)
    return best
