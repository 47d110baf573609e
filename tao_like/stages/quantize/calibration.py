"""Ranges of the values between the layers, from training samples."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime

from tao_like.errors import ConversionError
from tao_like.runtime.session import graph_session
from tao_like.stages.lib.graphs.folding import float_tensors

BINS = 2048
"""Bins of a histogram, as in TensorRT's entropy calibration."""
LEVELS = 128
"""Levels that entropy compares with: those of one sign of int8."""
STRIDE = 8
"""Bins between two ranges that entropy tries; each bin costs eight times as long and moves them little."""

Feed = Mapping[str, npt.NDArray[Any]]
Array = npt.NDArray[np.float64]


@dataclass
class Spread:
    """How the values of one tensor are spread.

    Attributes:
        low: smallest value. high: largest value.
        counts: histogram over ``low`` to ``high``; empty where none is needed.
    """

    low: float = np.inf
    high: float = -np.inf
    counts: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))


def calibrate(
    model: onnx.ModelProto,
    tensors: set[str],
    feeds: Callable[[], Iterable[Feed]],
    algorithm: str,
    percentile: float,
) -> dict[str, tuple[float, float]]:
    """The range of each tensor.

    Values are looked at one feed at a time, and nothing of them is kept but extremes and histograms, so
    memory does not grow with the number of samples. The histograms take a second pass.

    Args:
        model: folded, with the shapes of its tensors.
        tensors: names; those that are not float are left out.
        feeds: gives the same inputs at every call.
        algorithm: ``minmax``: all values fit; ``percentile``: all but the outermost; ``entropy``: the
            clipping that keeps most information (Migacz, 8-bit inference with TensorRT, 2017).
        percentile: fraction of the values inside, 50 to 100 percent, for ``percentile``.

    Raises:
        ConversionError: a value is not a number, or infinite.
    """
    session = watch(model, tensors)
    spreads = {value.name: Spread() for value in float_tensors(model, tensors)}
    for feed in feeds():
        for name, values in watched_values(session, feed, spreads):
            # numpy's minimum, unlike min(), lets a value that is not a number through.
            spreads[name].low = float(np.minimum(spreads[name].low, values.min()))
            spreads[name].high = float(np.maximum(spreads[name].high, values.max()))
    for name, spread in spreads.items():
        if not np.isfinite([spread.low, spread.high]).all():
            raise ConversionError(f"the network's values at {name} are not finite, so they have no range")
    if algorithm == "minmax":
        return {name: (spread.low, spread.high) for name, spread in spreads.items()}
    for feed in feeds():
        for name, values in watched_values(session, feed, spreads):
            _count(spreads[name], values)
    if algorithm == "percentile":
        return {name: percentile_range(spread, percentile) for name, spread in spreads.items()}
    return {name: entropy_range(spread) for name, spread in spreads.items()}


def watch(model: onnx.ModelProto, tensors: set[str]) -> onnxruntime.InferenceSession:
    """A session that gives the tensors beside its outputs."""
    watching = onnx.ModelProto()
    watching.CopyFrom(model)
    outputs = {output.name for output in model.graph.output}
    inputs = {value.name for value in model.graph.input}
    watching.graph.output.extend(
        value for value in float_tensors(model, tensors) if value.name not in outputs | inputs
    )
    return graph_session(watching.SerializeToString())


def watched_values(
    session: onnxruntime.InferenceSession, feed: Feed, wanted: Collection[str]
) -> Iterator[tuple[str, npt.NDArray[Any]]]:
    """The wanted tensors of one run; an input may be one of them."""
    outputs = [output.name for output in session.get_outputs()]
    found = dict(feed) | dict(zip(outputs, session.run(outputs, dict(feed)), strict=True))
    return ((name, values) for name, values in found.items() if name in wanted and values.size)


def _count(spread: Spread, values: npt.NDArray[Any]) -> None:
    if spread.high > spread.low:
        counts, _ = np.histogram(values, BINS, range=(spread.low, spread.high))
        spread.counts = counts if not spread.counts.size else spread.counts + counts


def percentile_range(spread: Spread, percentile: float) -> tuple[float, float]:
    """The narrowest range with equal fractions of the values below and above it."""
    if not spread.counts.size:
        return spread.low, spread.high
    outside = (100 - percentile) / 200 * spread.counts.sum()
    below = np.cumsum(spread.counts)
    above = np.cumsum(spread.counts[::-1])
    first = int(np.searchsorted(below, outside, side="right"))
    last = BINS - int(np.searchsorted(above, outside, side="right"))
    width = (spread.high - spread.low) / BINS
    return spread.low + first * width, spread.low + last * width


def entropy_range(spread: Spread) -> tuple[float, float]:
    """The range whose clipping and rounding keep the distribution of magnitudes nearest to what it was.

    For each threshold the magnitudes above it join the last bin (P), the bins are joined to 128 levels and
    spread out again over those that are not empty (Q), and the divergence KL(P | Q) is compared.
    """
    if not spread.counts.size:
        return spread.low, spread.high
    largest = max(abs(spread.low), abs(spread.high))
    counts = _of_magnitudes(spread, largest)
    # The many exact zeros behind a ReLU lose nothing by rounding; they would drown all else.
    counts[0] = min(counts[0], counts[1])
    after = np.concatenate([np.cumsum(counts[::-1])[::-1], [0.0]])
    best, chosen = np.inf, BINS
    for size in range(LEVELS, BINS + 1, STRIDE):
        divergence = _divergence(counts[:size], float(after[size]))
        if divergence < best:
            best, chosen = divergence, size
    limit = largest * chosen / BINS
    return max(spread.low, -limit), min(spread.high, limit)


def _of_magnitudes(spread: Spread, largest: float) -> Array:
    """The histogram of absolute values from 0 to ``largest``."""
    width = (spread.high - spread.low) / BINS
    centers = np.abs(spread.low + (np.arange(BINS) + 0.5) * width)
    return np.histogram(centers, BINS, range=(0, largest), weights=spread.counts.astype(float))[0]


def _divergence(inside: Array, clipped: float) -> float:
    """KL divergence between what is there and what 128 levels show of it."""
    total = inside.sum() + clipped
    there = inside > 0
    if not there.any():
        return np.inf
    level = np.arange(inside.size) * LEVELS // inside.size
    sums = np.bincount(level, weights=inside, minlength=LEVELS)
    filled = np.bincount(level, weights=there, minlength=LEVELS)
    shown = np.where(there, (sums / np.maximum(filled, 1))[level], 0.0) / inside.sum()
    wanted = inside.copy()
    wanted[-1] += clipped
    wanted /= total
    # Where clipped values land in an empty bin, nothing shows them: count a millionth there.
    shown = np.where(wanted > 0, np.maximum(shown, 1e-6), shown)
    use = wanted > 0
    return float((wanted[use] * np.log(wanted[use] / shown[use])).sum())
