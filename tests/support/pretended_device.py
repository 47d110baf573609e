"""A device that is none: tensors say that they lie there, and the CPU computes. It finds what fails on GPUs.

As on a GPU, tensors of both places cannot meet in an operation; single numbers, copies and indices may.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

DEVICE = torch.device("meta")
"""Torch computes nothing there itself, and lets gradients pass."""

MOVING = {
    torch.ops.aten._to_copy.default,
    torch.ops.aten.copy_.default,
    torch.ops.aten.index.Tensor,
    torch.ops.aten.index_put.default,
    torch.ops.aten.index_put_.default,
}


class There(Tensor):
    """A tensor that says it lies on the device; ``values`` has its numbers, on the CPU."""

    values: Tensor

    @staticmethod
    def __new__(cls, values: Tensor) -> There:
        made: There = Tensor._make_wrapper_subclass(
            cls,
            values.size(),
            strides=values.stride(),
            storage_offset=values.storage_offset(),
            dtype=values.dtype,
            device=DEVICE,
        )
        made.values = values
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise AssertionError(f"{func} outside of pretended_device()")


class _Operations(TorchDispatchMode):
    """Computes on the CPU, refuses tensors of both places, and says of the results where they lie."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        results_there = any(isinstance(tensor, There) for tensor in given)
        if results_there and func not in MOVING:
            here = [tuple(each.shape) for each in given if not isinstance(each, There) and each.dim() > 0]
            assert not here, f"{func}: of its tensors those of the shapes {here} are left on the CPU"
        if kwargs.get("device") is not None:
            results_there = torch.device(kwargs["device"]) == DEVICE
            kwargs["device"] = "cpu"
        known = {id(_values(tensor)): tensor for tensor in given}

        def placed(result: Any) -> Any:
            if not isinstance(result, Tensor):
                return result
            # What is changed in place stays the tensor that it was.
            return known.get(id(result), There(result) if results_there else result)

        return tree_map(placed, func(*tree_map(_values, args), **tree_map(_values, kwargs)))


def _values(tensor: Any) -> Any:
    return tensor.values if isinstance(tensor, There) else tensor


# What goes between numbers of Python and a device without an operation that the mode could see.


def _tensor(numbers: Any, *, device: Any = None, **options: Any) -> Tensor:
    made = _ON_CPU(numbers, **options)
    return made if device is None else made.to(device)


def _new_tensor(tensor: Tensor, numbers: Any, *, device: Any = None, **options: Any) -> Tensor:
    return _tensor(numbers, device=device or tensor.device, **{"dtype": tensor.dtype, **options})


def _tolist(tensor: Tensor) -> Any:
    return _TO_NUMBERS(tensor.cpu())


_ON_CPU, _TO_NUMBERS = torch.tensor, Tensor.tolist


@contextmanager
def pretended_device() -> Iterator[None]:
    """Within it, `DEVICE` is like a GPU. Not for inference mode, where a mode sees other operations."""
    with (
        patch.object(torch, "tensor", _tensor),
        patch.object(torch, "as_tensor", _tensor),
        patch.object(Tensor, "new_tensor", _new_tensor),
        patch.object(Tensor, "tolist", _tolist),
        _Operations(),
    ):
        yield


def send(module: nn.Module) -> nn.Module:
    """The module, with all its parameters and buffers on the device."""
    with pretended_device():
        for part in module.modules():
            for name, parameter in part._parameters.items():
                if parameter is not None:
                    moved = There(parameter.detach())
                    part._parameters[name] = nn.Parameter(moved, parameter.requires_grad)
            for name, buffer in part._buffers.items():
                if buffer is not None:
                    part._buffers[name] = There(buffer)
    return module
