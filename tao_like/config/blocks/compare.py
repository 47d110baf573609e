"""The block of a spec that puts models side by side."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tao_like.config import Problem, spec_field


@dataclass
class CompareSpec:
    """Puts bundles and ONNX files side by side: metrics, size, arithmetic, latency."""

    checkpoints: list[str] = spec_field(
        [],
        "Bundles and ONNX files, the first as the reference; empty: what train, prune, export and quantize "
        "left in results_dir",
        path=True,
    )
    split: str = spec_field(
        "test",
        "Data to score; `test` falls back to `val` where there is none",
        choices=("train", "val", "test"),
    )
    batch_size: int = spec_field(-1, "Samples at a time in scoring; -1: as dataset.batch_size", ge=-1)
    max_drop: float | None = spec_field(
        None,
        "Fail where a model loses more of the task's first metric against the first model; empty: never",
        ge=0,
        le=1,
    )
    rounds: int = spec_field(
        50, "Timed calls of each model, in turns; 0: no latencies", unit="rounds", ge=0, le=100000
    )
    throughput_batch: int = spec_field(8, "Samples a call for the throughput", ge=1)
    threads: int | str = spec_field(
        "auto", "Threads of one call on the CPU; auto: all processors", ge=1, words=("auto",)
    )
    results_dir: str | None = spec_field(
        None, "Folder of this stage's results; empty: `results_dir/compare`", path=True
    )

    def check(self) -> Iterator[Problem]:
        """-1 and positive numbers are batch sizes; zero is not."""
        if self.batch_size == 0:
            yield Problem("batch_size", "0 is not allowed; give -1 (as dataset.batch_size) or at least 1")
