"""The check of 16-bit images: which values they use, and what becomes of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from tao_like.data.checks.findings import Finding
from tao_like.data.images.pixel_range import SIXTEEN_BITS, PixelRange, found_pixel_range
from tao_like.data.images.sample import ImageRecord
from tao_like.runtime.inputs.image import FULL_WINDOW, Window

KEY = "dataset.pixel_range"
DARK = 16
"""Images that use less than one part in so many of the window are nearly black."""


def pixel_value_findings(
    splits: Mapping[str, Sequence[ImageRecord]], setting: str, window: Window | None
) -> Iterator[Finding]:
    """What is to be said of a data set's 16-bit images.

    Args:
        splits: The images of each split.
        setting: The value of ``dataset.pixel_range``.
        window: What it came to; None: 0 and 65535.
    """
    low, high = window or FULL_WINDOW
    for split, records in splits.items():
        found = found_pixel_range([record.path for record in records])
        if found is None or not found.largest:
            continue
        if split == "train":
            yield from _of_training(found, setting, window)
        if found.percentiles[1] > high or (setting == "auto" and found.largest > high):
            yield Finding(
                "warning",
                "pixel_range_exceeded",
                f"16-bit images of {split} have values up to {found.largest}; {KEY}={setting} makes all "
                f"from {high:g} on white. Give a wider one, such as 0-{found.limit}",
            )
        elif (high - low) / max(1.0, found.percentiles[1] - low) > DARK:
            yield Finding(
                "warning",
                "dark_pictures",
                f"99.5 % of the values of 16-bit images of {split} lie below {found.percentiles[1]:g}, and "
                f"{high:g} is white: they are nearly black. {KEY}=percentile spreads them, or give two "
                f"numbers, such as 0-{max(1, round(found.percentiles[1]))}",
            )


def _of_training(found: PixelRange, setting: str, window: Window | None) -> Iterator[Finding]:
    if found.limit == SIXTEEN_BITS and window is None:
        return
    words = f"values up to {found.limit} only" if found.limit < SIXTEEN_BITS else "all of their range"
    told = f"16-bit images use {words} ({found.smallest} to {found.largest} in {found.images} of them)"
    if window is None:
        yield Finding(
            "warning",
            "pixel_range",
            f"{told}, and {KEY}={setting} takes 0 to {SIXTEEN_BITS} as black and white; with auto it would "
            f"be 0 to {found.limit}",
        )
        return
    yield Finding(
        "warning" if setting == "auto" else "info",
        "pixel_range",
        f"{told}; {KEY}={setting} takes {window[0]:g} to {window[1]:g} as black and white, in the exported "
        "file too",
    )
