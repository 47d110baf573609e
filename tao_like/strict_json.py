"""JSON from files that others may have made, read without the liberties that ``json`` takes."""

from __future__ import annotations

import json
import math
from typing import Any


def parse_strict_json(content: bytes) -> Any:
    """The value that UTF-8 bytes hold.

    Raises:
        ValueError: they are no JSON, a number is not finite, or an object has a key twice.
        RecursionError: it is nested too deep.
    """
    return json.loads(
        content.decode("utf-8"),
        parse_constant=_finite,
        parse_float=_finite,
        object_pairs_hook=_without_repetition,
    )


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is not a finite number")
    return value


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("an object has the same key twice")
    return values
