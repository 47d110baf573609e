"""What every task must pass on a device other than the CPU: a pretended one, with the CPU's numbers."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any, ClassVar

import pytest
import torch
from pretended_device import DEVICE, pretended_device, send
from task_contract import load_task
from torch import Tensor, nn

from tao_like.contract.batch import Batch
from tao_like.contract.inputs import model_inputs
from tao_like.contract.sample import Split
from tao_like.contract.task import AnyTask
from tao_like.stages.lib.engines import default_format

CPU = torch.device("cpu")


def network_of(task: AnyTask, device: torch.device) -> nn.Module:
    """The same random network on every call."""
    torch.manual_seed(0)
    network, _ = task.model(pretrained=False)
    return send(network) if device == DEVICE else network


def on(device: torch.device) -> Any:
    """The context in which a device is one."""
    return pretended_device() if device == DEVICE else nullcontext()


def some(task: AnyTask, split: Split) -> Batch[Any]:
    """Four samples, or as many as there are."""
    data = task.data.dataset(split, augment=split == "train")
    return task.data.collate([data[number] for number in range(min(4, len(data)))])


def training_step(task: AnyTask, batch: Batch[Any], device: torch.device) -> dict[str, Tensor]:
    """Losses and gradients of a step."""
    network = network_of(task, device).train()
    with on(device):
        torch.manual_seed(1)
        losses = task.phases()[-1].losses(network, batch.to(device))
        assert {value.device for value in losses.values()} == {device}
        torch.stack(list(losses.values())).sum().backward()
        found = {name: value.detach().cpu() for name, value in losses.items()}
        for name, parameter in network.named_parameters():
            if parameter.grad is not None:
                found[name] = parameter.grad.cpu()
    return found


def validation_step(
    task: AnyTask, batch: Batch[Any], device: torch.device
) -> tuple[list[float], dict[str, float]]:
    """The losses of a batch, and what the metrics make of the predictions to it."""
    network = network_of(task, device).eval()
    phase = task.phases()[-1]
    metrics = phase.metrics()
    with on(device), torch.no_grad():
        moved = batch.to(device)
        losses, outputs = phase.validate(network, moved)
        predictions = task.predictions.from_outputs(outputs)
        metrics.update(moved.indices.tolist(), predictions, task.predictions.targets(moved))
        return [value.item() for value in losses.values()], metrics.compute().values


def outputs_of(task: AnyTask, batch: Batch[Any], device: torch.device) -> list[Tensor]:
    """What the first graph that ships gives for the first sample."""
    graph = next(iter(task.exports(network_of(task, CPU).eval(), default_format(task)).values()))
    inputs = graph.to_inputs({name: one[:1] for name, one in model_inputs(task.inputs, batch).items()})
    module = send(graph.module) if device == DEVICE else graph.module
    with on(device), torch.no_grad():
        found = module(*[tensor.to(device) for tensor in inputs])
        return [value.cpu() for value in (found if isinstance(found, tuple) else (found,))]


def assert_same_there(name: str, words: Sequence[str], tolerance: float = 0.0) -> None:
    """A training step, a validation and predictions leave nothing on the CPU, and come to its numbers.

    Args:
        name: of the task.
        words: overrides.
        tolerance: of differences; torch computes attention with a mask otherwise there.
    """
    task = load_task(name, words)
    train, val = some(task, "train"), some(task, "val")
    here, there = (training_step(task, train, device) for device in (CPU, DEVICE))
    assert here.keys() == there.keys()
    close = {"rtol": tolerance, "atol": tolerance}
    assert [name for name, value in here.items() if not value.allclose(there[name], **close)] == []
    (losses, values), (losses_there, values_there) = (validation_step(task, val, d) for d in (CPU, DEVICE))
    assert losses == pytest.approx(losses_there, rel=tolerance, abs=tolerance)
    assert values == pytest.approx(values_there, rel=tolerance, abs=tolerance)
    for one, other in zip(outputs_of(task, val, CPU), outputs_of(task, val, DEVICE), strict=True):
        assert one.allclose(other, **close)


class DeviceTests:
    """The test of it, on the fixtures of a task's test class."""

    task: ClassVar[str]
    tiny: ClassVar[tuple[str, ...]]
    device_tolerance: ClassVar[float] = 0.0

    def test_a_step_leaves_nothing_on_the_cpu(self, data: list[str]) -> None:
        assert_same_there(self.task, [*self.tiny, *data], self.device_tolerance)
