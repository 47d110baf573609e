"""What the dataset blocks of tasks with data in splits have in common."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tao_like.config.fields import Problem, spec_field


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


def batch_size_field(samples: str = "pictures", default: int | str = "auto", *, auto: bool = True) -> Any:
    """The key `batch_size`.

    Args:
        samples: what a batch is of.
        default: a number or `auto`.
        auto: whether `auto` is allowed.
    """
    meaning = f"{samples.capitalize()} a step and device"
    if auto:
        meaning += "; auto: what memory and amount of data allow"
    return spec_field(default, meaning, ge=1, words=("auto",) if auto else (), automl=True)


def workers_field(samples: str = "pictures", default: int | str = "auto") -> Any:
    """The key `workers`: a number or `auto`.

    Args:
        samples: what is loaded.
        default: a number or `auto`.
    """
    return spec_field(
        default,
        f"Processes that load {samples}; auto: by the processors",
        ge=0,
        words=("auto",),
        aliases=("num_workers",),
    )


def shuffle_field() -> Any:
    """The key `shuffle`."""
    return spec_field(True, "New order in every epoch")


def cache_field() -> Any:
    """The key `cache`, for tasks on pictures."""
    return spec_field(
        "none", "Keep decoded pictures: in memory, on disk, or not", choices=("none", "ram", "disk")
    )
