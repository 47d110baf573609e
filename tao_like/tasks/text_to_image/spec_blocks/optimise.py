"""Images found by gradient, in a spec. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass

from tao_like.config import spec_field

CANVASES = ("pixels", "codes", "strokes")


@dataclass
class OptimiseSpec:
    """For `inference.mode: optimise`: what is changed until clip_checkpoint finds that it fits."""

    canvas: str = spec_field(
        "pixels",
        "pixels; for dalle codes, which its dVAE decodes (as VQGAN-CLIP); or strokes of a pen (as CLIPDraw)",
        choices=CANVASES,
    )
    steps: int = spec_field(200, "Steps along the gradient", ge=1, le=100000)
    lr: float = spec_field(0.05, "Size of the steps (of Adam)", gt=0, le=10)
    cutouts: int = spec_field(
        16, "Turned and moved parts of the image that are looked at in each step", ge=1, le=1024
    )
    strokes: int = spec_field(48, "For `strokes`: how many", ge=1, le=4096)
