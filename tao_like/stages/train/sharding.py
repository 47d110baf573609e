"""Training in which no process holds the whole network, but a part of every weight (`train.strategy=fsdp`).

The method is ZeRO's third stage (Rajbhandari et al. 2020, "ZeRO: Memory Optimizations Toward Training
Trillion Parameter Models"), as PyTorch's `fully_shard` has it (FSDP2).
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from lightning_utilities.core.apply_func import apply_to_collection
from pytorch_lightning.strategies import ModelParallelStrategy, ParallelStrategy
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from typing_extensions import override

from tao_like.errors import SpecError

MESH = "data_parallel"
"""Lightning's name for the axis of the processes that share the samples of a step."""


class ShardedStrategy(ModelParallelStrategy):
    """Lightning's strategy for `fully_shard`, with the checkpoints of a training that is not sharded.

    They hold whole tensors under the same names and numbers, and are written and read by the trainer's own
    `CheckpointIO`, which Lightning's strategy goes past.

    Args:
        processes: of all machines.
    """

    def __init__(self, processes: int) -> None:
        super().__init__(data_parallel_size=processes, tensor_parallel_size=1)

    @property
    @override
    def lightning_restore_optimizer(self) -> bool:
        return True

    @override
    def lightning_module_state_dict(self) -> dict[str, Any]:
        assert self.lightning_module is not None
        return _whole(self.lightning_module.state_dict())

    @override
    def load_model_state_dict(self, checkpoint: Mapping[str, Any], strict: bool = True) -> None:
        assert self.lightning_module is not None
        own = self.lightning_module.state_dict()
        parts = {name: _part(tensor, own[name]) for name, tensor in checkpoint["state_dict"].items()}
        self.lightning_module.load_state_dict(parts, strict=strict)

    @override
    def optimizer_state(self, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
        return _whole(ParallelStrategy.optimizer_state(self, optimizer))

    @override
    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        for optimiser, stored in zip(self.optimizers, checkpoint["optimizer_states"], strict=True):
            parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
            parts = {
                number: {name: _part(value, parameters[number]) for name, value in values.items()}
                for number, values in stored["state"].items()
            }
            optimiser.load_state_dict({**stored, "state": parts})

    @override
    def save_checkpoint(
        self, checkpoint: dict[str, Any], filepath: str | Path, storage_options: Any | None = None
    ) -> None:
        ParallelStrategy.save_checkpoint(self, checkpoint, filepath, storage_options)

    @override
    def load_checkpoint(
        self, checkpoint_path: str | Path, weights_only: bool | None = None
    ) -> dict[str, Any]:
        return ParallelStrategy.load_checkpoint(self, checkpoint_path, weights_only)


class ShardedNetwork:
    """A network that is divided over the processes, and a whole copy of it to gather the weights in.

    All processes must make it, and call its methods, at the same time.

    Args:
        network: divided in place. All processes begin with the weights and buffers of the first.
        mesh: the processes, in one line.

    Raises:
        SpecError: a weight is a single number without an axis, which cannot be divided.
    """

    def __init__(self, network: nn.Module, mesh: DeviceMesh) -> None:
        for name, parameter in network.named_parameters():
            if not parameter.ndim:
                raise SpecError(
                    f"train.strategy: fsdp cannot divide {name}, a weight without an axis; take ddp"
                )
        self.network = network
        self._device_type = mesh.device_type
        self._take_from_first(network.state_dict().values())
        self.whole = copy.deepcopy(network)
        # Parts are cut along the first axis of tensors that lie in memory as their axes do.
        network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        for block in (*_blocks(network), network):
            block.register_forward_hook(_as_own_memory)
            fully_shard(block, mesh=mesh)

    def share_buffers(self) -> None:
        """Has all processes take the buffers of the first, such as the means of batch norm.

        With ddp they do so before every step. A training step uses no such mean, so it is enough to do so
        before they are used or kept.
        """
        self._take_from_first(self.network.buffers())

    def gather(self) -> nn.Module:
        """The whole copy, with the weights and buffers as they are now."""
        self.share_buffers()
        self.whole.load_state_dict(_whole(self.network.state_dict()))
        return self.whole

    def _take_from_first(self, tensors: Iterable[Tensor]) -> None:
        for tensor in tensors:
            # What lies on another device, or otherwise in memory, cannot be sent.
            packed = tensor.to(self._device_type).contiguous()
            torch.distributed.broadcast(packed, src=0)
            tensor.copy_(packed)


def whole(tensor: Tensor) -> Tensor:
    """A tensor that may be divided over the processes, whole; all of them must ask for it."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def _blocks(network: nn.Module) -> list[nn.Module]:
    """The modules that are gathered one at a time, inner ones first: what sequences and lists are made of.

    Single layers are left to the block around them: to gather each by itself would take longer.
    """
    members = {
        member
        for module in network.modules()
        if isinstance(module, nn.Sequential | nn.ModuleList | nn.ModuleDict)
        for member in module.children()
    }
    return [
        module
        for module in reversed(list(network.modules()))
        # Gathering hangs on a call of the block: a mere container is never called.
        if module in members and list(module.children()) and type(module).forward is not nn.Module.forward
    ]


def _as_own_memory(block: nn.Module, inputs: Any, outputs: Any) -> Any:
    """A block's outputs, copied where they are views: written to, these lose the sign to gather the block."""
    del block, inputs
    return apply_to_collection(outputs, Tensor, lambda each: each.clone() if each._is_view() else each)


def _whole(state: dict[str, Any]) -> dict[str, Any]:
    """A state with whole tensors, on the CPU: all of them together may be more than one device holds."""
    gathered: dict[str, Any] = apply_to_collection(state, DTensor, lambda part: part.full_tensor().cpu())
    return gathered


def _part(value: Any, like: Tensor) -> Any:
    """This process's part of a whole tensor, divided as a weight of its shape is; others as they are."""
    if not (isinstance(like, DTensor) and isinstance(value, Tensor) and value.shape == like.shape):
        return value
    return distribute_tensor(value.to(like.device), like.device_mesh, like.placements)
