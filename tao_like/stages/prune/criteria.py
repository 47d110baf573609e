"""How much a channel or a head matters."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from tao_like.errors import SpecError
from tao_like.stages.prune.units import ChannelGroup, HeadUnit, Unit

Scores = list[Tensor]
"""For each unit a value for each of its elements, 0 or more; the smallest go first."""

NORMS = {"magnitude_l1": 1, "L1": 1, "magnitude_l2": 2, "L2": 2}


def magnitude(units: Sequence[Unit], norm: int) -> Scores:
    """The norm of all weights that go with an element (Li et al. 2017; over groups: Fang et al. 2023).

    Args:
        units: what may be taken away.
        norm: 1 or 2.
    """

    def total(weight: Tensor) -> Tensor:
        return weight.abs().pow(norm).sum(dim=1)

    return [_summed(unit, total, inputs_only=False).pow(1 / norm) for unit in units]


def batch_norm_scale(units: Sequence[Unit]) -> Scores:
    """The mean absolute scale of the batch norms that an element passes (Liu et al. 2017).

    Raises:
        SpecError: no unit has a batch norm with a scale.
    """
    scores = []
    for unit in units:
        sums, passes = torch.zeros(unit.size), torch.zeros(unit.size)
        for item in unit.items if isinstance(unit, ChannelGroup) else ():
            if isinstance(item.layer, nn.modules.batchnorm._BatchNorm) and item.layer.affine:
                elements = item.roots % unit.size
                sums.index_add_(0, elements, item.layer.weight.detach().abs()[item.channels].cpu())
                passes.index_add_(0, elements, torch.ones(len(elements)))
        # Elements without a batch norm cannot be judged; an endless score keeps them.
        scores.append(torch.where(passes > 0, sums / passes.clamp(min=1), torch.inf))
    if not any(score.isfinite().any() for score in scores):
        raise SpecError(
            "prune.criterion: bn_scale needs batch norms, and what can be pruned of this network has none; "
            "take magnitude_l2 or taylor"
        )
    return scores


def taylor(units: Sequence[Unit], losses: Iterable[Tensor]) -> Scores:
    """How much the loss would change, to first order, without an element (Molchanov et al. 2019, eq. 8).

    An element's weights towards the layers behind it, times their gradients, sum up to its values times the
    loss's gradient by them. That sum is squared, and averaged over the batches.

    Args:
        units: what may be taken away.
        losses: the loss of each batch, not yet differentiated.
    """
    parameters = {
        id(parameter): parameter for unit in units for parameter in _weights(unit, inputs_only=True)
    }
    sums, count = [torch.zeros(unit.size) for unit in units], 0
    for loss in losses:
        gradients = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
        known = dict(zip(parameters, gradients, strict=True))
        for unit, total in zip(units, sums, strict=True):

            def product(weight: Tensor, known: Mapping[int, Tensor | None] = known) -> Tensor:
                gradient = known[id(weight)]
                return torch.zeros_like(weight) if gradient is None else weight * gradient

            total += _summed(unit, lambda w: w.sum(dim=1), inputs_only=True, first=product).square()
        count += 1
    return [total / max(count, 1) for total in sums]


def relative(scores: Scores) -> Scores:
    """Scores relative to the mean of their unit: layers differ in the size of their weights.

    For scores that say nothing of the loss. Endless ones, of elements that cannot be judged, stay so.
    """
    result = []
    for score in scores:
        judged = score[score.isfinite()]
        result.append(score / judged.mean().clamp(min=1e-30) if len(judged) else score)
    return result


def random_scores(units: Sequence[Unit], seed: int) -> Scores:
    """Scores by chance: what a criterion must beat."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.rand(unit.size, generator=generator) for unit in units]


def _same(weight: Tensor) -> Tensor:
    return weight


def _summed(
    unit: Unit,
    reduce: Callable[[Tensor], Tensor],
    *,
    inputs_only: bool,
    first: Callable[[Tensor], Tensor] = _same,
) -> Tensor:
    """What ``reduce`` makes of each channel's weights (channels, others), summed up by element.

    Args:
        unit: whose layers are taken.
        reduce: maps (channels, others) to (channels,).
        inputs_only: only the weights of the layers that read the elements, not of those that make them.
        first: maps a whole weight, before it is laid out by channel.
    """
    sums = torch.zeros(unit.size)
    if isinstance(unit, HeadUnit):
        heads = unit.heads
        sums += heads.by_head(reduce(first(heads.proj.weight).detach().t())).sum(dim=1).cpu()
        if not inputs_only:
            rows = reduce(first(heads.qkv.weight).detach())
            sums += rows.view(3, heads.count, heads.size).sum(dim=(0, 2)).cpu()
    elif isinstance(unit, ChannelGroup):
        for item in unit.items:
            if inputs_only and item.output:
                continue
            if not isinstance(item.layer, nn.modules.conv._ConvNd | nn.Linear):
                continue
            by_channel = _by_channel(item.layer, item.output, first(item.layer.weight).detach())
            values = reduce(by_channel)[item.channels].float().cpu()
            sums.index_add_(0, item.roots % unit.size, values)
    return sums


def _by_channel(layer: nn.Module, output: bool, weight: Tensor) -> Tensor:
    """A weight as (channels, others), by its layer's output or input channels."""
    groups = layer.groups if isinstance(layer, nn.modules.conv._ConvNd) else 1
    if getattr(layer, "transposed", False):
        output = not output
    if output:
        return weight.flatten(1)
    # (out, in / groups, ...): each group's outputs read that group's inputs.
    by_group: Tensor = weight.unflatten(0, (groups, -1)).transpose(1, 2)
    return by_group.flatten(2).flatten(0, 1)


def _weights(unit: Unit, *, inputs_only: bool) -> list[Tensor]:
    """The weights that `_summed` looks at."""
    if isinstance(unit, HeadUnit):
        return [unit.heads.proj.weight] + ([] if inputs_only else [unit.heads.qkv.weight])
    assert isinstance(unit, ChannelGroup)
    return [
        item.layer.weight
        for item in unit.items
        if isinstance(item.layer, nn.modules.conv._ConvNd | nn.Linear) and not (inputs_only and item.output)
    ]
