"""DALL-E's transformer over the tokens of a caption and the codes of an image."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from tao_like.tasks.text_to_image.model.parts import MLP

POSITION_STD = 0.3
"""Of the embeddings of rows and columns at the start: a small network then tells places apart at once."""
KERNEL = 11
"""Side of the neighborhood that convolutional attention sees (Ramesh et al. 2021, appendix B.1)."""


class CachedBlock(nn.Module):
    """A transformer's layer that can go on from the keys and values of the places before."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = MLP(width)

    def forward(self, x: Tensor, mask: Tensor, past: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """One step.

        Args:
            x: (N, S, width): the new places.
            mask: (S, T + S): 0 where a new place sees another, minus infinity where not.
            past: (N, 2, heads, T, width / heads): keys and values of the places before; None: none.

        Returns:
            (N, S, width), and keys and values of all places, as ``past``.
        """
        batch, _, width = x.shape
        head = width // self.heads
        query, key, value = (
            one.reshape(batch, -1, self.heads, head).transpose(1, 2)
            for one in self.qkv(self.norm1(x)).chunk(3, dim=-1)
        )
        kept = torch.stack([key, value], dim=1)
        if past is not None:
            kept = torch.cat([past, kept], dim=3)
        mixed = functional.scaled_dot_product_attention(query, kept[:, 0], kept[:, 1], attn_mask=mask)
        x = x + self.proj(mixed.transpose(1, 2).reshape(batch, -1, width))
        return x + self.mlp(self.norm2(x)), kept


def attention_mask(kind: str, text: int, grid: int, kernel: int = KERNEL) -> Tensor:
    """Which place sees which, for the inputs of a sequence of a caption and an image.

    The input at place t is token t - 1, and predicts token t; so does every place before. All of the image
    sees all of the caption; what it sees of the image differs by kind (appendix B.1 of the paper).

    Args:
        kind: ``full``: everything before; ``row``: as many places back as a row has; ``column``: the same
            column of the rows before; ``conv``: a neighborhood of ``kernel`` by ``kernel`` before.
        text: tokens of the caption.
        grid: side of the image's codes.
        kernel: odd.

    Returns:
        (text + grid², text + grid²) bool.
    """
    length = text + grid * grid
    position = torch.arange(length)
    causal = position[None, :] <= position[:, None]
    if kind == "full":
        return causal
    query, key = position[:, None] - text, position[None, :] - text
    in_text = key < 0
    if kind == "row":
        near = query - key <= grid
    elif kind == "column":
        near = (query - key) % grid == 0
    else:
        half = kernel // 2
        rows = torch.div(query, grid, rounding_mode="floor") - torch.div(key, grid, rounding_mode="floor")
        columns = query % grid - key % grid
        near = (rows <= half) & (columns.abs() <= half)
    return causal & (in_text | near)


def layer_kinds(layers: int, attention: str) -> list[str]:
    """The attention of each layer: ``full``, or ``sparse``: row, column, row, row and at last conv.

    In the paper's order a layer is a column's where its number is 2 modulo 4, and the last one is
    convolutional.
    """
    if attention == "full":
        return ["full"] * layers
    kinds = ["column" if number % 4 == 1 else "row" for number in range(layers)]
    kinds[-1] = "conv"
    return kinds


class DalleTransformer(nn.Module):
    """Predicts the tokens of a caption and the codes of its image, each from all before it.

    Args:
        vocabulary: tokens of captions; 0 is padding. Padding has a token of its own at every place.
        text_length: tokens of a caption, padding included.
        codes: of the dVAE.
        grid: side of the image's codes.
        width, layers, heads: of the transformer.
        attention: ``full`` or ``sparse``, see `layer_kinds`.
        caption_sum: at every place of the image the sum of the caption's word embeddings (a table of
            their own) is added. A departure from DALL-E, with which small networks learn what words mean
            far sooner.
    """

    def __init__(
        self,
        *,
        vocabulary: int,
        text_length: int,
        codes: int,
        grid: int,
        width: int,
        layers: int,
        heads: int,
        attention: str = "full",
        caption_sum: bool = True,
    ) -> None:
        super().__init__()
        self.vocabulary, self.text_length, self.codes, self.grid = vocabulary, text_length, codes, grid
        self.length = text_length + grid * grid
        # Words, a padding for each place, and the token that begins a sequence.
        self.text_tokens = nn.Embedding(vocabulary + text_length + 1, width)
        self.image_tokens = nn.Embedding(codes, width)
        self.text_positions = nn.Parameter(torch.empty(text_length, width).normal_(std=0.02))
        self.rows = nn.Parameter(torch.empty(grid, 1, width).normal_(std=POSITION_STD))
        self.columns = nn.Parameter(torch.empty(1, grid, width).normal_(std=POSITION_STD))
        self.caption = nn.Embedding(vocabulary, width) if caption_sum else None
        for table in (self.text_tokens, self.image_tokens, self.caption):
            if table is not None:
                nn.init.normal_(table.weight, std=0.02)
        self.blocks = nn.ModuleList(CachedBlock(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.text_head = nn.Linear(width, vocabulary + text_length)
        self.image_head = nn.Linear(width, codes)
        kinds = layer_kinds(layers, attention)
        self.mask_numbers = [sorted(set(kinds)).index(kind) for kind in kinds]
        seen = torch.stack([attention_mask(kind, text_length, grid) for kind in sorted(set(kinds))])
        masks = torch.zeros(seen.shape).masked_fill(~seen, float("-inf"))
        self.register_buffer("masks", masks, persistent=False)
        self.masks: Tensor

    def padded(self, text: Tensor) -> Tensor:
        """Captions (N, text_length) whose padding, 0, is a token of its own at every place."""
        positions = torch.arange(self.text_length, device=text.device) + self.vocabulary
        return torch.where(text == 0, positions, text)

    def embedded(self, text: Tensor, codes: Tensor) -> Tensor:
        """The inputs of the sequence up to the last code that is given, (N, text_length + C, width).

        The input at a place is the token before it and the position of what is to be predicted there.

        Args:
            text: (N, text_length); 0 is padding.
            codes: (N, C) with C less than grid².
        """
        batch, count = codes.shape
        begin = torch.full_like(text[:, :1], self.vocabulary + self.text_length)
        words = self.text_tokens(torch.cat([begin, self.padded(text)], dim=1))
        tokens = torch.cat([words[:, : self.text_length] + self.text_positions, words[:, -1:]], dim=1)
        tokens = torch.cat([tokens, self.image_tokens(codes)], dim=1)
        positions = (self.rows + self.columns).flatten(0, 1)[: count + 1]
        if self.caption is not None:
            positions = positions + self.caption_of(text)
        positions = positions.expand(batch, -1, -1)
        blank = positions.new_zeros(batch, self.text_length, positions.shape[-1])
        return tokens + torch.cat([blank, positions], dim=1)

    def caption_of(self, text: Tensor) -> Tensor:
        """The sum of a caption's word embeddings, (N, 1, width)."""
        assert self.caption is not None
        return (self.caption(text) * (text != 0)[..., None]).sum(dim=1, keepdim=True)

    def forward(self, text: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
        """A training pass.

        Args:
            text: (N, text_length) int64.
            codes: (N, grid²) int64.

        Returns:
            Logits of the caption's tokens (N, text_length, vocabulary + text_length) and of the codes
            (N, grid², codes).
        """
        x = self.embedded(text, codes[:, :-1])
        for block, number in zip(self.blocks, self.mask_numbers, strict=True):
            x, _ = block(x, self.masks[number])
        x = self.norm(x)
        return self.text_head(x[:, : self.text_length]), self.image_head(x[:, self.text_length :])

    def begin(self, text: Tensor) -> tuple[Tensor, Tensor]:
        """Reads captions.

        Args:
            text: (N, text_length).

        Returns:
            Logits of the first code (N, codes), and what `go_on` needs of the places so far,
            (N, layers, 2, heads, text_length + 1, width / heads).
        """
        codes = text.new_zeros(text.shape[0], 0)
        return self._run(self.embedded(text, codes), 0, None)

    def go_on(self, text: Tensor, code: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        """Takes in a code and predicts the next one.

        Args:
            text: (N, text_length): the captions.
            code: (N,): the last one.
            past: as `begin` or the last step gave it.

        Returns:
            Logits of the next code (N, codes), and the new ``past``.
        """
        start = past.shape[4]
        positions = (self.rows + self.columns).flatten(0, 1)[start - self.text_length].unsqueeze(0)
        x = self.image_tokens(code)[:, None] + positions
        if self.caption is not None:
            x = x + self.caption_of(text)
        return self._run(x, start, past)

    def _run(self, x: Tensor, start: int, past: Tensor | None) -> tuple[Tensor, Tensor]:
        kept = []
        end = start + x.shape[1]
        for number, block in enumerate(self.blocks):
            mask = self.masks[self.mask_numbers[number], start:end, :end]
            x, one = block(x, mask, None if past is None else past[:, number])
            kept.append(one)
        return self.image_head(self.norm(x[:, -1])), torch.stack(kept, dim=1)


def transformer_losses(
    logits: tuple[Tensor, Tensor], padded: Tensor, codes: Tensor, text_weight: float
) -> dict[str, Tensor]:
    """Cross-entropies: the caption's with a weight, the image's with the rest (in the paper 1/8, 7/8).

    Args:
        logits: of the transformer, for captions and for codes.
        padded: captions as its ``padded`` gives them, (N, text_length).
        codes: (N, C).
        text_weight: the caption's fraction, 0 to 1.
    """
    text_logits, code_logits = logits
    of_text = functional.cross_entropy(text_logits.flatten(0, 1), padded.flatten())
    of_image = functional.cross_entropy(code_logits.flatten(0, 1), codes.flatten())
    return {"text_loss": text_weight * of_text, "image_loss": (1 - text_weight) * of_image}
