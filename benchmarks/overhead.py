"""What the overhead benchmarks share: a training step of the stage against one of a bare loop, in turns.

Both sides take a GPU where there is one, precision and compilation as the options say.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from rich.console import Console

from tao_like.config import load_spec, to_yaml
from tao_like.contract.task import AnyTask
from tao_like.networks import _torchvision  # noqa: F401
from tao_like.stages.lib.loading import EpochSampler, SeededDataset, ready_to_fork, resolve_workers
from tao_like.stages.train.setup.memory import keep_freed_memory
from tao_like.stages.train.setup.optim import build_optimizer, build_schedule
from tao_like.stages.train.stage import open_phase, prepare
from tao_like.tracking import Run

# isort: split
import torch
from torch.utils.data import DataLoader

WARM_UP, TIMED = 10, 50
EPOCHS = 100
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
SETTINGS = [
    "dataset.cache=ram",
    f"train.num_epochs={EPOCHS}",
    f"train.max_steps={WARM_UP + TIMED}",
    "train.keep=last",
    "dataset.split.val=0",
    "dataset.split.test=0",
    "train.checkpoint_interval=1000",
]


def now() -> float:
    """Seconds of a clock, once the GPU has done what it was told to."""
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def stage_seconds(task: AnyTask, folder: Path) -> float:
    """Seconds of 50 steps in the train stage's own loop."""
    spec, times = task.spec, []
    with Run(
        folder, task=task.name, stage="train", spec_yaml=to_yaml(spec), console=Console(quiet=True)
    ) as run:
        (phase,) = task.phases()
        training = open_phase(prepare(task, spec, run), phase, None)
        step = training._optimizer_step

        def step_and_look(losses: dict[str, torch.Tensor]) -> None:
            step(losses)
            if training.state.step in (WARM_UP, WARM_UP + TIMED):
                times.append(now())

        training._optimizer_step = step_and_look
        training.fit()
        if training.writer is not None:
            training.writer.events.close()
    return times[1] - times[0]


def bare_seconds(task: AnyTask) -> float:
    """Seconds of 50 steps in a plain loop."""
    spec = task.spec
    torch.manual_seed(spec.train.seed)
    network, _ = task.model(pretrained=True)
    (phase,) = task.phases()
    if spec.train.compile:
        network.compile()
    network = network.to(device=DEVICE, memory_format=torch.channels_last).train()
    halved = torch.autocast(DEVICE.type, torch.bfloat16, enabled=spec.train.precision == "bf16")
    data = task.data.dataset("train", augment=True)
    sampler = EpochSampler(len(data), spec.train.seed, shuffle=True)
    workers = resolve_workers(task.data, DEVICE.type)
    loader = DataLoader(
        SeededDataset(data, spec.train.seed),
        batch_size=task.data.loading.batch_size,
        sampler=sampler,
        collate_fn=task.data.collate,
        drop_last=True,
        num_workers=ready_to_fork(workers),
        persistent_workers=workers > 0,
        pin_memory=DEVICE.type == "cuda",
    )
    optimizer = build_optimizer(phase, network, spec.train.optim)
    schedule = build_schedule(optimizer, spec.train.optim, EPOCHS, len(loader), WARM_UP + TIMED)
    step, started = 0, 0.0
    for epoch in range(EPOCHS):
        sampler.set_epoch(epoch)
        for batch in loader:
            with halved:
                loss = torch.stack(list(phase.losses(network, batch.to(DEVICE)).values())).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            step += 1
            if step == WARM_UP:
                started = now()
            if step == WARM_UP + TIMED:
                return now() - started
    raise AssertionError("the data is too small")


def compare(
    options: argparse.Namespace, task_type: type[AnyTask], overrides: Callable[[Path], list[str]]
) -> None:
    """Runs the pairs and writes their CSV.

    Args:
        options: as `parser` has them.
        task_type: whose networks are trained.
        overrides: writes data below a folder, and names it; with the network.
    """
    keep_freed_memory()
    ratios, rows = [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sizes = [
            f"dataset.img_size={options.img_size}",
            f"dataset.batch_size={options.batch_size}",
            f"dataset.workers={options.workers}",
            f"train.precision={options.precision}",
            f"train.compile={options.compile}",
        ]
        spec = load_spec(task_type.Spec, None, [*SETTINGS, *overrides(folder), *sizes]).spec
        for pair in range(options.pairs):
            # The side that goes first changes from pair to pair.
            seconds: dict[str, float] = {}
            for side in ("stage", "bare") if pair % 2 else ("bare", "stage"):
                task = task_type(spec)
                seconds[side] = (
                    stage_seconds(task, folder / f"run{pair}") if side == "stage" else bare_seconds(task)
                )
            ratio = seconds["stage"] / seconds["bare"]
            ratios.append(ratio)
            rows.append([pair, f"{seconds['stage']:.3f}", f"{seconds['bare']:.3f}", f"{ratio:.4f}"])
            print("pair {}: stage {} s, bare {} s, ratio {}".format(*rows[-1]), flush=True)
    generator = np.random.default_rng(0)
    medians = [np.median(generator.choice(ratios, len(ratios))) for _ in range(10_000)]
    low, high = np.percentile(medians, [2.5, 97.5])
    with options.output.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["pair", "stage_seconds", "bare_seconds", "ratio"])
        writer.writerows(rows)
        writer.writerow(["median", "", "", f"{np.median(ratios):.4f}"])
        writer.writerow(["interval_95", f"{low:.4f}", f"{high:.4f}", ""])
    rate = TIMED * options.batch_size / np.median([float(row[1]) for row in rows])
    print(
        f"median ratio {np.median(ratios):.4f}, 95 % interval {low:.4f} to {high:.4f}, {TIMED} steps a side, "
        f"{rate:.1f} samples a second in the stage"
    )


def parser(description: str, script: str, *, img_size: int, batch_size: int) -> argparse.ArgumentParser:
    """The options of a script; its file gives the name of the CSV."""
    made = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--pairs", type=int, default=9)
    made.add_argument("--img-size", type=int, default=img_size)
    made.add_argument("--batch-size", type=int, default=batch_size)
    made.add_argument("--workers", type=int, default=0)
    made.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    made.add_argument("--compile", action="store_true")
    made.add_argument("--output", type=Path, default=Path(script).with_suffix(".csv"))
    return made
