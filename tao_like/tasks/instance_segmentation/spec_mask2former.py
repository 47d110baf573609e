"""The blocks of Mask2Former. Names and defaults are TAO's where it has them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tao_like.config import Problem, spec_field

GROUPS = 32
"""Of the group norms in the pixel decoder."""
MODES = ("instance", "semantic", "panoptic")


@dataclass
class SwinSpec:
    """A Swin transformer of transformers' own, whose published weights fit. For ``backbone.type: swin``."""

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
        "Classes whose pixels on an image are one region, not objects (sky, road), in mode panoptic; in mode "
        "semantic all classes are",
    )

    def check(self) -> Iterator[Problem]:
        """Heads share the width evenly."""
        if self.hidden_dim % self.nheads:
            yield Problem("hidden_dim", f"{self.hidden_dim} is not a multiple of nheads={self.nheads}")


MOVED: Mapping[str, str] = {
    "model.backbone.pretrained_weights": "model.backbone.pretrained_backbone_path",
    "model.test_topk_per_image": "model.postprocess.max_detections",
}
IGNORED: Mapping[str, str] = {
    "model.export": "export is a stage",
    "model.mask_former.pre_norm": "norms follow attention, as in the published networks",
    **{
        f"model.backbone.swin.{name}": "fixed, as in the published networks"
        for name in (
            *("type", "patch_size", "qkv_bias", "qk_scale", "drop_rate", "attn_drop_rate", "ape"),
            *("patch_norm", "out_indices", "pretrain_img_size", "use_checkpoint", "out_features"),
        )
    },
    **{
        f"model.sem_seg_head.{name}": "fixed, or found from the data"
        for name in ("common_stride", "deformable_transformer_encoder_in_features", "num_classes", "norm")
    },
    "dataset.contiguous_id": "category ids need not be contiguous",
    "dataset.label_map": "the annotation file names its classes",
    "dataset.pixel_mean": "pixels are scaled as the weights need it",
    "dataset.pixel_std": "pixels are scaled as the weights need it",
    "train.clip_grad_norm_type": "gradients are clipped by their 2-norm",
    "train.clip_grad_type": "gradients are clipped as a whole",
    "train.iters_per_epoch": "an epoch is once through the data",
}
"""TAO's keys that mean nothing here, each with the reason."""
