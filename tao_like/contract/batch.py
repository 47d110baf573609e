"""A batch as the network takes it in training."""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

TargetT = TypeVar("TargetT")


@dataclass
class Batch(Generic[TargetT]):
    """Preprocessed samples with their targets.

    Attributes:
        inputs: input name to tensor, the batch in front (a kind of input may number its samples instead).
        targets: in the task's own form.
        indices: (N,) int64, on the CPU: each sample's index in its dataset.
    """

    inputs: dict[str, Tensor]
    targets: TargetT
    indices: Tensor

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def input(self) -> Tensor:
        """The only input of a task that has one."""
        (only,) = self.inputs.values()
        return only

    @property
    def device(self) -> torch.device:
        """Where the inputs lie."""
        return next(iter(self.inputs.values())).device

    def to(self, device: torch.device) -> Batch[TargetT]:
        """This batch on another device."""
        # The indices stay: they are read as numbers, for which a GPU would have to finish its work first.
        return type(self)(_to_device(self.inputs, device), _to_device(self.targets, device), self.indices)

    def pin_memory(self) -> Batch[TargetT]:
        """This batch in page-locked memory, from where copies to a GPU are quick."""
        pinned = {name: tensor.pin_memory() for name, tensor in self.inputs.items()}
        return type(self)(pinned, self.targets, self.indices)


def _to_device(value: Any, device: torch.device) -> Any:
    if isinstance(value, Tensor):
        return value.to(device, non_blocking=True)
    if isinstance(value, list | tuple):
        return type(value)(_to_device(item, device) for item in value)
    if isinstance(value, dict):
        return {key: _to_device(item, device) for key, item in value.items()}
    if is_dataclass(value) and any(_holds_tensors(getattr(value, one.name)) for one in fields(value)):
        moved = {one.name: _to_device(getattr(value, one.name), device) for one in fields(value)}
        return replace(value, **moved)  # type: ignore[type-var]
    return value


def _holds_tensors(value: Any) -> bool:
    return isinstance(value, Tensor) or (
        isinstance(value, list | tuple) and any(isinstance(item, Tensor) for item in value)
    )
