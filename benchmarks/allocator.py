"""What it saves on a CPU to keep freed memory between training steps: the same steps with and without.

python benchmarks/allocator.py --pairs 5
"""

from __future__ import annotations

import argparse
import csv
import statistics
import subprocess
import sys
from pathlib import Path

STEPS = """
import resource, sys, time
import torch
from tao_like.networks.backbones.build import create_backbone
from tao_like.stages.train.setup.memory import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
network = create_backbone("tf_efficientnet_lite0", num_classes=2, img_size=224)
network = network.to(memory_format=torch.channels_last)
optimiser = torch.optim.SGD(network.parameters(), 0.01)
pixels = torch.rand(16, 3, 224, 224).to(memory_format=torch.channels_last)
def step():
    network(pixels).logsumexp(1).mean().backward()
    optimiser.step()
    optimiser.zero_grad()
for _ in range(3):
    step()
faults, started = resource.getrusage(resource.RUSAGE_SELF).ru_minflt, time.perf_counter()
for _ in range(20):
    step()
seconds, faults = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults
print(seconds / 20, faults / 20)
"""


def main() -> None:
    """Runs the comparison and writes its CSV."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".csv"))
    options = parser.parse_args()
    rows, ratios = [], []
    for pair in range(options.pairs):
        figures = {}
        for side in ("keep", "default") if pair % 2 else ("default", "keep"):
            command = [sys.executable, "-c", STEPS, side]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            figures[side] = tuple(float(word) for word in done.stdout.split())
        ratios.append(figures["keep"][0] / figures["default"][0])
        rows.append([pair, *(f"{value:.4g}" for side in ("keep", "default") for value in figures[side])])
        print(
            f"pair {pair}: {figures['keep'][0]:.3f} s kept, {figures['default'][0]:.3f} s default", flush=True
        )
    with options.output.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(
            ["pair", "keep_seconds", "keep_page_faults", "default_seconds", "default_page_faults"]
        )
        writer.writerows(rows)
        writer.writerow(["median_ratio", f"{statistics.median(ratios):.4f}", "", "", ""])
    print(f"median ratio of a step's time: {statistics.median(ratios):.3f}")


if __name__ == "__main__":
    main()
