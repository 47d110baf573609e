"""Weights as safetensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from tao_like.errors import BundleError

if TYPE_CHECKING:
    from torch import Tensor


def save_weights(weights: Mapping[str, Tensor]) -> bytes:
    """The weights as they look, wherever they are. Raises BundleError."""
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import save

    contiguous = {}
    for name, value in weights.items():
        if not isinstance(value, torch.Tensor) or value.layout != torch.strided or value.is_meta:
            raise BundleError(f"weights[{name!r}] is not a dense tensor with values.")
        # A copy, for safetensors refuses tensors that fraction memory.
        contiguous[name] = value.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
    try:
        return save(contiguous)
    except (SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise BundleError(f"the weights cannot be stored: {error}.") from error


def load_weights(content: bytes, member: str) -> dict[str, Tensor]:
    """Contiguous tensors on the CPU. Raises a BundleError that names ``member``."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        return load(content)
    except (SafetensorError, KeyError, ValueError, RuntimeError, TypeError) as error:
        raise BundleError(f"{member} is damaged: {error}.") from error
