"""How long a training step takes by what torch's threads do while they wait: idle, and beside a busy process.

libgomp's threads spin while they wait for one another, and a spinning thread keeps the processor from the
one that it waits for. Each setting runs in a process of its own, all settings in turns. A measurement is
written to the CSV as soon as it is there, and is not repeated when the script is started again.

    python benchmarks/thread_waiting.py                          # all that the CSV lacks
    python benchmarks/thread_waiting.py --busy 0 --load 1 --seconds 600   # one block, for ten minutes at most
    python benchmarks/thread_waiting.py --table                  # medians of what the CSV has

A process that is not done within ``--limit`` is ended, and its row has no seconds: it took longer than that.
"""

from __future__ import annotations

import argparse
import csv
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SETTINGS: dict[str, dict[str, str]] = {
    "spinning (libgomp's default)": {},
    "passive": {"OMP_WAIT_POLICY": "PASSIVE"},
    "spins 1000": {"GOMP_SPINCOUNT": "1000"},
    "spins 10000": {"GOMP_SPINCOUNT": "10000"},
    "one thread": {"OMP_NUM_THREADS": "1"},
    "tao-like": {"WATCHED": "1"},
    "tao-like, where the other program comes later": {"WATCHED": "later"},
}
STEP = """
import os, statistics, subprocess, sys, time
from contextlib import ExitStack
from tao_like.stages import runner
import torch
from tao_like.networks import _torchvision
import timm

backbone, side, batch, steps = sys.argv[1], *map(int, sys.argv[2:])
torch.manual_seed(0)
network = timm.create_model(backbone, num_classes=10).train().to(memory_format=torch.channels_last)
optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
images = torch.rand(batch, 3, side, side).to(memory_format=torch.channels_last)
labels = torch.randint(10, (batch,))
seconds = []
scope = ExitStack()
if "WATCHED" in os.environ:
    from tao_like.stages.lib.threads import threads_for_this_machine
    scope.enter_context(threads_for_this_machine())
if os.environ.get("WATCHED") == "later":
    other = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    scope.callback(other.kill)
    began = time.perf_counter()
    while time.perf_counter() - began < 3:
        torch.nn.functional.cross_entropy(network(images), labels).backward()
for _ in range(steps):
    began = time.perf_counter()
    torch.nn.functional.cross_entropy(network(images), labels).backward()
    optimizer.step()
    optimizer.zero_grad()
    seconds.append(time.perf_counter() - began)
scope.close()
print(statistics.median(seconds[2:]))
"""
BUSY = "while True: pass"
LOADS = {
    "efficientnet_lite0, 64 px, 32": ("efficientnet_lite0", 64, 32, 10),
    "the same, 224 px, 8": ("efficientnet_lite0", 224, 8, 5),
}


HEADER = ["load", "busy_processes", "waiting", "round", "seconds_a_step", "processors", "load_average"]
Key = tuple[str, str, str, str]
"""Load, busy processes, setting and round, as the CSV has them."""


def step_seconds(settings: dict[str, str], load: tuple[str, int, int, int], limit: float) -> float | None:
    """The median of the steps of a process, in seconds; None: it was not done within the limit."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))}
    command = [sys.executable, "-c", STEP, *map(str, load)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=True, env={**kept, **settings}, timeout=limit
        )
    except subprocess.TimeoutExpired:
        return None
    return float(done.stdout)


@contextmanager
def busy_processes(count: int) -> Iterator[None]:
    """Beside so many processes that compute all the time."""
    others = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(count)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def read_rows(file: Path) -> list[dict[str, str]]:
    """What has been measured so far."""
    if not file.is_file():
        return []
    with file.open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


def key_of(row: dict[str, str]) -> Key:
    """What a row has measured."""
    return row["load"], row["busy_processes"], row["waiting"], row["round"]


def wanted(options: argparse.Namespace) -> Iterator[Key]:
    """All measurements of the chosen blocks, settings in turns."""
    for place, load in enumerate(LOADS):
        for busy in (0, 1):
            if options.load in (None, place) and options.busy in (None, busy):
                for number in range(options.rounds):
                    for setting, variables in SETTINGS.items():
                        if busy or variables.get("WATCHED") != "later":
                            yield load, str(busy), setting, str(number)


def measure(options: argparse.Namespace) -> None:
    """Writes what the CSV lacks, until the time is over."""
    began = time.monotonic()
    known = {key_of(row) for row in read_rows(options.output)}
    if not options.output.is_file():
        with options.output.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerow(HEADER)
    for key in wanted(options):
        if key in known:
            continue
        if options.seconds and time.monotonic() - began > options.seconds:
            print("The time is over; start the script again to go on.")
            return
        load, busy, setting, _ = key
        average = os.getloadavg()[0]
        with busy_processes(0 if SETTINGS[setting].get("WATCHED") == "later" else int(busy)):
            seconds = step_seconds(SETTINGS[setting], LOADS[load], options.limit)
        row = [*key, "" if seconds is None else f"{seconds:.4f}", os.cpu_count(), f"{average:.2f}"]
        with options.output.open("a", newline="", encoding="utf-8") as file:
            csv.writer(file).writerow(row)
        print(*row, sep=", ", flush=True)


def print_table(rows: list[dict[str, str]]) -> None:
    """Medians by block and setting, and how they stand to spinning."""
    blocks = dict.fromkeys((row["load"], row["busy_processes"]) for row in rows)
    for block in blocks:
        taken: dict[str, list[float]] = {}
        for row in rows:
            if (row["load"], row["busy_processes"]) == block:
                # A process that was ended took longer than all others.
                seconds = float(row["seconds_a_step"] or "inf")
                taken.setdefault(row["waiting"], []).append(seconds)
        first = statistics.median(taken.get(next(iter(SETTINGS)), [float("nan")]))
        for setting, seconds in taken.items():
            median = statistics.median(seconds)
            print(f"{block[0]}, {block[1]} busy, {setting}: {median:.3f} s a step, {median / first:.2f}")


def main() -> None:
    """Measures what is lacking, and shows the medians."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--load", type=int, choices=range(len(LOADS)), help="one network and input alone")
    parser.add_argument("--busy", type=int, choices=(0, 1), help="idle, or beside a busy process, alone")
    parser.add_argument("--seconds", type=float, help="begin nothing new after so long")
    parser.add_argument("--limit", type=float, default=300, help="seconds after which a process is ended")
    parser.add_argument("--table", action="store_true", help="measure nothing")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".csv"))
    options = parser.parse_args()
    if not options.table:
        measure(options)
    print_table(read_rows(options.output))


if __name__ == "__main__":
    main()
