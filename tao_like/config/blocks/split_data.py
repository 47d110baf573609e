"""What the dataset blocks of tasks with data in splits have in common."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tao_like.config.fields import Problem, spec_field


@dataclass
class SplitSpec:
    """How training data without splits of its own is divided."""

    val: float = spec_field(0.15, "Fraction for validation", ge=0, lt=1)
    test: float = spec_field(0.15, "Fraction for the test", ge=0, lt=1)
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


def batch_size_field(samples: str = "images", default: int | str = "auto", *, auto: bool = True) -> Any:
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


def workers_field(samples: str = "images", default: int | str = "auto") -> Any:
    """The key `workers`: a number or `auto`.

    Args:
        samples: what is loaded.
        default: a number or `auto`.
    """
    return spec_field(
        default,
        f"Processes that load {samples}; auto: by the processors",
        ge=0,
        le=1024,
        words=("auto",),
        aliases=("num_workers",),
    )


def shuffle_field() -> Any:
    """The key `shuffle`."""
    return spec_field(True, "New order in every epoch")


def cache_field() -> Any:
    """The key `cache`, for tasks on images."""
    return spec_field(
        "none", "Keep decoded images: in memory, on disk, or not", choices=("none", "ram", "disk")
    )


def on_error_field() -> Any:
    """The key `on_error`, for tasks on images."""
    return spec_field(
        "stop",
        "What follows from images that are not there, are empty or cannot be decoded: `stop`: an error "
        "names them; `skip`: they are left out, counted and named (each image is decoded once beforehand)",
        choices=("stop", "skip"),
    )


def pixel_range_field() -> Any:
    """The key `pixel_range`, for tasks on images."""
    return spec_field(
        "auto",
        "Values of 16-bit images that become black and white: `auto`: 0 and the largest of 8, 10, 12, 14 "
        "or 16 bits that the training images need; `full`: 0-65535; `percentile`: below which 0.5 and "
        "99.5 % of their values lie; or two numbers such as 0-4095",
        pattern=r"auto|full|percentile|\d+-\d+",
    )


def pixel_range_problems(value: str) -> Iterator[Problem]:
    """What is wrong with numbers of `pixel_range`."""
    low, dash, high = value.partition("-")
    if dash and not int(low) < int(high) <= 65535:
        yield Problem("pixel_range", f"{value} is not allowed; give the smaller number first, at most 65535")
