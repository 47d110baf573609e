"""Which devices a training computes on, and the processes that do so: Fabric's affair."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass, field

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments import (  # type: ignore[attr-defined]  # they are, unannounced
    ClusterEnvironment,
    LightningEnvironment,
    TorchElasticEnvironment,
)
from torch import Tensor, nn

from tao_like.config.blocks.common import TrainSpec
from tao_like.errors import SpecError
from tao_like.stages.lib.devices import check_gpu_ids, no_gpu
from tao_like.tracking import StopRequest

PRECISIONS = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}
_TORCHRUN = (
    "`torchrun --nnodes=MACHINES --nproc-per-node=DEVICES -m tao_like.cli ...` on each machine starts them, "
    "see docs/devices.md"
)


@dataclass(frozen=True)
class Devices:
    """What Fabric is told of the devices.

    Attributes:
        accelerator: Fabric's word for their kind.
        devices: how many on this machine, or which GPUs.
        warnings: what to tell the user of devices that were asked for and are not there.
    """

    accelerator: str
    devices: int | list[int]
    warnings: list[str] = field(default_factory=list)

    @property
    def count(self) -> int:
        """Devices of this machine, each with a process of its own."""
        return len(self.devices) if isinstance(self.devices, list) else self.devices


def choose_devices(train: TrainSpec) -> Devices:
    """The devices that the spec asks for, as far as this machine has them.

    A machine without a GPU trains on its CPU, in `num_gpus` processes.

    Raises:
        SpecError: it has GPUs, but not as many or not those; or the processes that torchrun or Slurm has
            started are not as many as the devices.
    """
    count = max(train.num_gpus, 1)
    gpus = torch.cuda.device_count()
    if train.accelerator == "mps":
        chosen = Devices("mps", count)
    elif train.accelerator == "cpu" or not gpus:
        warnings = []
        if train.accelerator != "cpu":
            if train.gpu_ids:
                warnings.append(no_gpu(train.gpu_ids, "train.gpu_ids"))
            if count > 1:
                warnings.append(
                    f"train.num_gpus={count}: torch sees no GPU on this machine, so {count} processes share "
                    "its CPU; one is as quick there"
                )
        chosen = Devices("cpu", count, warnings)
    else:
        check_gpu_ids(train.gpu_ids, "train.gpu_ids")
        if not train.gpu_ids and count > gpus:
            raise SpecError(
                f"train.num_gpus={count}: this machine has {gpus}; ask for {gpus}, and lower train.optim.lr "
                f"as much (a step then sees {gpus}/{count} of the samples)"
            )
        chosen = Devices("gpu", train.gpu_ids or count)
    _check_processes(chosen.count, train.num_nodes)
    return chosen


def _check_processes(devices: int, machines: int) -> None:
    """Raises SpecError where the processes that somebody has started are not one for each device."""
    asked = f"train.num_gpus={devices} and train.num_nodes={machines}"
    if torch.distributed.is_torchelastic_launched():
        started, here = int(os.environ["WORLD_SIZE"]), int(os.environ["LOCAL_WORLD_SIZE"])
        if (here, started) != (devices, devices * machines):
            raise SpecError(
                f"{asked} make {devices * machines} processes, and torchrun has started {started}, {here} of "
                f"them on this machine; give train.num_gpus={here} train.num_nodes={started // here}"
            )
    elif int(os.environ.get("SLURM_STEP_NUM_TASKS", "1")) > 1:
        raise SpecError(
            f"srun has started {os.environ['SLURM_STEP_NUM_TASKS']} tasks that know nothing of one another; "
            f"let it start one torchrun on each machine: {_TORCHRUN}"
        )
    elif machines > 1:
        raise SpecError(
            f"train.num_nodes={machines}: nobody has started the other machines' processes; {_TORCHRUN}"
        )


def process_environment() -> ClusterEnvironment:
    """Who starts the processes: torchrun where it has started this one, else Fabric, on this machine.

    Fabric would also look at the variables of Slurm, MPI and LSF, and take a batch job's script for one of
    many tasks.
    """
    launched = torch.distributed.is_torchelastic_launched()
    return TorchElasticEnvironment() if launched else LightningEnvironment()


def start_processes(train: TrainSpec, devices: Devices, stop: StopRequest) -> Fabric:
    """Starts a process for each device, or meets those that are started.

    Args:
        train: the train block.
        devices: as `choose_devices` gives them.
        stop: the signals; they end a process that waits for the others at once.
    """
    several = devices.count * train.num_nodes > 1
    fabric = Fabric(
        accelerator=devices.accelerator,
        devices=devices.devices,
        num_nodes=train.num_nodes,
        strategy="ddp" if several else "auto",
        precision=PRECISIONS[train.precision],  # type: ignore[arg-type]
        plugins=[process_environment()],
    )
    if several:
        stop.let_die()
    fabric.launch()
    stop.take_back()
    return fabric


def end_processes(fabric: Fabric, patience: float = 5.0) -> None:
    """Ends the processes that this one has started, where it has failed and they may wait for it for ever.

    Args:
        fabric: has started them.
        patience: seconds in which each may end by itself.
    """
    for process in getattr(fabric.strategy.launcher, "procs", []):
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            process.kill()


def leave_processes() -> None:
    """Lets go of the other processes, where there are any."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def from_all_processes(values: Tensor, fabric: Fabric) -> Tensor:
    """(processes, n): the n values of each process. All of them must call it."""
    if fabric.world_size == 1:
        return values[None]
    gathered = [torch.empty_like(values) for _ in range(fabric.world_size)]
    torch.distributed.all_gather(gathered, values)
    return torch.stack(gathered)


def channels_together(model: nn.Module) -> nn.Module:
    """Lets the channels of a pixel lie together in the kernels of a model, in place.

    torch's own ``model.to(memory_format=...)`` refuses a model that holds a tensor of five axes, such as the
    masks of windows that an imported network brings.
    """
    for module in model.modules():
        for tensor in (*module.parameters(recurse=False), *module.buffers(recurse=False)):
            if tensor.ndim == 4:
                tensor.data = tensor.data.contiguous(memory_format=torch.channels_last)
    return model
