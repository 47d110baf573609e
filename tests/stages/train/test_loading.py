"""Order of training samples, their division among processes, and the batch size that `auto` chooses."""

from __future__ import annotations

import gc
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from tiny_classification import data_overrides, tiny_spec

from tao_like.errors import SpecError
from tao_like.stages.lib import loading
from tao_like.stages.lib.loading import EpochSampler, ShardSampler, resolve_batch_size, resolve_workers
from tao_like.tasks import task_class


def order(sampler: EpochSampler, epoch: int = 0) -> list[int]:
    """The samples of an epoch."""
    sampler.set_epoch(epoch)
    keys = list(sampler)
    assert {key.epoch for key in keys} <= {epoch}
    return [key.sample for key in keys]


def test_an_epoch_has_every_sample_once_in_an_order_of_its_own() -> None:
    sampler = EpochSampler(50, 3, shuffle=True)
    first, second = order(sampler, 0), order(sampler, 1)
    assert sorted(first) == sorted(second) == list(range(50))
    assert first != second
    assert first not in (list(range(50)), order(EpochSampler(50, 4, shuffle=True), 0))
    assert first == order(EpochSampler(50, 3, shuffle=True), 0)


def test_without_shuffling_the_order_is_the_dataset_s() -> None:
    assert order(EpochSampler(7, 3, shuffle=False), 2) == list(range(7))


@pytest.mark.parametrize(("length", "world"), [(10, 2), (11, 2), (11, 4), (2, 4)])
def test_processes_share_an_epoch_evenly(length: int, world: int) -> None:
    parts = [order(EpochSampler(length, 1, shuffle=True, rank=rank, world=world)) for rank in range(world)]
    assert {len(part) for part in parts} == {-(-length // world)}
    assert {index for part in parts for index in part} == set(range(length))


def test_processes_together_take_the_batches_of_one_process() -> None:
    """So a step of two processes with four samples each is a step of one process with eight."""
    alone = order(EpochSampler(16, 1, shuffle=True))
    parts = [order(EpochSampler(16, 1, shuffle=True, rank=rank, world=2)) for rank in range(2)]
    assert set(alone[:8]) == set(parts[0][:4]) | set(parts[1][:4])


def test_a_resumed_epoch_goes_on_where_it_was_left_and_the_next_is_whole() -> None:
    whole = order(EpochSampler(20, 5, shuffle=True), 3)
    sampler = EpochSampler(20, 5, shuffle=True)
    sampler.start_at(3, 12)
    assert [key.sample for key in sampler] == whole[12:]
    assert order(sampler, 3) == whole[12:]
    assert len(order(sampler, 4)) == 20


def test_an_epoch_that_was_done_when_it_was_left_has_no_samples_and_the_next_is_whole() -> None:
    sampler = EpochSampler(20, 5, shuffle=True)
    sampler.start_at(3, 20)
    iter(sampler)  # as a loader does that is never asked for a batch
    assert len(order(sampler, 4)) == 20
    assert order(sampler, 3) == []


@pytest.mark.parametrize("length", [1, 7, 8])
def test_scoring_takes_each_sample_once_over_all_processes(length: int) -> None:
    parts = [list(ShardSampler(length, rank, 3)) for rank in range(3)]
    assert sorted(index for part in parts for index in part) == list(range(length))


def test_scoring_leaves_the_tiles_of_an_image_to_one_process() -> None:
    images = [0, 0, 0, 1, 2, 2, 3]
    parts = [list(ShardSampler(7, rank, 2, images)) for rank in range(2)]
    assert parts == [[0, 1, 2, 4, 5], [3, 6]]


class Halves(torch.nn.Module):
    """Keeps its input and one product of it for the backward pass, that as two views."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(4))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        hidden = inputs * self.weight
        return (hidden[:, :2] * hidden[:, 2:]).sum()


def test_views_of_a_tensor_take_no_memory_of_their_own() -> None:
    phase = SimpleNamespace(
        data=SimpleNamespace(collate=torch.stack),
        losses=lambda model, batch: {"loss": model(batch)},
    )
    # Two tensors of four numbers of four bytes a sample.
    assert loading._kept_bytes(phase, Halves(), [torch.ones(4)]) == 2 * 4 * 4  # type: ignore[arg-type]


@pytest.fixture
def tiny_task(class_folders: Path) -> object:
    """A task whose spec leaves batch size and workers to the machine."""
    overrides = ["dataset.batch_size=auto", "dataset.workers=auto", "dataset.augmentation.mixup_cutmix=true"]
    return task_class("classification")(tiny_spec(*data_overrides(class_folders), *overrides))


def test_auto_batch_size_is_a_power_of_two_that_memory_allows(
    tiny_task: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, _ = tiny_task.model(pretrained=True)
    dataset = tiny_task.data.dataset("train")
    device = torch.device("cpu")
    per_sample = loading._kept_bytes(tiny_task.phases()[0], network, dataset)
    monkeypatch.setattr(loading, "FEWEST_STEPS_AN_EPOCH", 1)
    for wanted in (4, 16):
        free = int((wanted + 0.5) * per_sample / loading.MEMORY_FRACTION)
        monkeypatch.setattr(loading, "free_memory", lambda free=free: free)
        assert resolve_batch_size(tiny_task.phases()[0], network, dataset, device) == wanted


def test_auto_batch_size_leaves_some_steps_an_epoch_and_no_trace(tiny_task: object) -> None:
    """24 images: at least 8 steps want batches of at most 3, so 2."""
    network, _ = tiny_task.model(pretrained=True)
    network.train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    torch.manual_seed(1)
    expected = torch.rand(2)
    torch.manual_seed(1)
    assert (
        resolve_batch_size(
            tiny_task.phases()[0], network, tiny_task.data.dataset("train"), torch.device("cpu")
        )
        == 2
    )
    assert torch.rand(2).equal(expected)
    assert all(tensor.equal(before[name]) for name, tensor in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())


@pytest.mark.parametrize(("processors", "on_cpu", "on_gpu"), [(1, 0, 0), (2, 1, 1), (64, 2, 8)])
def test_auto_workers_leave_a_processor_to_the_training(
    processors: int, on_cpu: int, on_gpu: int, tiny_task: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "processors", lambda: processors)
    assert resolve_workers(tiny_task.data, "cpu") == on_cpu
    assert resolve_workers(tiny_task.data, "cuda") == on_gpu


def test_there_are_no_more_loading_processes_than_batches(tiny_task: object) -> None:
    for size, processes in ((1, 2), (2, 1)):
        loader = loading.scoring_loader(tiny_task.data, Collecting(), size, workers=900)
        assert loader.num_workers == processes
    assert [loading.ready_to_fork(workers, 9, 4) for workers in (0, 2, 900)] == [0, 2, 3]
    with pytest.raises(SpecError, match=r"dataset\.workers: 1025 is not allowed; it must be .* at most 1024"):
        tiny_spec("dataset.workers=1025")


class Telltale:
    """Garbage that writes a file where it is destroyed in another process than it was made in."""

    def __init__(self, file: Path) -> None:
        self.itself = self  # so that the garbage collector alone can destroy it
        self.file = file
        self.process = os.getpid()

    def __del__(self) -> None:
        if os.getpid() != self.process:
            self.file.write_text("destroyed in a loading process")


class Collecting(torch.utils.data.Dataset[int]):
    """Collects garbage with every sample, as Python does now and then."""

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> int:
        gc.collect()
        return index


@pytest.mark.parametrize("moment", ["before the loader is made", "before it starts"])
def test_loading_processes_destroy_nothing_of_their_parent_s(moment: str, tmp_path: Path) -> None:
    task = task_class("classification")(tiny_spec())
    task.data.collate = list  # type: ignore[method-assign,assignment]
    gc.disable()
    try:
        if moment == "before the loader is made":
            Telltale(tmp_path / "destroyed")
        loader = loading.scoring_loader(task.data, Collecting(), 1, workers=1)
        if moment == "before it starts":
            Telltale(tmp_path / "destroyed")
        assert [list(batch) for batch in loader] == [[0], [1]]
    finally:
        gc.enable()
        gc.collect()
    assert not (tmp_path / "destroyed").exists()
