"""Training in which no process holds the whole network, but a part of every weight (`train.strategy=fsdp`).

The method is ZeRO's third stage (Rajbhandari et al. 2020, "ZeRO: Memory Optimizations Toward Training
Trillion Parameter Models"), as PyTorch's `fully_shard` has it (FSDP2).
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_utilities.core.apply_func import apply_to_collection
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from tao_like.errors import SpecError


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
        take_from_first(network.state_dict().values(), mesh.device_type)
        self.whole = copy.deepcopy(network)
        # Parts are cut along the first axis of tensors that lie in memory as their axes do.
        network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        for block in (*_blocks(network), network):
            block.register_forward_hook(_as_own_memory)
            fully_shard(block, mesh=mesh)

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Takes whole weights, of which each process keeps its part."""
        own = self.network.state_dict()
        self.network.load_state_dict({name: _part(tensor, own[name]) for name, tensor in weights.items()})

    def share_buffers(self) -> None:
        """Has all processes take the buffers of the first, such as the means of batch norm.

        With ddp they do so before every step. A training step uses no such mean, so it is enough to do so
        before they are used or kept.
        """
        take_from_first(self.network.buffers(), self._device_type)

    def gather(self) -> nn.Module:
        """The whole copy, with the weights and buffers as they are now."""
        self.share_buffers()
        self.whole.load_state_dict(whole_state(self.network.state_dict()))
        return self.whole


def divided(network: nn.Module, fabric: Fabric) -> ShardedNetwork:
    """A network divided over all processes of a training, in one line."""
    mesh = init_device_mesh(fabric.device.type, (fabric.world_size,), mesh_dim_names=("data_parallel",))
    return ShardedNetwork(network, mesh)


def take_from_first(tensors: Iterable[Tensor], device_type: str) -> None:
    """Gives all processes the values that the first one has; all of them must call it."""
    for tensor in tensors:
        # What lies on another device, or otherwise in memory, cannot be sent.
        packed = tensor.detach().to(device_type).contiguous()
        torch.distributed.broadcast(packed, src=0)
        tensor.detach().copy_(packed)


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


def whole_state(state: dict[str, Any]) -> dict[str, Any]:
    """A state with whole tensors, on the CPU: all of them together may be more than one device holds.

    Those of a network that is not divided stay as they are.
    """
    gathered: dict[str, Any] = apply_to_collection(state, DTensor, lambda part: part.full_tensor().cpu())
    return gathered


def load_optimizer(optimizer: torch.optim.Optimizer, stored: Mapping[str, Any]) -> None:
    """Gives an optimizer a state with whole tensors, of which it keeps its parts where it has parts."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    parts = {
        number: {name: _part(value, parameters[number]) for name, value in values.items()}
        for number, values in stored["state"].items()
    }
    optimizer.load_state_dict({**stored, "state": parts})


def _part(value: Any, like: Tensor) -> Any:
    """This process's part of a whole tensor, divided as a weight of its shape is; others as they are."""
    if not (isinstance(like, DTensor) and isinstance(value, Tensor) and value.shape == like.shape):
        return value
    return distribute_tensor(value.to(like.device), like.device_mesh, like.placements)
