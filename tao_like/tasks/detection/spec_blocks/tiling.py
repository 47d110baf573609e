"""How big images are cut into tiles."""

from __future__ import annotations

from dataclasses import dataclass

from tao_like.config import spec_field


@dataclass
class TilingSpec:
    """Big images in tiles, for small objects. Inference and runtime join the predictions of all tiles."""

    enable: bool = spec_field(False, "Cut images that are larger than a tile")
    tile_width: int | None = spec_field(
        None, "Width of a tile; empty: the input's", unit="pixels of the image", ge=32, le=16384
    )
    tile_height: int | None = spec_field(
        None, "Height of a tile; empty: the input's", unit="pixels of the image", ge=32, le=16384
    )
    overlap: float = spec_field(
        0.2,
        "Fraction of a tile's sides that neighbours have in common, at least; best as wide as most objects",
        ge=0,
        le=0.8,
    )
    agreement: float = spec_field(
        0.5,
        "Intersection over union, on what two tiles both see, from which on their boxes are of one object",
        gt=0,
        le=1,
    )
