"""The table of timm's architectures, read from a CSV file without importing torch or timm.

``timm_backbones.csv`` is written by ``benchmarks/make_backbone_table.py`` from the installed timm; it holds
one row for each architecture, with the facts of its default pretrained weights.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path

from tao_like.networks.weights.sources import weights_at_hand

TABLE_FILE = Path(__file__).with_name("timm_backbones.csv")
COLUMNS = (
    *("name", "family", "parameters", "input_size", "mean", "std", "interpolation", "crop_pct"),
    *("licence", "has_weights", "hub_id"),
)


@dataclass(frozen=True)
class Normalization:
    """How the pixels were preprocessed that a set of weights was trained on.

    Attributes:
        mean: One value a channel, subtracted from pixels in 0..1.
        std: One value a channel, divided by after that.
        interpolation: "bilinear", "bicubic", ...: how images are resized for evaluation.
        crop_pct: Fraction of the resized image's side that the center crop keeps, 0..1.
        input_size: Channels, height and width in pixels of the weights' own evaluation.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str
    crop_pct: float
    input_size: tuple[int, int, int]


@dataclass(frozen=True)
class BackboneRow:
    """One architecture of timm.

    Attributes:
        name: timm's name.
        family: The module of timm that it comes from.
        parameters: Number of trainable values with timm's default head (1000 classes for most).
        normalization: That of the default pretrained weights.
        licence: Of the default pretrained weights, in timm's words; empty where timm does not say.
        has_weights: Whether timm has pretrained weights for it.
        hub_id: Where the default weights are on the Hugging Face hub; empty where they are not there.
    """

    name: str
    family: str
    parameters: int
    normalization: Normalization
    licence: str
    has_weights: bool
    hub_id: str

    @property
    def offline(self) -> str | None:
        """Weights for it on this machine: a value of pretrained_backbone_path, or None."""
        return weights_at_hand(self.name, self.hub_id)


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(float(part) for part in text.split())


def _row(cells: dict[str, str]) -> BackboneRow:
    channels, height, width = (int(part) for part in cells["input_size"].split())
    return BackboneRow(
        name=cells["name"],
        family=cells["family"],
        parameters=int(cells["parameters"]),
        normalization=Normalization(
            mean=_numbers(cells["mean"]),
            std=_numbers(cells["std"]),
            interpolation=cells["interpolation"],
            crop_pct=float(cells["crop_pct"]),
            input_size=(channels, height, width),
        ),
        licence=cells["licence"],
        has_weights=cells["has_weights"] == "yes",
        hub_id=cells["hub_id"],
    )


@lru_cache(maxsize=1)
def rows_by_name() -> dict[str, BackboneRow]:
    """Return all rows by the architecture's name, in the order of the names."""
    with TABLE_FILE.open(encoding="utf-8", newline="") as file:
        return {cells["name"]: _row(cells) for cells in csv.DictReader(file)}


def backbone_table(pattern: str = "*") -> list[BackboneRow]:
    """Return the architectures whose name fits a pattern, in the order of their names.

    Args:
        pattern: With ``*``, ``?`` or ``[`` a shell pattern for the whole name ("resnet*"); else a part of
            the name ("lite"). Upper and lower case are the same.
    """
    wanted = pattern.lower()
    if not any(sign in wanted for sign in "*?["):
        wanted = f"*{wanted}*"
    return [row for name, row in rows_by_name().items() if fnmatchcase(name, wanted)]
