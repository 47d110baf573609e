"""What is trained to take noise away: GLIDE's network of pixels, and unCLIP's decoder and upsampler."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from tao_like.tasks.text_to_image.model.unet import TextEncoder, UNet, UNetSize


class GlideNetwork(nn.Module):
    """A noisy image, a timestep and a caption to the prediction of the noise, of v or of the image.

    Args:
        size: of the U-Net.
        text: the caption's transformer; its vector is as wide as the timestep's embedding.
        inputs: channels: 3, with what is joined to the image beside it.
        outputs: channels: 3, or 6 where the variance is learnt too.
        patch: pixels of this side are one place with as many more channels (space to depth): for a CPU.
        coordinates: two more channels, how far right and down a place is: words of place are learnt sooner.
    """

    def __init__(
        self,
        size: UNetSize,
        text: TextEncoder,
        *,
        inputs: int = 3,
        outputs: int = 3,
        patch: int = 1,
        coordinates: bool = False,
    ) -> None:
        super().__init__()
        self.patch, self.coordinates = patch, coordinates
        self.text = text
        more = 2 if coordinates else 0
        self.unet = UNet(size, inputs * patch**2 + more, outputs * patch**2, text.tokens.embedding_dim)
        with torch.no_grad():
            # What is known of an image begins without a say, as when GLIDE learns to paint in (section 3.2).
            self.unet.first.weight[:, 3 * patch**2 : inputs * patch**2] = 0

    def forward(self, x: Tensor, timesteps: Tensor, tokens: Tensor, pooled: Tensor) -> Tensor:
        """The prediction.

        Args:
            x: (N, inputs, H, W).
            timesteps: (N,), 0 to 999.
            tokens: (N, T, width): of `TextEncoder`.
            pooled: (N, 4 * channels): likewise.

        Returns:
            (N, outputs, H, W).
        """
        return in_patches(self.unet, x, timesteps, pooled, tokens, self.patch, self.coordinates)


def in_patches(
    unet: UNet,
    x: Tensor,
    timesteps: Tensor,
    extra: Tensor | None,
    context: Tensor | None,
    patch: int,
    coordinates: bool,
) -> Tensor:
    """What a U-Net says of an image (N, C, H, W) whose patches are places; the rest as of `GlideNetwork`."""
    if patch > 1:
        x = functional.pixel_unshuffle(x, patch)
    if coordinates:
        x = torch.cat([x, coordinates_of(x)], dim=1)
    found: Tensor = unet(x, timesteps, extra, context)
    return functional.pixel_shuffle(found, patch) if patch > 1 else found


def coordinates_of(x: Tensor) -> Tensor:
    """For each place of (N, C, H, W) how far right and down it is, -1 to 1: (N, 2, H, W)."""
    height, width = x.shape[-2:]
    down = torch.linspace(-1, 1, height, device=x.device, dtype=x.dtype).view(1, 1, height, 1)
    right = torch.linspace(-1, 1, width, device=x.device, dtype=x.dtype).view(1, 1, 1, width)
    both = torch.cat([right.expand(1, 1, height, width), down.expand(1, 1, height, width)], dim=1)
    return both.expand(x.shape[0], -1, -1, -1)


class UnclipDecoder(nn.Module):
    """A U-Net that sees CLIP's embedding of the image: in the timestep, and as further tokens.

    Args:
        size: of the U-Net.
        embedding: width of CLIP's embeddings.
        text_width: width of the text tower's tokens.
        context: width of the tokens that attention sees.
        tokens: how many stand for the embedding.
        outputs: channels.
        patch, coordinates: as of `GlideNetwork`.
    """

    def __init__(
        self,
        size: UNetSize,
        *,
        embedding: int,
        text_width: int,
        context: int,
        tokens: int = 4,
        outputs: int = 3,
        patch: int = 1,
        coordinates: bool = False,
    ) -> None:
        super().__init__()
        self.count, self.context = tokens, context
        self.patch, self.coordinates = patch, coordinates
        more = 2 if coordinates else 0
        self.unet = UNet(size, 3 * patch**2 + more, outputs * patch**2, context)
        self.nothing = nn.Parameter(torch.zeros(embedding))
        self.text_time = nn.Linear(embedding, 4 * size.channels)
        self.image_time = nn.Linear(embedding, 4 * size.channels)
        self.image_tokens = nn.Linear(embedding, tokens * context)
        self.text_tokens = nn.Linear(text_width, context)
        self.text_norm = nn.LayerNorm(context)

    def forward(self, x: Tensor, timesteps: Tensor, image: Tensor, text: Tensor, tokens: Tensor) -> Tensor:
        """The prediction.

        Args:
            x: (N, 3, H, W).
            timesteps: (N,), 0 to 999.
            image: (N, embedding): the image's; `nothing` where it is left out.
            text: (N, embedding): the caption's.
            tokens: (N, T, text_width): the text tower's.

        Returns:
            (N, outputs, H, W).
        """
        extra = self.image_time(image) + self.text_time(text)
        of_image = self.image_tokens(image).reshape(-1, self.count, self.context)
        context = torch.cat([of_image, self.text_norm(self.text_tokens(tokens))], dim=1)
        return in_patches(self.unet, x, timesteps, extra, context, self.patch, self.coordinates)
