"""Handwritten digits as class folders: scikit-learn's copy of an UCI data set."""

from __future__ import annotations

import random
from collections import defaultdict
from pathlib import Path

import numpy as np
from PIL import Image

from tao_like.errors import DatasetError

SIDE = 32
FRACTIONS = {"train": 0.60, "val": 0.15, "test": 0.25}

README = """\
Handwritten digits
==================

1,797 scans of the digits 0 to 9 as grey PNG files, one folder a class, in train (60 %), val (15 %) and
test (25 %). The division is stratified and drawn at random, so the same 13 people wrote the digits of all
three: a score on test is about further digits of these people, not about other hands.

The scans have 8 x 8 pixels with 17 levels of brightness. They are enlarged to {side} x {side} pixels
(bicubic) and 256 levels, so that people can see them; this adds nothing to what they hold.

Source: Optical Recognition of Handwritten Digits, E. Alpaydin and C. Kaynak (1998), UCI Machine Learning
Repository, https://doi.org/10.24432/C50P49; the part that scikit-learn ships as sklearn.datasets.load_digits.
Licence: Creative Commons Attribution 4.0 (CC BY 4.0).

File names hold the scan's number in scikit-learn's order. Made with seed {seed}.
"""


def write_digits(folder: Path, seed: int = 0) -> Path:
    """Writes the scans as ``<split>/<digit>/<number>.png``, 32 x 32 pixels, grey, and a README.txt.

    The same seed gives the same files.

    Args:
        folder: Where to write; made when it is missing.
        seed: Seed of the division into train, val and test.

    Returns:
        The folder.

    Raises:
        DatasetError: scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ModuleNotFoundError as error:
        raise DatasetError(
            "the digits come with scikit-learn, which is not installed; pip install scikit-learn"
        ) from error
    scans = load_digits()
    images = np.rint(scans.images * (255 / 16)).astype(np.uint8)
    digits = [int(digit) for digit in scans.target]
    for split, indices in divide_digits(digits, seed).items():
        for digit in sorted(set(digits)):
            (folder / split / str(digit)).mkdir(parents=True, exist_ok=True)
        for index in indices:
            scan = Image.fromarray(images[index]).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
            scan.save(folder / split / str(digits[index]) / f"{index:04d}.png")
    (folder / "README.txt").write_text(README.format(side=SIDE, seed=seed), encoding="utf-8")
    return folder


def divide_digits(digits: list[int], seed: int) -> dict[str, list[int]]:
    """Indices of each split, the same fractions of every digit."""
    by_digit: defaultdict[int, list[int]] = defaultdict(list)
    for index, digit in enumerate(digits):
        by_digit[digit].append(index)
    divided: dict[str, list[int]] = {split: [] for split in FRACTIONS}
    draw = random.Random(seed)
    for digit in sorted(by_digit):
        indices = by_digit[digit]
        draw.shuffle(indices)
        first = round(len(indices) * FRACTIONS["train"])
        second = round(len(indices) * (FRACTIONS["train"] + FRACTIONS["val"]))
        divided["train"] += indices[:first]
        divided["val"] += indices[first:second]
        divided["test"] += indices[second:]
    return divided
