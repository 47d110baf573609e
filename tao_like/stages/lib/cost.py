"""What a network costs: its parameters, and the multiplications that a prediction takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, flop_registry


@dataclass(frozen=True)
class Cost:
    """The size of a network.

    Attributes:
        parameters: values of the kernels of convolutions, linear layers and matrix products; shared ones
            count once. Biases, norm layers and position embeddings are left out: together they are about
            1 %, and export folds norm layers into the kernels before them.
        macs: multiply-accumulates of one pass over the inputs: convolutions, linear layers, and the matrix
            products of attention. Norm layers, activations and sums are left out, as is usual.
    """

    parameters: int
    macs: int


def network_cost(network: nn.Module, inputs: Sequence[Tensor]) -> Cost:
    """Counts a network's parameters, and the multiply-accumulates of a pass over ``inputs``.

    torch's counter watches the operations that really run, so attention outside of any module counts too.
    `stages.lib.graphs.cost` counts the exported graph alike.
    """
    training = {module: module.training for module in network.modules()}
    # torch's counter asks inputs of modules for their gradient's function; a table that is one has none here.
    learning = [parameter for parameter in network.parameters() if parameter.requires_grad]
    counter, kernels = FlopCounterMode(display=False), _KernelCounter(network)
    # Fused attention is one operation that the counter does not know on every device.
    try:
        for parameter in learning:
            parameter.requires_grad_(False)
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), counter, kernels:
            network.eval()(*inputs)
    finally:
        for parameter in learning:
            parameter.requires_grad_(True)
        for module, mode in training.items():
            module.training = mode
    return Cost(sum(kernels.used.values()), counter.get_total_flops() // 2)


class _KernelCounter(TorchDispatchMode):
    """Notes which parameters an input is multiplied with, whatever module they stand in."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.owners = {_place(parameter): parameter.numel() for parameter in network.parameters()}
        self.used: dict[int, int] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func.overloadpacket in flop_registry:
            for operand in args:
                # Biases have one axis.
                if isinstance(operand, Tensor) and operand.ndim > 1 and _place(operand) in self.owners:
                    self.used[_place(operand)] = self.owners[_place(operand)]
        return func(*args, **(kwargs or {}))


def _place(tensor: Tensor) -> int:
    """Where its values lie; views share their memory."""
    return tensor.untyped_storage().data_ptr()
