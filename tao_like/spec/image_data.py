"""What the dataset blocks of tasks on pictures have in common."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tao_like.spec.fields import Problem, spec_field


@dataclass
class SplitSpec:
    """How training data without splits of its own is divided."""

    val: float = spec_field(0.15, "Share for validation", ge=0, lt=1)
    test: float = spec_field(0.15, "Share for the test", ge=0, lt=1)
    seed: int = spec_field(0, "Seed of the division", ge=0)
    group_by: str = spec_field(
        "none",
        "What stays together: `none`, `folder`, or a regular expression with one group, matched on the path",
        path=True,
    )

    def check(self) -> Iterator[Problem]:
        """Something must remain to train on."""
        if self.val + self.test >= 1:
            yield Problem("val", f"val={self.val:g} and test={self.test:g} leave nothing to train on")


def batch_size_field() -> Any:
    """The key `batch_size`: a number or `auto`."""
    return spec_field(
        "auto",
        "Pictures a step and device; auto: what memory and amount of data allow",
        ge=1,
        words=("auto",),
        automl=True,
    )


def workers_field() -> Any:
    """The key `workers`: a number or `auto`."""
    return spec_field(
        "auto",
        "Processes that load pictures; auto: by the processors",
        ge=0,
        words=("auto",),
        aliases=("num_workers",),
    )


def shuffle_field() -> Any:
    """The key `shuffle`."""
    return spec_field(True, "New order in every epoch")


def cache_field() -> Any:
    """The key `cache`."""
    return spec_field(
        "none", "Keep decoded pictures: in memory, on disk, or not", choices=("none", "ram", "disk")
    )
