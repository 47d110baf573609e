"""Images for the tests of the datasets, made on the spot."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

Painter = Callable[..., Path]


@pytest.fixture
def paint() -> Painter:
    """Writes an image of colored blobs; another seed gives one that looks different."""

    def write(path: Path, seed: int = 0, size: tuple[int, int] = (48, 32), **save: object) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        image(seed, size).save(path, **save)
        return path

    return write


def image(seed: int, size: tuple[int, int] = (48, 32)) -> Image.Image:
    """Smooth colored structure, as photos have: eight by eight random colors, enlarged."""
    draw = random.Random(seed)
    colors = np.array(
        [[[draw.randrange(256) for _ in range(3)] for _ in range(8)] for _ in range(8)], np.uint8
    )
    return Image.fromarray(colors).resize(size, Image.Resampling.BICUBIC)
