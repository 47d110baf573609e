"""Training in two processes that hold a part of every weight each, held against ddp."""

from __future__ import annotations

import copy
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from processes import in_processes, train_in_processes
from sample_images import write_class_folders
from stage_runs import assert_failed, assert_same_weights, distance, status_lines
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny_classification import TINY, data_overrides, run, tiny_spec
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh

from tao_like.bundle import read_bundle
from tao_like.errors import SpecError
from tao_like.stages.train.checkpoints.checkpoint_file import read_best, read_checkpoint
from tao_like.stages.train.checkpoints.sharding import ShardedNetwork, whole

SIZES = {"train": 24, "val": 7, "test": 1}
SETTINGS = (
    *TINY,
    "model.backbone.type=test_vit",
    "train.num_epochs=2",
    "train.clip_grad_norm=1",
    "train.tensorboard={enabled: true, histograms: true}",
)
FSDP = "train.strategy=fsdp"
ROUNDING = 1e-3
"""AdamW takes steps where a gradient is nothing but rounding."""


# --- the network ---


class Reshaped(nn.Module):
    """A block whose output is a view."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 6)

    def forward(self, values: Tensor) -> Tensor:
        return self.layer(values).view(-1, 2, 3)


class Little(nn.Module):
    """Blocks in a sequence, one of them frozen in part, and one that is written to."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.rand(1))
        self.stem = nn.Conv2d(3, 6, 3)
        self.blocks = nn.Sequential(nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6)), Reshaped())
        self.blocks[0][0].weight.requires_grad_(False)
        self.head = nn.Linear(3, 5)

    def forward(self, images: Tensor) -> Tensor:
        values: Tensor = self.blocks(self.stem(images * self.scale).relu().mean(dim=(2, 3)))
        values += 1
        return self.head(values.square())


def compare_networks(rank: int, folder: Path) -> None:
    """One of two processes: a step of a sharded network, and of one whose gradients are averaged by hand."""
    torch.manual_seed(rank)  # each begins with weights of its own
    network = Little().double().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    mesh = init_device_mesh("cpu", (2,), mesh_dim_names=("data_parallel",))
    sharded = ShardedNetwork(network, mesh)
    plain = copy.deepcopy(sharded.whole)
    images = torch.rand(4, 3, 8, 8, dtype=torch.float64)
    report: dict[str, Any] = {"start": {k: v.clone() for k, v in plain.state_dict().items()}}
    for net in (plain, network):
        net(images).square().sum().backward()
    report["expected"], report["gradients"] = {}, {}
    for (name, one), part in zip(plain.named_parameters(), network.parameters(), strict=True):
        if one.grad is None or part.grad is None:
            assert one.grad is part.grad is None
            continue
        torch.distributed.all_reduce(one.grad)
        report["expected"][name] = one.grad / 2
        report["gradients"][name] = whole(part.grad)
    report["held"] = sum(part.to_local().numel() for part in network.parameters())  # type: ignore[attr-defined]
    report["means"] = plain.blocks[0][1].running_mean
    report["end"] = sharded.gather().state_dict()
    torch.save(report, folder / f"{rank}.pt")
    plain.scale = nn.Parameter(torch.tensor(1.0))
    with pytest.raises(SpecError, match=r"train\.strategy: fsdp cannot divide scale.*take ddp"):
        ShardedNetwork(plain, mesh)


def test_gradients_are_those_of_the_whole_network(tmp_path: Path) -> None:
    assert in_processes(compare_networks, tmp_path) == [0, 0]
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2))
    for name, tensor in first["start"].items():
        assert second["start"][name].equal(tensor), name
    assert "blocks.0.0.bias" in first["expected"]
    assert "blocks.0.0.weight" not in first["expected"]
    for report in (first, second):
        torch.testing.assert_close(report["gradients"], report["expected"])
    # Half of each tensor, by its first axis. The scale is one number; the last layer has five rows.
    assert first["held"] == 1 + (6 * 27 + 6 + 2 * 42 + 12) / 2 + 3 * 3 + 3
    assert second["held"] == (6 * 27 + 6 + 2 * 42 + 12) / 2 + 2 * 3 + 2
    # The means of batch norm are those that the first process has measured.
    assert not first["means"].equal(second["means"])
    for report in (first, second):
        torch.testing.assert_close(report["end"]["blocks.0.1.running_mean"], first["means"])


# --- the training ---


def train(results: Path, *overrides: str, killed: int | None = None) -> list[int | None]:
    return train_in_processes("classification", results, [*SETTINGS, *overrides], killed=killed)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Overrides that name the data of all tests."""
    return data_overrides(write_class_folders(tmp_path_factory.mktemp("data"), SIZES))


@pytest.fixture(scope="module")
def by_ddp(data: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a training in which each process holds the whole network."""
    results = tmp_path_factory.mktemp("ddp")
    assert train(results, *data) == [0, 0]
    return results / "train"


@pytest.fixture(scope="module")
def by_fsdp(data: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the same training with parts."""
    results = tmp_path_factory.mktemp("fsdp")
    assert train(results, *data, FSDP) == [0, 0]
    return results / "train"


def test_weights_and_figures_are_those_of_ddp(by_ddp: Path, by_fsdp: Path, data: list[str]) -> None:
    one, other = read_bundle(by_ddp / "model.tltb"), read_bundle(by_fsdp / "model.tltb")
    assert distance(one.weights, other.weights) < ROUNDING
    assert other.metrics == pytest.approx(one.metrics, abs=1e-3)
    told = [[line["kpi"] for line in status_lines(folder) if "epoch" in line] for folder in (by_ddp, by_fsdp)]
    for figures, expected in zip(*told, strict=True):
        assert figures == pytest.approx(expected, abs=1e-3)
    alone = run("evaluate", by_fsdp.parent, *data, "evaluate.split=val")
    assert alone.metrics == pytest.approx(other.metrics, abs=1e-4)


def test_checkpoints_hold_the_same_whole_tensors_as_with_ddp(by_ddp: Path, by_fsdp: Path) -> None:
    one, other = (read_checkpoint(folder / "checkpoints" / "last.ckpt") for folder in (by_ddp, by_fsdp))
    assert other.keys() == one.keys()
    assert distance(one["state_dict"], other["state_dict"]) < ROUNDING
    states = [content["optimizer"] for content in (one, other)]
    assert states[1]["param_groups"] == states[0]["param_groups"]
    assert states[1]["state"].keys() == states[0]["state"].keys()
    for number, expected in states[0]["state"].items():
        assert distance(expected, states[1]["state"][number]) < ROUNDING, number
    best = [read_best(folder / "checkpoints" / "best.ckpt") for folder in (by_ddp, by_fsdp)]
    assert distance(best[0], best[1]) < ROUNDING


def test_histograms_show_whole_tensors(by_ddp: Path, by_fsdp: Path) -> None:
    one, other = (EventAccumulator(str(folder), {"histograms": 0}).Reload() for folder in (by_ddp, by_fsdp))
    tags = one.Tags()["histograms"]
    assert other.Tags()["histograms"] == tags
    assert {tag.partition("/")[0] for tag in tags} == {"weights", "gradients"}
    for tag in tags:
        shown = [events.Histograms(tag)[-1].histogram_value for events in (one, other)]
        assert shown[1].num == shown[0].num
        assert shown[1].sum_squares == pytest.approx(shown[0].sum_squares, rel=1e-2, abs=1e-6), tag


@pytest.mark.acceptance
def test_a_training_whose_process_was_killed_goes_on(
    by_fsdp: Path, by_ddp: Path, data: list[str], tmp_path: Path
) -> None:
    first, second = train(tmp_path, *data, FSDP, killed=1)
    assert second == -signal.SIGKILL
    assert first not in (0, None)
    assert_failed(tmp_path / "train", "another process")
    checkpoint = tmp_path / "last.ckpt"
    (tmp_path / "train" / "checkpoints" / "last.ckpt").rename(checkpoint)
    resume = f"train.resume_training_checkpoint_path={checkpoint}"
    assert train(tmp_path, *data, FSDP, resume) == [0, 0]
    assert_same_weights(tmp_path / "train" / "model.tltb", by_fsdp / "model.tltb")
    # The checkpoint is as good for processes that hold the whole network.
    assert train(tmp_path, *data, resume) == [0, 0]
    ends = [read_bundle(folder / "model.tltb").weights for folder in (by_ddp, tmp_path / "train")]
    assert distance(*ends) < ROUNDING


# --- what does not go with it ---


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("enable_ema", "true"),
        ("compile", "true"),
        ("tensorboard.graph", "true"),
        ("precision", "fp16"),
        ("optim.optim", "adafactor"),
    ],
)
def test_what_needs_the_whole_network_is_refused(key: str, value: str) -> None:
    settings = ["train.tensorboard.enabled=true", f"train.{key}={value}", FSDP]
    with pytest.raises(SpecError, match=rf"train\.{key}: {value} is not allowed with train\.strategy=fsdp"):
        tiny_spec(*settings, "train.num_gpus=2")
    # On one device there is nothing to divide.
    assert tiny_spec(*settings).train.strategy == "fsdp"


def test_taos_key_is_followed() -> None:
    assert tiny_spec("train.distributed_strategy=fsdp").train.strategy == "fsdp"
    assert tiny_spec().train.strategy == "ddp"
