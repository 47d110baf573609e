"""Whether two outputs are the same: channel by channel, and by what rounding does to this very network."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tao_like.errors import ConversionError

Array = NDArray[np.generic]
_Floats = NDArray[np.float64]
_ROUNDINGS = 16
"""A difference of so many times what single precision does to the network is rounding still: onnxruntime
adds in another order, and the largest of many roundings is not always met."""
_STEP = float(np.finfo(np.float32).eps)
_MOST_CHANNELS = 1024


@dataclass(frozen=True)
class Comparison:
    """How far two runs were apart, in the channel of the output where it counts most.

    Attributes:
        batch: number of samples.
        what: the input: ``dummy_inputs`` or ``pictures``.
        output: name of the output.
        difference: largest difference in this channel, as a fraction of its largest magnitude.
        absolute: largest difference.
        rounding: the same share, of what single precision does to the network; None where that is not known.
        of_allowed: the difference over what is allowed in this channel; above 1 it is too large.
        channel: the channel, counted along ``axis``; None: the output is judged as a whole.
        axis: along which the output was divided.
    """

    batch: int
    what: str
    output: str
    difference: float
    absolute: float
    rounding: float | None = None
    of_allowed: float = 0.0
    channel: int | None = None
    axis: int | None = None


def channel_axis(shape: tuple[int, ...]) -> int | None:
    """The axis along which an output is divided: what it says of boxes is not to hide what it says of scores.

    Maps (N, C, H, W) have it in second place; of tables (N, boxes, values) or (N, values, boxes) it is the
    shorter axis. A row of scores (N, classes) is judged as a whole.
    """
    if len(shape) < 3:
        return None
    axis = 1 if len(shape) > 3 else (1 if shape[1] <= shape[2] else 2)
    return axis if 1 < shape[axis] <= _MOST_CHANNELS else None


def judged(
    name: str,
    expected: Array,
    actual: Array,
    exact: Array | None,
    *,
    coarse: Array | None = None,
    batch: int,
    what: str,
    tolerance: float,
) -> Comparison:
    """Compares an output with onnxruntime's.

    Args:
        name: of the output.
        expected: onnxruntime's.
        actual: the converted network's.
        exact: the converted network's in double precision; None where that cannot be had.
        coarse: the converted network's with the sigmoid of onnxruntime; None where it has none.
        batch: number of samples.
        what: what the inputs are.
        tolerance: the fraction of a channel's largest magnitude that is allowed in any case.

    Raises:
        ConversionError: their shapes differ, or the source gives no number at all.
    """
    if expected.shape != actual.shape:
        raise ConversionError(
            f"the output '{name}' has the shape {actual.shape} after conversion, and {expected.shape} in "
            "onnxruntime"
        )
    if expected.size == 0:
        return Comparison(batch, what, name, 0.0, 0.0)
    left, right = expected.astype(np.float64), actual.astype(np.float64)
    if not (finite := np.isfinite(left)).any():
        raise ConversionError(
            f"the output '{name}' of the source itself holds no number (NaN or infinity everywhere) on {what}"
        )
    axis = channel_axis(expected.shape)
    scale = _largest(np.abs(np.where(finite, left, 0.0)), axis)
    worst = _largest(_apart(left, right), axis)
    known = exact is not None and exact.shape == actual.shape
    rounded = [right] if coarse is None else [right, coarse.astype(np.float64)]
    rounding = 0 * scale
    if exact is not None and known:
        rounding = _rounding(exact.astype(np.float64), rounded, axis)
    fractions = _of_allowed(worst, scale, rounding, tolerance)
    channel = int(fractions.argmax())
    size = float(scale[channel]) or float(scale.max()) or _magnitude(right) or 1.0
    return Comparison(
        batch,
        what,
        name,
        difference=float(worst[channel]) / size,
        absolute=float(worst[channel]),
        rounding=float(rounding[channel]) / size if known else None,
        of_allowed=float(fractions[channel]),
        channel=None if axis is None else channel,
        axis=axis,
    )


def _rounding(exact: _Floats, rounded: Sequence[_Floats], axis: int | None) -> _Floats:
    """How far the coarsest way of rounding leads from the exact output, by channel."""
    apart = np.stack([_largest(_apart(exact, one), axis) for one in rounded])
    coarsest: _Floats = np.where(np.isfinite(apart), apart, 0.0).max(axis=0)
    return coarsest


def _largest(values: _Floats, axis: int | None) -> _Floats:
    """The largest value of each channel; of all where there is no such axis."""
    others = None if axis is None else tuple(one for one in range(values.ndim) if one != axis)
    return np.atleast_1d(values.max(axis=others))


def _magnitude(values: _Floats) -> float:
    return float(np.abs(np.where(np.isfinite(values), values, 0.0)).max(initial=0.0))


def _of_allowed(worst: _Floats, scale: _Floats, rounding: _Floats, tolerance: float) -> _Floats:
    """The largest difference of each channel as a fraction of what it may be.

    Args:
        worst: the largest difference of each channel.
        scale: its largest magnitude.
        rounding: what single precision does to it.
        tolerance: the fraction of its largest magnitude that is allowed in any case.
    """
    allowed = np.maximum(tolerance * scale, _ROUNDINGS * rounding) + _STEP * float(scale.max())
    fractions = np.where(worst == 0, 0.0, worst / np.where(allowed == 0, math.inf, allowed))
    is_endless = ((worst > 0) & (allowed == 0)) | ~np.isfinite(worst)
    return np.where(is_endless, math.inf, fractions)


def _apart(left: _Floats, right: _Floats) -> _Floats:
    """Differences; two infinities of a sign, or two that are no numbers, are the same."""
    same = (left == right) | (np.isnan(left) & np.isnan(right))
    with np.errstate(invalid="ignore"):
        return np.nan_to_num(np.where(same, 0.0, np.abs(left - right)), nan=np.inf)


def proof_report(
    shapes: Mapping[str, Sequence[int]], comparisons: Sequence[Comparison], tolerance: float
) -> dict[str, Any]:
    """What the report says of the comparisons."""
    return {
        "compared_at": {name: list(shape) for name, shape in shapes.items()},
        "comparisons": [asdict(item) for item in comparisons],
        "largest_difference": max(item.difference for item in comparisons),
        "tolerance": tolerance,
    }
