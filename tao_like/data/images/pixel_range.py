"""Which values the 16-bit images of a data set use, and which of them become black and white.

Cameras of 10, 12 or 14 bits write files of 16: taken over the whole range of these, their images are nearly
black.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tao_like.runtime.inputs.image import FULL_WINDOW, IMAGE_FORMATS, Window, deep_values
from tao_like.runtime.inputs.image.big_images import any_size, bytes_a_pixel, check_memory, open_image
from tao_like.runtime.inputs.shards import open_file

LOOKED_AT = 200
"""Images of a data set that are opened, spread evenly."""
READ = 64
"""Of these, the first so many of 16 bits are decoded."""
PERCENTILES = (0.5, 99.5)
SIXTEEN_BITS = 65535
LIMITS = (255, 1023, 4095, 16383)
"""Largest values of 8, 10, 12 and 14 bits."""
_MOST_PIXELS = 200_000
"""Of an image; of larger ones every second, third, ... row and column counts for the percentiles."""


@dataclass(frozen=True)
class PixelRange:
    """The values of the 16-bit images that were decoded.

    Attributes:
        images: how many these are.
        smallest: of all values.
        largest: of all values.
        percentiles: below which 0.5 and 99.5 percent of the values lie.
    """

    images: int
    smallest: int
    largest: int
    percentiles: Window

    @property
    def limit(self) -> int:
        """The largest value that the fewest bits of 8, 10, 12, 14 or 16 can hold."""
        return next((limit for limit in LIMITS if self.largest <= limit), SIXTEEN_BITS)


def found_pixel_range(paths: Sequence[Path]) -> PixelRange | None:
    """The values of some of a data set's 16-bit images; None: there is none among those looked at.

    Files that cannot be read are passed over: the check of the data names them.
    """
    step = max(1, len(paths) // LOOKED_AT)
    smallest, largest, spread = SIXTEEN_BITS, 0, []
    for path in paths[::step]:
        values = _values(path)
        if values is None:
            continue
        smallest, largest = min(smallest, int(values.min())), max(largest, int(values.max()))
        stride = max(1, round((values.shape[0] * values.shape[1] / _MOST_PIXELS) ** 0.5))
        spread.append(values[::stride, ::stride].ravel())
        if len(spread) == READ:
            break
    if not spread or smallest < 0 or largest > SIXTEEN_BITS:
        return None
    low, high = np.percentile(np.concatenate(spread), PERCENTILES).tolist()
    return PixelRange(len(spread), smallest, largest, (float(low), float(high)))


def _values(path: Path) -> np.ndarray | None:
    if path.exists() and not path.is_file():
        return None
    try:
        with open_file(path) as file, open_image(file, IMAGE_FORMATS) as image, any_size(image.size):
            check_memory(image.size, bytes_a_pixel(image, deep=True))
            return deep_values(image)
    except MemoryError:
        raise
    except Exception:  # Pillow's decoders raise almost anything on a damaged file, which is named elsewhere
        return None


def chosen_window(setting: str, paths: Sequence[Path]) -> Window | None:
    """The values that become black and white, by ``dataset.pixel_range``; None: 0 and 65535.

    Args:
        setting: ``auto``, ``full``, ``percentile``, or two numbers as ``0-4095``.
        paths: the training images.
    """
    if setting == "full":
        return None
    if setting not in ("auto", "percentile"):
        first, _, last = setting.partition("-")
        window = (float(first), float(last))
        return None if window == FULL_WINDOW else window
    found = found_pixel_range(paths)
    if found is None or not found.largest:
        return None
    if setting == "percentile":
        low, high = found.percentiles
        return (low, high) if low < high else None
    return None if found.limit == SIXTEEN_BITS else (0.0, float(found.limit))
