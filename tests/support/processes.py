"""Trainings in several processes on one CPU, started as torchrun starts them.

A server process imports once what a training needs; each process of a training is forked from it, which takes
no time. Forking the test process itself would not do: its threads are not in the copy.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
from collections.abc import Callable, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path

TIMEOUT = 120

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["tao_like.stages.train.stage", "tao_like.stages.lib.engines"])


def train_in_processes(
    task: str, results: Path, overrides: Sequence[str], *, count: int = 2, killed: int | None = None
) -> list[int | None]:
    """Trains in ``count`` processes; gives their exit codes, in their order.

    Args:
        task: such as ``detection``.
        results: the folder of the results.
        overrides: ``key=value`` texts.
        count: processes.
        killed: the process that is killed when its second epoch begins; None: none is.
    """
    words = [*overrides, f"results_dir={results}", f"train.num_gpus={count}"]
    port = _free_port()
    return _finished(
        [
            _context.Process(target=_train, args=(task, words, _variables(rank, count, port), rank == killed))
            for rank in range(count)
        ]
    )


def in_processes(work: Callable[[int, Path], None], folder: Path) -> list[int | None]:
    """Runs a function in two processes that can talk, with its process's number and a folder; exit codes."""
    port = _free_port()
    return _finished(
        [
            _context.Process(target=_talking, args=(work, rank, folder, _variables(rank, 2, port)))
            for rank in range(2)
        ]
    )


def _finished(processes: Sequence[BaseProcess]) -> list[int | None]:
    for process in processes:
        process.start()
    for process in processes:
        process.join(TIMEOUT)
    codes = [process.exitcode for process in processes]
    for process in processes:
        process.kill()
    return codes


def exit_code_of(target: Callable[..., None], *arguments: object) -> int | None:
    """Calls a function of a module in a process of its own; a negative code is the signal that ended it."""
    (code,) = _finished([_context.Process(target=target, args=arguments)])
    return code


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _variables(rank: int, count: int, port: int) -> dict[str, str]:
    """What torchrun sets for a process of one machine."""
    numbers = {
        "RANK": rank,
        "LOCAL_RANK": rank,
        "GROUP_RANK": 0,
        "WORLD_SIZE": count,
        "LOCAL_WORLD_SIZE": count,
        "MASTER_PORT": port,
    }
    return {name: str(value) for name, value in numbers.items()} | {
        "MASTER_ADDR": "127.0.0.1",
        "TORCHELASTIC_RUN_ID": "test",
    }


def _talking(work: Callable[[int, Path], None], rank: int, folder: Path, variables: dict[str, str]) -> None:
    os.environ.update(variables)
    import torch

    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo")
    work(rank, folder)


def _train(task: str, overrides: list[str], variables: dict[str, str], doomed: bool) -> None:
    """What one process does."""
    os.environ.update(variables)
    import torch

    import tao_like
    from tao_like.stages.train.loop import PhaseTraining

    torch.set_num_threads(1)
    train_epoch = PhaseTraining.train_epoch

    def train_or_die(training: PhaseTraining) -> None:
        if training.state.epoch == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        train_epoch(training)

    if doomed:
        PhaseTraining.train_epoch = train_or_die  # type: ignore[method-assign]
    tao_like.run(task, "train", None, overrides, quiet=True)
