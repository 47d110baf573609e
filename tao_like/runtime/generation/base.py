"""What every way of generating has in common: it runs graphs many times, from seeds that are inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from tao_like.errors import BundleError, SpecError

Arrays = dict[str, npt.NDArray[Any]]
GraphCall = Callable[[str, Arrays], Arrays]
"""Runs a graph, by name, on its inputs by name; its outputs by name."""
IMAGE = "picture"
"""Name of what comes out: (N, H, W, 3) float32, 0 to 1."""
IMAGE_MEANING = "pictures, 0 to 1, of shape (N, height, width, 3)"
SEED = "seed"
"""Name of the input (N,) int64 from which a sample's random numbers are drawn, and nothing else."""
TEXT = "text"
"""Name of the input (N, T) int64: captions as tokens; 0 is padding."""


class Generator(Protocol):
    """How a model's graphs make an image of what its inputs are given.

    Attributes:
        kind: the word for it in a file.
    """

    kind: ClassVar[str]

    @property
    def graphs(self) -> tuple[str, ...]:
        """The names of those that it runs."""

    def run(self, call: GraphCall, given: Mapping[str, npt.NDArray[Any]]) -> Arrays:
        """The outputs for a batch.

        Args:
            call: runs a graph.
            given: the inputs by name, `SEED` among them.
        """

    def to_dict(self) -> dict[str, Any]:
        """What `generator_of` makes it of, as JSON."""

    def changed(self, **settings: Any) -> Generator:
        """The same with other settings, those that a user may choose. Raises SpecError."""

    def rehearsals(self) -> list[Generator]:
        """Itself, and where it does not run every graph, such as that for a given image, others that do."""


class Noise:
    """A stream of random numbers for each sample of a batch, from its seed alone.

    So a sample's image does not depend on what else is in the batch.

    Args:
        seeds: (N,) int64; a negative one is taken modulo 2**64.
    """

    def __init__(self, seeds: npt.NDArray[np.int64]) -> None:
        self._streams = [np.random.Generator(np.random.Philox(int(seed) % 2**64)) for seed in seeds]

    def normal(self, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
        """(N, *shape) float32, of the standard normal distribution."""
        return np.stack([stream.standard_normal(shape, dtype=np.float32) for stream in self._streams])

    def uniform(self) -> npt.NDArray[np.float64]:
        """(N,), from 0 to below 1."""
        return np.array([stream.random() for stream in self._streams])


def check_setting(name: str, value: Any, low: float, high: float) -> None:
    """Raises SpecError where a setting is no number of its range."""
    fits = isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high
    if not fits:
        raise SpecError(f"{name} is {value!r}; it must be a number from {low:g} to {high:g}.")


def unknown_settings(given: Mapping[str, Any], known: Mapping[str, Any], owner: str) -> None:
    """Raises SpecError where settings are given that this kind of model does not have."""
    if unknown := sorted(set(given).difference(known)):
        raise SpecError(
            f"{', '.join(unknown)} cannot be set for a model that {owner}; what can be: {', '.join(known)}."
        )


def required(values: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """The named values of a model's metadata, and no others. Raises BundleError."""
    if different := sorted(set(names).symmetric_difference(values)):
        raise BundleError(f"generation misses or adds the fields {', '.join(different)}.")
    return dict(values)
