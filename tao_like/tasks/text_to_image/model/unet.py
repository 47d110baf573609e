"""The U-Net of GLIDE and unCLIP: residual blocks, and attention that text is joined to."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from tao_like.contract.model import InnerChannels
from tao_like.tasks.text_to_image.model.parts import Transformer, timestep_embedding, zero

GROUPS = 32


@dataclass(frozen=True)
class UNetSize:
    """How large a U-Net is.

    Attributes:
        channels: of the first level.
        multipliers: channels of each level over ``channels``; every level halves the side.
        blocks: residual blocks a level.
        attention: how often the side is halved where attention sits: 1 is the whole image.
        head_channels: channels of a head of attention.
        dropout: in the residual blocks.
        middle_attention: between the middle's two blocks.
        scale_shift: the timestep scales and shifts in the residual blocks; else it is added, as in the
            upsamplers of unCLIP's open form.
    """

    channels: int
    multipliers: tuple[int, ...]
    blocks: int
    attention: tuple[int, ...]
    head_channels: int = 64
    dropout: float = 0.1
    middle_attention: bool = True
    scale_shift: bool = True


def norm(channels: int) -> nn.GroupNorm:
    """Group norm with as many of the usual 32 groups as divide the channels."""
    groups = GROUPS
    while channels % groups:
        groups //= 2
    return nn.GroupNorm(groups, channels)


class ResBlock(nn.Module):
    """Two convolutions, between which the timestep's embedding takes part.

    Args:
        inputs: channels.
        embedding: width of the timestep's embedding.
        outputs: channels.
        dropout: before the last convolution.
        resize: ``up`` or ``down`` by 2; empty: the side stays.
        scale_shift: the embedding scales and shifts; else it is added.
    """

    def __init__(
        self,
        inputs: int,
        embedding: int,
        outputs: int,
        *,
        dropout: float = 0.0,
        resize: str = "",
        scale_shift: bool = True,
    ) -> None:
        super().__init__()
        self.resize = resize
        self.scale_shift = scale_shift
        self.norm1 = norm(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.embed = nn.Linear(embedding, 2 * outputs if scale_shift else outputs)
        self.norm2 = norm(outputs)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        zero(self.conv2)
        self.skip = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """(N, inputs, H, W) and (N, embedding) to (N, outputs, H', W')."""
        hidden = functional.silu(self.norm1(x))
        if self.resize == "up":
            x, hidden = (functional.interpolate(one, scale_factor=2.0) for one in (x, hidden))
        elif self.resize == "down":
            x, hidden = (functional.avg_pool2d(one, 2) for one in (x, hidden))
        hidden = self.conv1(hidden)
        embedded = self.embed(functional.silu(embedding))[:, :, None, None]
        if self.scale_shift:
            scale, shift = embedded.chunk(2, dim=1)
            hidden = functional.silu(self.norm2(hidden) * (1 + scale) + shift)
        else:
            hidden = functional.silu(self.norm2(hidden + embedded))
        return self.skip(x) + self.conv2(self.dropout(hidden))

    def inner_channels(self) -> InnerChannels:
        """Those between the convolutions; see `HasInnerChannels`."""
        times = 2 if self.scale_shift else 1
        return InnerChannels({self.conv1: 1, self.embed: times}, (self.conv2,), self.norm2)


class TextAttention(nn.Module):
    """Attention of an image's places to each other and to tokens that are joined to keys and values.

    Args:
        channels: of the image.
        head_channels: of a head.
        context: width of the tokens; None: there are none.
    """

    def __init__(self, channels: int, head_channels: int, context: int | None) -> None:
        super().__init__()
        self.heads = max(channels // head_channels, 1)
        self.norm = norm(channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.context = None if context is None else nn.Linear(context, 2 * channels)
        self.proj = zero(nn.Linear(channels, channels))

    def forward(self, x: Tensor, context: Tensor | None) -> Tensor:
        """(N, channels, H, W) and tokens (N, T, width) to the same shape as the image."""
        batch, channels, height, width = x.shape
        positions = self.norm(x).flatten(2).transpose(1, 2)
        query, key, value = self.qkv(positions).chunk(3, dim=-1)
        if self.context is not None and context is not None:
            more_keys, more_values = self.context(context).chunk(2, dim=-1)
            key, value = torch.cat([more_keys, key], dim=1), torch.cat([more_values, value], dim=1)
        query, key, value = (
            one.reshape(batch, -1, self.heads, channels // self.heads).transpose(1, 2)
            for one in (query, key, value)
        )
        mixed = functional.scaled_dot_product_attention(query, key, value)
        mixed = self.proj(mixed.transpose(1, 2).reshape(batch, height * width, channels))
        return x + mixed.transpose(1, 2).reshape(batch, channels, height, width)


class _Level(nn.Module):
    """A residual block, with attention after it or without."""

    def __init__(self, block: ResBlock, attention: TextAttention | None) -> None:
        super().__init__()
        self.block = block
        self.attention = attention

    def forward(self, x: Tensor, embedding: Tensor, context: Tensor | None) -> Tensor:
        x = self.block(x, embedding)
        return x if self.attention is None else self.attention(x, context)


class UNet(nn.Module):
    """A noisy image and a timestep to what the noise is made of.

    Args:
        size: of the network.
        inputs: channels of the image and what is joined to it.
        outputs: channels.
        context: width of text tokens; None: attention sees the image alone.
    """

    def __init__(self, size: UNetSize, inputs: int = 3, outputs: int = 3, context: int | None = None) -> None:
        super().__init__()
        self.size = size
        self.embedding_width = 4 * size.channels
        self.time = nn.Sequential(
            nn.Linear(size.channels, self.embedding_width),
            nn.SiLU(),
            nn.Linear(self.embedding_width, self.embedding_width),
        )
        channels = size.multipliers[0] * size.channels
        self.first = nn.Conv2d(inputs, channels, 3, padding=1)
        widths = [channels]
        self.down = nn.ModuleList()
        for level, multiplier in enumerate(size.multipliers):
            for _ in range(size.blocks):
                self.down.append(self._level(channels, multiplier * size.channels, 2**level, context))
                channels = multiplier * size.channels
                widths.append(channels)
            if level + 1 < len(size.multipliers):
                self.down.append(_Level(self._block(channels, channels, "down"), None))
                widths.append(channels)
        middle = TextAttention(channels, size.head_channels, context) if size.middle_attention else None
        self.middle = nn.ModuleList(
            [_Level(self._block(channels, channels), middle), _Level(self._block(channels, channels), None)]
        )
        self.up = nn.ModuleList()
        for level, multiplier in reversed(list(enumerate(size.multipliers))):
            for number in range(size.blocks + 1):
                wanted = multiplier * size.channels
                self.up.append(self._level(channels + widths.pop(), wanted, 2**level, context))
                channels = wanted
                if level and number == size.blocks:
                    self.up.append(_Level(self._block(channels, channels, "up"), None))
        self.last = nn.Sequential(norm(channels), nn.SiLU(), zero(nn.Conv2d(channels, outputs, 3, padding=1)))

    def _block(self, inputs: int, outputs: int, resize: str = "") -> ResBlock:
        size = self.size
        return ResBlock(
            inputs,
            self.embedding_width,
            outputs,
            dropout=size.dropout,
            resize=resize,
            scale_shift=size.scale_shift,
        )

    def _level(self, inputs: int, outputs: int, halvings: int, context: int | None) -> _Level:
        attends = halvings in self.size.attention
        attention = TextAttention(outputs, self.size.head_channels, context) if attends else None
        return _Level(self._block(inputs, outputs), attention)

    def forward(
        self, x: Tensor, timesteps: Tensor, extra: Tensor | None = None, context: Tensor | None = None
    ) -> Tensor:
        """The prediction.

        Args:
            x: (N, inputs, H, W).
            timesteps: (N,), 0 to 999.
            extra: (N, 4 * channels), added to the timestep's embedding; or None.
            context: (N, T, width): tokens that attention sees beside the image; or None.

        Returns:
            (N, outputs, H, W).
        """
        embedding = self.time(timestep_embedding(timesteps, self.size.channels))
        if extra is not None:
            embedding = embedding + extra
        x = self.first(x)
        kept = [x]
        for layer in self.down:
            x = layer(x, embedding, context)
            kept.append(x)
        for layer in self.middle:
            x = layer(x, embedding, context)
        for layer in self.up:
            if layer.block.resize == "up":
                x = layer(x, embedding, context)
            else:
                x = layer(torch.cat([x, kept.pop()], dim=1), embedding, context)
        return self.last(x)


class TextEncoder(nn.Module):
    """GLIDE's text transformer: places beyond a caption's end have an embedding of their own.

    Args:
        vocabulary: tokens.
        length: tokens of a caption, padding included.
        width: channels.
        layers, heads: of the transformer.
        outputs: width of the one vector that stands for the caption.
        caption_sum: add a vector of each word to that one, which does not depend on the word's neighbors.
    """

    def __init__(
        self,
        *,
        vocabulary: int,
        length: int,
        width: int,
        layers: int,
        heads: int,
        outputs: int,
        caption_sum: bool = False,
    ) -> None:
        super().__init__()
        self.words = nn.Embedding(vocabulary, outputs) if caption_sum else None
        if self.words is not None:
            nn.init.normal_(self.words.weight, std=0.02)
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.Parameter(torch.empty(length, width))
        self.padding = nn.Parameter(torch.empty(length, width))
        for parameter in (self.tokens.weight, self.positions, self.padding):
            nn.init.normal_(parameter, std=0.02)
        self.transformer = Transformer(width, layers, heads)
        self.norm = nn.LayerNorm(width)
        self.proj = nn.Linear(width, outputs)

    def forward(self, text: Tensor) -> tuple[Tensor, Tensor]:
        """Encodes captions.

        Args:
            text: (N, length) int64; 0 is padding.

        Returns:
            What each token has become, (N, length, width), and the caption's vector (N, outputs): that of
            the last place, as in the released code.
        """
        x = self.tokens(text) + self.positions
        x = torch.where((text != 0)[..., None], x, self.padding)
        x = self.norm(self.transformer(x))
        pooled = self.proj(x[:, -1])
        if self.words is not None:
            pooled = pooled + (self.words(text) * (text != 0)[..., None]).sum(dim=1)
        return x, pooled
