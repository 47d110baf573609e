"""Whole-process seconds of `tao-like --help`, of a wrong key in a spec, and of Python alone, in turns.

python benchmarks/startup.py
"""

from __future__ import annotations

import argparse
import csv
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ENTRY = "from tao_like.cli.main import main; main()"


def seconds(command: list[str], expected: int) -> float:
    """Seconds of a command, which must end with the expected code."""
    started = time.perf_counter()
    ended = subprocess.run(command, capture_output=True, check=False)
    taken = time.perf_counter() - started
    assert ended.returncode == expected, ended.stderr.decode()
    return taken


def main() -> None:
    """Runs the comparison and writes its CSV."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".csv"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        spec = Path(folder) / "spec.yaml"
        spec.write_text("train: {num_epoch: 3}\n")
        commands = {
            "python alone": ([sys.executable, "-c", "pass"], 0),
            "tao-like --help": ([sys.executable, "-c", ENTRY, "--help"], 0),
            "a wrong key": ([sys.executable, "-c", ENTRY, "classification", "train", "-e", str(spec)], 2),
        }
        taken: dict[str, list[float]] = {name: [] for name in commands}
        for number in range(options.rounds + 1):
            for name, (command, expected) in commands.items():
                value = seconds(command, expected)
                if number:  # The first round warms the file cache.
                    taken[name].append(value)
    with options.output.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["command", "min_seconds", "median_seconds", "max_seconds"])
        for name, values in taken.items():
            row = [min(values), statistics.median(values), max(values)]
            writer.writerow([name, *(f"{value:.3f}" for value in row)])
            print(f"{name}: median {row[1]:.3f} s, {row[0]:.3f} to {row[2]:.3f}")


if __name__ == "__main__":
    main()
