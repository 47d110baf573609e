"""One training step of an imported network, as a task would take it: what cannot train is refused at once."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor, nn

from tao_like.bundle import Bundle
from tao_like.byom.cuts import DENSE, POOLED
from tao_like.byom.source.shapes import IMAGE_AXES, size_axes
from tao_like.errors import ConversionError, TaoLikeError
from tao_like.networks.imported.backbone import build_imported
from tao_like.networks.imported.dense import build_imported_dense
from tao_like.networks.imported.pyramid import build_imported_pyramid

_SAMPLES, _CLASSES = 2, 2


def try_training(bundle: Bundle, task: str, needed: Collection[str], shape: tuple[int, ...]) -> None:
    """Builds a task's network on an imported one, and takes one step.

    Args:
        bundle: of the imported network.
        task: for messages.
        needed: what the task stands on: pooled features, dense features, or features at strides.
        shape: of the network's input, without the batch, at which it was compared.

    Raises:
        ConversionError: the task cannot be trained on it.
    """
    assert bundle.graph is not None
    if len(shape) != IMAGE_AXES - 1:
        raise ConversionError(
            f"{task} takes images; the network's input has {len(shape)} axes behind the batch"
        )
    rows, columns = (axis - 1 for axis in size_axes((None, *shape)))
    size = shape[rows], shape[columns]
    try:
        if POOLED in needed:
            if size[0] != size[1]:
                raise ConversionError(
                    f"{task} takes square images; the network was compared at {size[0]} x {size[1]}"
                )
            module: nn.Module = build_imported(
                bundle.graph, bundle.extra, bundle.weights, num_classes=_CLASSES, img_size=size[0]
            )
        elif DENSE in needed:
            module = build_imported_dense(
                bundle.graph, bundle.extra, bundle.weights, num_classes=_CLASSES, size=size
            )
        else:
            module = build_imported_pyramid(bundle.graph, bundle.extra, bundle.weights, size)
    except TaoLikeError as error:
        raise ConversionError(f"{task} cannot be trained on this network: {error}") from error
    _take_step(module.train(), torch.rand(_SAMPLES, 3, *size), task)


def _take_step(module: nn.Module, images: Tensor, task: str) -> None:
    try:
        outputs = module(images)
        maps: list[Tensor] = outputs if isinstance(outputs, list) else [outputs]
        torch.stack([one.float().square().mean() for one in maps]).sum().backward()
    except Exception as error:  # a foreign graph may fail anywhere in torch
        text = f"{type(error).__name__}: {error}".splitlines()[0]
        raise ConversionError(
            f"{task} cannot be trained on this network: a step on {_SAMPLES} images fails with {text}"
        ) from error
    if not any(one.grad is not None for one in module.parameters()):
        raise ConversionError(f"{task} cannot be trained on this network: nothing in it trains")
