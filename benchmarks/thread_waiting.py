"""How long a training step takes by what torch's threads do while they wait: idle, and beside a busy process.

libgomp's threads spin while they wait for one another, and a spinning thread keeps the processor from the
one that it waits for. Each setting runs in a process of its own, all settings in turns.

    python benchmarks/thread_waiting.py
"""

from __future__ import annotations

import argparse
import csv
import os
import statistics
import subprocess
import sys
from pathlib import Path

SETTINGS: dict[str, dict[str, str]] = {
    "spinning (libgomp's default)": {},
    "passive": {"OMP_WAIT_POLICY": "PASSIVE"},
    "spins 1000": {"GOMP_SPINCOUNT": "1000"},
    "spins 10000": {"GOMP_SPINCOUNT": "10000"},
    "one thread": {"OMP_NUM_THREADS": "1"},
}
STEP = """
import statistics, sys, time
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
for _ in range(steps):
    began = time.perf_counter()
    torch.nn.functional.cross_entropy(network(images), labels).backward()
    optimizer.step()
    optimizer.zero_grad()
    seconds.append(time.perf_counter() - began)
print(statistics.median(seconds[2:]))
"""
BUSY = "while True: pass"
LOADS = {
    "efficientnet_lite0, 64 px, 32": ("efficientnet_lite0", 64, 32, 10),
    "the same, 224 px, 8": ("efficientnet_lite0", 224, 8, 5),
}


def step_seconds(settings: dict[str, str], load: tuple[str, int, int, int]) -> float:
    """The median of the steps of a process, in seconds."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))}
    command = [sys.executable, "-c", STEP, *map(str, load)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**kept, **settings})
    return float(done.stdout)


def main() -> None:
    """Measures all settings in turns, without and with a busy process, and writes the CSV."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".csv"))
    options = parser.parse_args()
    rows = []
    for name, load in LOADS.items():
        for busy in (0, 1):
            others = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(busy)]
            try:
                taken: dict[str, list[float]] = {setting: [] for setting in SETTINGS}
                for _ in range(options.rounds):
                    for setting, variables in SETTINGS.items():
                        taken[setting].append(step_seconds(variables, load))
            finally:
                for other in others:
                    other.kill()
                    other.wait()
            first = statistics.median(taken[next(iter(SETTINGS))])
            for setting, seconds in taken.items():
                median = statistics.median(seconds)
                rows.append([name, busy, setting, f"{median:.3f}", f"{median / first:.2f}"])
                print(*rows[-1], sep=", ", flush=True)
    with options.output.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(
            ["network, input, batch", "busy processes", "threads wait by", "seconds a step", "of spinning"]
        )
        writer.writerows(rows)


if __name__ == "__main__":
    main()
