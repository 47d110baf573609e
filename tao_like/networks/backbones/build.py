"""Building timm's classification networks, with the errors in the words of the spec."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from tao_like.errors import SpecError
from tao_like.networks import _torchvision  # noqa: F401
from tao_like.networks.backbones.image_size import size_argument, weights_facts
from tao_like.networks.backbones.names import resolve_name
from tao_like.networks.backbones.table import Normalization

# isort: split
import timm
from timm.models import PretrainedCfg

__all__ = ["Normalization", "create_backbone", "default_normalization", "head_prefixes", "normalization_of"]

_DROP_KEYS = {"drop_rate": "model.backbone.drop_rate", "drop_path_rate": "model.backbone.drop_path_rate"}


def create_backbone(
    type: str,
    *,
    num_classes: int,
    img_size: int | tuple[int, int],
    channels: int = 3,
    drop_rate: float = 0.0,
    drop_path_rate: float = 0.0,
) -> nn.Module:
    """Build one of timm's classification networks with random weights.

    Args:
        type: A name of timm or TAO, see :func:`resolve_name`.
        num_classes: Width of the output; 0 leaves the classifier out, so that pooled features come out.
        img_size: Side of the square input in pixels, or height and width.
        channels: Channels of the input.
        drop_rate: Fraction of the classifier's input that training drops, 0..1.
        drop_path_rate: Fraction of residual branches that training drops in the deepest block, 0..1.

    Returns:
        A module from images (N, channels, height, width) to logits (N, num_classes).

    Raises:
        SpecError: The network is unknown, cannot take this image size, gives no class scores,
            or has no such dropout.
    """
    name = resolve_name(type)
    size = (img_size, img_size) if isinstance(img_size, int) else img_size
    # A rate of 0 is every network's default; left out, it cannot hurt those without this kind of dropout.
    rates = {"drop_rate": drop_rate, "drop_path_rate": drop_path_rate}
    arguments: dict[str, Any] = {key: rate for key, rate in rates.items() if rate > 0}
    arguments |= size_argument(name, size, channels=channels)
    try:
        return timm.create_model(name, num_classes=num_classes, in_chans=channels, **arguments)
    except TypeError as error:
        for argument, key in _DROP_KEYS.items():
            if argument in arguments and f"'{argument}'" in str(error):
                raise SpecError(
                    f"{key}: {arguments[argument]} was given, but {name} has no such dropout; set it to 0."
                ) from error
        raise


def head_prefixes(model: nn.Module) -> tuple[str, ...]:
    """Return the names of a network's classifier layers as they begin in its state dict.

    Most networks have one ("fc", "head.fc"); those trained by distillation have two; a network without a
    classifier has none.
    """
    # Type checkers take an attribute that nn.Module does not declare for a tensor.
    get_classifier: Callable[[], Any] = model.get_classifier  # type: ignore[assignment]
    heads = get_classifier()
    heads = tuple(heads) if isinstance(heads, (tuple, list, nn.ModuleList)) else (heads,)
    wanted = {id(head) for head in heads if not isinstance(head, nn.Identity)}
    return tuple(name for name, module in model.named_modules() if id(module) in wanted)


def normalization_of(facts: PretrainedCfg) -> Normalization:
    """Return the part of timm's facts on a set of weights that says how their images were preprocessed."""
    return Normalization(
        mean=tuple(facts.mean),
        std=tuple(facts.std),
        interpolation=facts.interpolation,
        crop_pct=facts.crop_pct,
        input_size=facts.input_size,
    )


def default_normalization(type: str) -> Normalization:
    """Return the preprocessing of the weights that timm has for an architecture; ImageNet's where it has
    none.

    Args:
        type: A name of timm or TAO. With a tag ("resnet50.a1_in1k") it is that of those weights.

    Raises:
        SpecError: The network or the tag is unknown.
    """
    return normalization_of(weights_facts(resolve_name(type)))
