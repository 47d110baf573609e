"""The blocks of Mask2Former. Names and defaults are TAO's where it has them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from tao_like.config import Problem, spec_field

GROUPS = 32
"""Of the group norms in the pixel decoder."""


class SwinSize(NamedTuple):
    """See the fields of ``SwinSpec``."""

    embed_dim: int
    depths: list[int]
    num_heads: list[int]


DEFAULT_SIZE = "tiny"
SWIN_SIZES: Mapping[str, SwinSize] = {
    DEFAULT_SIZE: SwinSize(96, [2, 2, 6, 2], [3, 6, 12, 24]),
    "small": SwinSize(96, [2, 2, 18, 2], [3, 6, 12, 24]),
    "base": SwinSize(128, [2, 2, 18, 2], [4, 8, 16, 32]),
    "large": SwinSize(192, [2, 2, 18, 2], [6, 12, 24, 48]),
}
"""Table 7 of the paper (Liu et al. 2021)."""
MODES = ("instance", "semantic", "panoptic")


@dataclass
class SwinSpec:
    """A Swin transformer of transformers' own, whose published weights fit. For ``backbone.type: swin``."""

    type: str | None = spec_field(
        None,
        "A published size; it says embed_dim, depths and num_heads, which then need not be given; empty: "
        "these say it",
        choices=tuple(SWIN_SIZES),
    )
    embed_dim: int = spec_field(96, "Channels at stride 4; they double at each of the next three", ge=8)
    depths: list[int] = spec_field([2, 2, 6, 2], "Layers of each of the four stages", element_gt=0)
    num_heads: list[int] = spec_field([3, 6, 12, 24], "Heads of attention of each stage", element_gt=0)
    window_size: int = spec_field(7, "Side of the windows of attention", ge=2, le=32)
    mlp_ratio: float = spec_field(4.0, "Hidden width of an MLP as a multiple of the channels", gt=0)
    drop_path_rate: float = spec_field(0.3, "Chance that a layer is skipped in training", ge=0, lt=1)

    def check(self) -> Iterator[Problem]:
        """Four stages."""
        for name in ("depths", "num_heads"):
            if len(getattr(self, name)) != 4:
                yield Problem(name, f"{getattr(self, name)} are not 4 numbers")
        own = SwinSize(self.embed_dim, self.depths, self.num_heads)
        if self.type and own not in (SWIN_SIZES[DEFAULT_SIZE], self.size):
            yield Problem(
                "type",
                f"{self.type} is embed_dim={self.size.embed_dim}, depths={self.size.depths} and "
                f"num_heads={self.size.num_heads}, and others are given; keep one of the two",
            )

    @property
    def size(self) -> SwinSize:
        """Channels, layers and heads."""
        return SWIN_SIZES[self.type] if self.type else SwinSize(self.embed_dim, self.depths, self.num_heads)


@dataclass
class PixelDecoderSpec:
    """From the backbone's maps to one at stride 4, by deformable attention. For ``arch: mask2former``."""

    convs_dim: int = spec_field(256, "Channels, a multiple of 32", ge=32, le=1024)
    mask_dim: int = spec_field(256, "Channels that queries are compared with", ge=8, le=1024)
    transformer_enc_layers: int = spec_field(6, "Layers of deformable attention", ge=1, le=12)
    dim_feedforward: int = spec_field(1024, "Hidden width of their MLPs", ge=8, le=8192)

    def check(self) -> Iterator[Problem]:
        """Group norms need whole groups."""
        if self.convs_dim % GROUPS:
            yield Problem("convs_dim", f"{self.convs_dim} is not a multiple of {GROUPS}")


@dataclass
class MaskFormerSpec:
    """The queries, each of which becomes an object or nothing, and their loss. For ``arch: mask2former``."""

    num_object_queries: int = spec_field(
        100, "Queries: at least twice the most objects on an image", ge=1, le=2000, automl=True
    )
    hidden_dim: int = spec_field(
        256, "Width of the decoder, a multiple of nheads", ge=16, le=1024, automl=True
    )
    nheads: int = spec_field(8, "Heads of attention", ge=1, le=64)
    dim_feedforward: int = spec_field(2048, "Hidden width of the MLPs", ge=8, le=8192)
    dec_layers: int = spec_field(
        10, "Predictions of the decoder: one before any layer, and one after each", ge=2, le=50, automl=True
    )
    dropout: float = spec_field(0.0, "Dropout", ge=0, lt=1)
    class_weight: float = spec_field(2.0, "Weight of the class's cross entropy", ge=0)
    mask_weight: float = spec_field(5.0, "Weight of the mask's cross entropy", ge=0)
    dice_weight: float = spec_field(5.0, "Weight of the mask's Dice", ge=0)
    no_object_weight: float = spec_field(0.1, "Weight of queries without an object in cross entropy", gt=0)
    train_num_points: int = spec_field(12544, "Points of a mask that the loss looks at", ge=1)
    oversample_ratio: float = spec_field(3.0, "So many times as many are drawn", ge=1)
    importance_sample_ratio: float = spec_field(
        0.75, "Fraction of the points that are the most uncertain of these", ge=0, le=1
    )
    deep_supervision: bool = spec_field(True, "Every layer's prediction is part of the loss")
    region_classes: list[str] = spec_field(
        [],
        "Classes whose pixels on an image are one region, not objects (sky, road), in mode panoptic; empty: "
        "those that COCO's panoptic file or the label map says are no things. In mode semantic all classes "
        "are",
    )

    def check(self) -> Iterator[Problem]:
        """Heads share the width evenly."""
        if self.hidden_dim % self.nheads:
            yield Problem("hidden_dim", f"{self.hidden_dim} is not a multiple of nheads={self.nheads}")
