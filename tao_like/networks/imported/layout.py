"""How an imported network takes images: one, three or four channels, first or last."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tao_like.byom.conversion import Imported
from tao_like.byom.cuts import value_shapes
from tao_like.byom.source.shapes import IMAGE_AXES, IMAGE_CHANNELS, is_channels_last
from tao_like.errors import ConversionError, SpecError

SIZE_KEY = "dataset.img_size"
_COLORS = 3
_LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in a gray image (ITU-R BT.601), as Pillow has them."""


class ImageLayout(nn.Module):
    """Turns color images into what a foreign network takes.

    Args:
        channels: 1: a gray image; 4: the fourth channel is zero, the mean of what is normalized.
        channels_last: images are (N, H, W, C).
    """

    luma: Tensor

    def __init__(self, channels: int = _COLORS, *, channels_last: bool = False) -> None:
        super().__init__()
        self.channels, self.channels_last = channels, channels_last
        self.register_buffer("luma", torch.tensor(_LUMA).reshape(1, _COLORS, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Normalized images (N, 3, H, W) to (N, channels, H, W) or (N, H, W, channels)."""
        if self.channels < _COLORS:
            images = (images * self.luma).sum(1, keepdim=True)
        elif self.channels > _COLORS:
            images = torch.cat([images, torch.zeros_like(images[:, :1])], 1)
        return images.permute(0, 2, 3, 1) if self.channels_last else images

    def shape(self, size: tuple[int, int]) -> tuple[int, ...]:
        """The network's input for a height and width, without the batch."""
        return (*size, self.channels) if self.channels_last else (self.channels, *size)

    def notes(self) -> list[str]:
        """What to tell the user where the network does not take colors."""
        if self.channels == _COLORS:
            return []
        what = (
            "images are turned gray for it" if self.channels == 1 else "its fourth channel is given as zero"
        )
        return [f"the imported network takes images of {self.channels} channel(s): {what}"]


def image_layout(imported: Imported) -> ImageLayout:
    """How the only input of a network takes images.

    Raises:
        ConversionError: the network takes something else than one image.
    """
    names = imported.graph.inputs
    if len(names) != 1:
        raise ConversionError(f"a backbone takes one image; the imported network has {len(names)} inputs")
    declared = imported.graph.type_of(names[0]).shape or ()
    if len(declared) != IMAGE_AXES:
        raise ConversionError(f"a backbone takes images; the input '{names[0]}' has {len(declared)} axes")
    kind = imported.graph.type_of(names[0]).dtype
    if kind is not None and not kind.is_floating_point:
        raise ConversionError(f"a backbone takes images of floats; the input '{names[0]}' takes {kind}")
    last = is_channels_last(declared)
    channels = declared[3] if last else declared[1]
    if not isinstance(channels, int):
        return ImageLayout()
    if channels not in IMAGE_CHANNELS:
        raise ConversionError(
            f"a backbone takes images of 1, 3 or 4 channels; the input '{names[0]}' has {channels}"
        )
    return ImageLayout(channels, channels_last=last)


def shapes_at(imported: Imported, layout: ImageLayout, size: tuple[int, int]) -> dict[str, tuple[int, ...]]:
    """The shapes of all values of a network for images of a height and width.

    Raises:
        SpecError: the network cannot take images of this size.
    """
    try:
        return value_shapes(imported, [torch.zeros(1, *layout.shape(size))])
    except Exception as error:  # a graph that is bound to a size fails anywhere in torch
        declared = list(imported.graph.type_of(imported.graph.inputs[0]).shape or ())
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise SpecError(
            f"{SIZE_KEY}: the imported network cannot take images of {size[0]} x {size[1]} pixels; the file "
            f"says {declared} ({reason})"
        ) from error
