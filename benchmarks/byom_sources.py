"""Small networks of timm and transformers, with random weights, written as ONNX: files of other people.

Used by byom_path.py. No weights are downloaded; a configuration is small where its class allows it.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from tao_like.networks import _torchvision  # noqa: F401

# isort: split
import timm

SEED = 0
CLASSES = 5
_SPREAD = 0.02


@dataclass(frozen=True)
class Source:
    """A network that is exported.

    Attributes:
        make: builds it; its only output are logits or an embedding.
        side: of its images, in pixels.
        other: another side that it can take; 0: it is bound to one.
        unfused: exporters that fail on its fused attention (torch 2.13's: `is_causal` must be no tensor; or a
            view of what the decomposed attention gives); for them attention is written out, as its library
            offers.
    """

    make: Callable[[], nn.Module]
    side: int
    other: int = 0
    unfused: tuple[str, ...] = ()


class _First(nn.Module):
    """A network of transformers that gives one tensor."""

    def __init__(self, network: nn.Module, output: str) -> None:
        super().__init__()
        self.network, self.output = network, output

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """The output of this name."""
        result: torch.Tensor = getattr(self.network(pixel_values=pixels), self.output)
        return result


def _timm(name: str, **settings: Any) -> Callable[[], nn.Module]:
    return lambda: timm.create_model(name, num_classes=CLASSES, **settings)


def _hugging(name: str, output: str = "logits", **settings: Any) -> Callable[[], nn.Module]:
    """A class of transformers with a small configuration."""

    def make() -> nn.Module:
        import transformers

        kind = getattr(transformers, name)
        labels = {"num_labels": CLASSES} if output == "logits" else {"projection_dim": 8}
        return _First(kind(kind.config_class(**settings, **labels)), output)

    return make


_VIT = {"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 2}
_ENCODER = {
    **{"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64},
    **{"image_size": 32, "patch_size": 8},
}
TRANSFORMERS: dict[str, Source] = {
    "timm vit_tiny": Source(_timm("vit_tiny_patch16_224", **_VIT), 32),
    "timm deit_distilled": Source(_timm("deit_tiny_distilled_patch16_224", **_VIT), 32),
    "timm swin_tiny": Source(
        _timm(
            "swin_tiny_patch4_window7_224",
            **{"img_size": 64, "window_size": 4, "embed_dim": 16, "depths": (2, 2), "num_heads": (2, 4)},
        ),
        64,
    ),
    "timm beit_base": Source(_timm("beit_base_patch16_224", **_VIT), 32, unfused=("dynamo",)),
    "timm maxvit_pico": Source(_timm("maxvit_rmlp_pico_rw_256", img_size=64), 64, unfused=("dynamo",)),
    "timm eva02_tiny": Source(_timm("eva02_tiny_patch14_224", **_VIT), 32, unfused=("trace",)),
    "hf ViT": Source(_hugging("ViTForImageClassification", **_ENCODER), 32),
    "hf DeiT": Source(_hugging("DeiTForImageClassification", **_ENCODER), 32),
    "hf BEiT": Source(
        _hugging("BeitForImageClassification", use_relative_position_bias=True, **_ENCODER),
        32,
        unfused=("dynamo",),
    ),
    "hf Swin": Source(
        _hugging(
            "SwinForImageClassification",
            **{"image_size": 64, "embed_dim": 16, "depths": [2, 2], "num_heads": [2, 4], "window_size": 4},
        ),
        64,
        unfused=("dynamo",),
    ),
    "hf CLIP vision": Source(_hugging("CLIPVisionModelWithProjection", "image_embeds", **_ENCODER), 32),
    "hf DINOv2": Source(
        _hugging("Dinov2ForImageClassification", **{**_ENCODER, "patch_size": 8, "mlp_ratio": 2}), 32
    ),
    "hf SegFormer": Source(
        _hugging(
            "SegformerForImageClassification",
            **{"hidden_sizes": [16, 16, 32, 32], "depths": [1, 1, 1, 1], "num_attention_heads": [1, 1, 2, 2]},
        ),
        64,
        96,
    ),
}
CNNS: dict[str, Source] = {
    f"timm {name}": Source(_timm(name), 64, 96)
    for name in (
        *("resnet18", "mobilenetv3_small_050", "efficientnet_b0", "regnetx_002", "ghostnet_050"),
        *("convnext_atto", "densenet121", "hrnet_w18_small"),
    )
}
SOURCES = TRANSFORMERS | CNNS
VARIANTS = (
    *(("trace", 17, False), ("dynamo", 23, True), ("trace", 17, True), ("dynamo", 18, False)),
    *(("trace", 20, False), ("dynamo", 20, True)),
)
"""Exporter, opset, and whether the batch is open; the most telling first."""
CNN_VARIANTS = (("trace", 17, True), ("trace", 17, False))


def network(source: Source, *, fused: bool = True) -> nn.Module:
    """The network, its weights moved away from their start so that no two layers are equal."""
    torch.manual_seed(SEED)
    timm.layers.set_fused_attn(fused)
    made = source.make().eval()
    timm.layers.set_fused_attn(True)
    if not fused and isinstance(made, _First):
        made.network.set_attn_implementation("eager")  # type: ignore[operator]
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn_like(parameter) * _SPREAD)
    return made


def exported(source: Source, exporter: str, opset: int, *, open_batch: bool, open_size: bool) -> bytes:
    """The network as ONNX.

    Args:
        source: to export.
        exporter: ``trace`` or ``dynamo``.
        opset: of the operators.
        open_batch: any number of samples, else one.
        open_size: any height and width.
    """
    buffer = io.BytesIO()
    axes = ({0: "n"} if open_batch else {}) | ({2: "h", 3: "w"} if open_size else {})
    settings: dict[str, Any] = {"input_names": ["x"], "output_names": ["y"], "opset_version": opset}
    if exporter == "trace":
        settings |= {
            "dynamo": False,
            "dynamic_axes": {"x": axes, "y": {0: "n"}} if open_batch else {"x": axes},
        }
    else:
        settings |= {"dynamo": True, "external_data": False, "verbose": False}
        settings["dynamic_shapes"] = (dict.fromkeys(axes, torch.export.Dim.DYNAMIC),)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    example = torch.rand(2 if open_batch else 1, 3, source.side, source.side)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network(source, fused=exporter not in source.unfused), (example,), buffer, **settings
        )
    return buffer.getvalue()
