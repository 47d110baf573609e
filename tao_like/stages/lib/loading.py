"""Loading data for training and for scoring: order, seeds, workers, and the batch size `auto`."""

from __future__ import annotations

import gc
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Sampler

from tao_like.contract.data import Data, Dataset
from tao_like.contract.phase import Phase
from tao_like.runtime.memory import free_memory
from tao_like.stages.lib.devices import processors
from tao_like.tracking.signals import leave_signals_to_parent

LARGEST_AUTO_BATCH = {"cpu": 32, "cuda": 128, "mps": 64}
"""`auto` goes no higher: beyond, a step grows as fast as the batch, and small sets get too few steps."""
FEWEST_STEPS_AN_EPOCH = 8
MEMORY_FRACTION = 0.4


class SampleKey(NamedTuple):
    """Which sample, in which epoch: all that its random changes are drawn from."""

    epoch: int
    sample: int


class SeededDataset(torch.utils.data.Dataset[Any]):
    """A dataset whose random changes depend on seed, epoch and sample alone.

    So the same run gives the same images with any number of workers, and after any interruption. The
    caller's random state is left as it was.
    """

    def __init__(self, dataset: Dataset, seed: int) -> None:
        self.dataset = dataset
        self.seed = seed
        self.set_epoch = getattr(dataset, "set_epoch", lambda epoch: None)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, key: SampleKey) -> Any:
        # Only the CPU's generator: torch.manual_seed asks every kind of device, 0.17 ms a sample.
        state = torch.get_rng_state()
        torch.default_generator.manual_seed(_mix(self.seed, key.epoch, key.sample))
        self.set_epoch(key.epoch)
        try:
            return self.dataset[key.sample]
        finally:
            torch.set_rng_state(state)


def _mix(seed: int, epoch: int, index: int) -> int:
    """One seed out of three numbers, spread over 64 bits (constants of splitmix64)."""
    value = (seed * 0x9E3779B97F4A7C15 + epoch * 0xBF58476D1CE4E5B9 + index * 0x94D049BB133111EB) % 2**64
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    return (value ^ (value >> 27)) % 2**63


class EpochSampler(Sampler[SampleKey]):
    """The order of an epoch, from seed and epoch alone; may start at a batch within it.

    With several processes each takes every n-th sample. The order is filled up from its start, so that
    all have equally many: ddp waits for the slowest.

    Args:
        length: samples of the dataset.
        seed: of the order.
        shuffle: False: as the dataset has them.
        rank: this process's number; world: how many there are.
    """

    def __init__(self, length: int, seed: int, *, shuffle: bool, rank: int = 0, world: int = 1) -> None:
        self.length = length
        self.seed = seed
        self.shuffle = shuffle
        self.rank = rank
        self.world = world
        self.epoch = 0
        self._begun_epoch = (0, 0)

    def set_epoch(self, epoch: int) -> None:
        """Called by the training loop at the start of every epoch."""
        self.epoch = epoch

    def start_at(self, epoch: int, sample: int) -> None:
        """Begins with an epoch of which this many of the process's samples are left out."""
        self.epoch = epoch
        self._begun_epoch = (epoch, sample)

    def __len__(self) -> int:
        return -(-self.length // self.world)

    def __iter__(self) -> Iterator[SampleKey]:
        order = list(range(self.length))
        if self.shuffle:
            generator = torch.Generator().manual_seed(_mix(self.seed, self.epoch, -1))
            order = torch.randperm(self.length, generator=generator).tolist()
        padded = (order * -(-len(self) * self.world // self.length))[: len(self) * self.world]
        begun, done = self._begun_epoch
        skip = done if self.epoch == begun else 0
        for index in padded[self.rank :: self.world][skip:]:
            yield SampleKey(self.epoch, index)


def seed_step(seed: int, epoch: int, batch: int, rank: int, device: torch.device) -> None:
    """Seed what a training step draws (dropout, blending of samples) from its position in the training alone.

    So nothing that happens between two steps, such as a validation or the end and the resuming of a run, can
    change what they draw; and processes draw differently from one another.
    """
    value = _mix(seed, epoch * 2**32 + batch, -2 - rank)
    if device.type == "cpu":
        # torch.manual_seed asks every kind of device.
        torch.default_generator.manual_seed(value)
    else:
        torch.manual_seed(value)
    np.random.seed(value % 2**32)
    random.seed(value)


def start_worker(worker: int) -> None:
    """For loading processes: what they have from their parent is never collected as garbage.

    A fork does not bring along the threads of an onnxruntime session, and its destructor waits for them for
    ever. With `ready_to_fork`, which leaves no garbage behind, none is destroyed in a loading process.
    """
    del worker
    gc.freeze()


def start_training_worker(worker: int) -> None:
    """For loading processes of a training: Ctrl-C reaches them too, and their parent finishes its step."""
    start_worker(worker)
    leave_signals_to_parent()


def ready_to_fork(workers: int, samples: int, batch_size: int) -> int:
    """The number of loading processes, after the garbage was collected where there are any.

    Args:
        workers: as many are asked for; more than there are batches would take memory and nothing else.
        samples: that they load.
        batch_size: of these.
    """
    workers = min(workers, -(-samples // batch_size))
    if workers:
        gc.collect()
    return workers


class ShardSampler(Sampler[int]):
    """Every n-th sample in the dataset's order, without filling up: for scoring in several processes.

    Args:
        length: samples of the dataset.
        rank: this process's number; world: how many there are.
        groups: the number of each sample's group, such as the image of a tile; a group stays in one process.
    """

    def __init__(self, length: int, rank: int, world: int, groups: Sequence[int] | None = None) -> None:
        numbers = range(length) if groups is None else groups
        self.indices = [index for index, number in enumerate(numbers) if number % world == rank]

    def __len__(self) -> int:
        return len(self.indices)

    def __iter__(self) -> Iterator[int]:
        return iter(self.indices)


def resolve_workers(data: Data, device_type: str) -> int:
    """The number of loading processes; `auto`: one for each processor but one, at most 8.

    On a CPU the training itself uses all processors, so loading in two more processes is enough.
    """
    workers = data.loading.workers
    if workers != "auto":
        return workers
    spare = max(0, processors() - 1)
    return min(spare, 8 if device_type == "cuda" else 2)


def resolve_batch_size(phase: Phase[Any], model: nn.Module, dataset: Dataset, device: torch.device) -> int:
    """The batch size of the spec; `auto`: a power of two that memory and the amount of data allow.

    One training pass over two samples tells how much the model keeps for each sample.
    """
    size = phase.data.loading.batch_size
    if size != "auto":
        return size
    per_sample = _kept_bytes(phase, model, dataset)
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else free_memory()
    limit = min(
        LARGEST_AUTO_BATCH[device.type],
        len(dataset) // FEWEST_STEPS_AN_EPOCH,
        int(free * MEMORY_FRACTION / max(per_sample, 1)),
    )
    return 1 << max(1, limit.bit_length() - 1)


def _kept_bytes(phase: Phase[Any], model: nn.Module, dataset: Dataset) -> int:
    """Bytes that a training step keeps for one sample until its backward pass."""
    device = next(model.parameters()).device
    batch = phase.data.collate([dataset[index % len(dataset)] for index in range(2)]).to(device)
    # By storage: views of a tensor, which may begin anywhere in it, take no memory of their own.
    seen: dict[int, int] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        seen[storage.data_ptr()] = storage.nbytes()
        return tensor

    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    parameters = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    with torch.random.fork_rng(), torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        losses = phase.losses(model, batch)  # held, so that no storage is freed and its address used again
    model.load_state_dict(state)
    del losses
    return sum(size for pointer, size in seen.items() if pointer not in parameters) // 2


def scoring_loader(
    data: Data,
    dataset: Dataset,
    batch_size: int,
    workers: int,
    *,
    rank: int = 0,
    world: int = 1,
    groups: Sequence[int] | None = None,
    on_worker_start: Callable[[int], None] = start_worker,
) -> DataLoader[Any]:
    """Batches in the dataset's order, each sample once over all processes."""
    sampler = ShardSampler(len(dataset), rank, world, groups)
    processes = ready_to_fork(workers, len(sampler), batch_size)
    return DataLoader(
        dataset,  # type: ignore[arg-type]
        batch_size=batch_size,
        sampler=sampler,
        num_workers=processes,
        collate_fn=data.collate,
        persistent_workers=processes > 0,
        worker_init_fn=on_worker_start,
    )
