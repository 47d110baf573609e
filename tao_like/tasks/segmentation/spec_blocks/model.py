"""The network of segmentation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tao_like.config import Problem, spec_block, spec_field

DECODERS = (
    "unet",
    "unetplusplus",
    "fpn",
    "linknet",
    "pspnet",
    "pan",
    "manet",
    "deeplabv3",
    "deeplabv3plus",
    "upernet",
    "segformer",
)
MIT_BACKBONES = tuple(f"mit_b{size}" for size in range(6))
"""SegFormer's own backbones, which timm lacks."""
LOSSES = ("ce", "dice", "ce_dice", "focal", "lovasz", "ohem", "tversky")
TAO_LOSSES = {"cross_entropy": "ce", "cross_dice_sum": "ce_dice", "CrossEntropyLoss": "ce"}


@dataclass
class BackboneSpec:
    """The network below the decoder."""

    type: str = spec_field(
        "tf_efficientnet_lite0",
        "Architecture: a name of timm's whose network gives features at several strides, TAO's name for one, "
        "mit_b0 to mit_b5 (SegFormer's), or byom: an imported segmenter with its own decoder (arch is not "
        "used)",
        automl=False,
    )
    pretrained_backbone_path: str | None = spec_field(
        None,
        "Weights of the backbone to start from: a .safetensors or .pth file, a bundle, `timm` (needs a "
        "network), `package:efficientnet_lite0` (or lite1, lite2); byom: the bundle of "
        "`tao-like byom convert`; empty: random weights",
        path=True,
    )
    freeze_backbone: bool = spec_field(False, "Train the decoder alone", automl=True)
    freeze_norm: bool = spec_field(
        False, "Keep the backbone's norm layers as the weights had them; good with small batches", automl=True
    )
    drop_path_rate: float = spec_field(0.0, "Stochastic depth, where the network has it", ge=0, lt=1)


@dataclass
class DecoderParamsSpec:
    """TAO's block of SegFormer's decoder."""

    embed_dim: int | None = spec_field(
        None,
        "Width of SegFormer's decoder; empty: the paper's, 256 over mit_b0 and mit_b1 and 768 over larger "
        "ones (256 over other backbones)",
        ge=8,
        le=2048,
    )


@dataclass
class DecodeHeadSpec:
    """The decoder."""

    channels: list[int] = spec_field(
        [],
        "Widths of the decoder: five, coarse to fine, for unet, unetplusplus and manet (256, 128, 64, 32, "
        "16); one for the others; empty: those of the papers",
        element_ge=4,
        element_le=2048,
    )
    decoder_params: DecoderParamsSpec = spec_block(DecoderParamsSpec, "SegFormer's decoder")


@dataclass
class LossSpec:
    """What a training lowers."""

    type: str = spec_field(
        "ce",
        "Cross entropy; Dice (Milletari 2016); both in sum; focal (Lin 2017); Lovasz-softmax (Berman 2018); "
        "cross entropy of the hardest pixels; Tversky (Salehi 2017)",
        choices=LOSSES,
        synonyms=TAO_LOSSES,
        automl=True,
    )
    class_weights: str = spec_field(
        "none",
        "Weights of the classes in cross entropy: all alike; by the logarithm of their frequency "
        "(ENet: 1 / ln(1.02 + f)); or the median frequency over their own. The training masks are counted",
        choices=("none", "log_frequency", "median_frequency"),
        automl=True,
    )
    weights: list[float] = spec_field(
        [], "Weights of the classes in their order, in the place of class_weights", element_ge=0
    )
    label_smoothing: float = spec_field(0.0, "Label smoothing of cross entropy", ge=0, lt=1, automl=True)
    dice_weight: float = spec_field(1.0, "Weight of Dice beside cross entropy in ce_dice", ge=0, automl=True)
    focal_gamma: float = spec_field(2.0, "Focal: how much easy pixels lose", ge=0, le=10, automl=True)
    ohem_threshold: float = spec_field(
        0.7, "OHEM: pixels whose class has less probability than this count", gt=0, le=1, automl=True
    )
    ohem_min_share: float = spec_field(
        0.1, "OHEM: fraction of the pixels that counts at least, the hardest", gt=0, le=1, automl=True
    )
    tversky_alpha: float = spec_field(0.3, "Tversky: weight of false positives", ge=0, le=1, automl=True)
    tversky_beta: float = spec_field(0.7, "Tversky: weight of false negatives", ge=0, le=1, automl=True)

    def check(self) -> Iterator[Problem]:
        """Weights are given in one way."""
        if self.weights and self.class_weights != "none":
            yield Problem("weights", f"is given together with class_weights={self.class_weights}; keep one")


@dataclass
class ModelSpec:
    """The network."""

    arch: str = spec_field("unet", "Decoder", choices=DECODERS)
    backbone: BackboneSpec = spec_block(BackboneSpec, "Backbone")
    decode_head: DecodeHeadSpec = spec_block(DecodeHeadSpec, "Decoder")
    loss: LossSpec = spec_block(LossSpec, "Loss")

    def check(self) -> Iterator[Problem]:
        """The decoder takes as many widths as are given."""
        widths = self.decode_head.channels
        wanted = 5 if self.arch in ("unet", "unetplusplus", "manet") else 1
        if widths and self.arch in ("linknet", "segformer"):
            key = "; give decode_head.decoder_params.embed_dim" if self.arch == "segformer" else ""
            yield Problem("decode_head.channels", f"{widths} is not allowed with {self.arch}{key}")
        elif widths and len(widths) != wanted:
            yield Problem("decode_head.channels", f"{widths} is not allowed with {self.arch}; give {wanted}")
