"""What unCLIP has in a spec beyond the other architectures. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tao_like.config import Problem, spec_block, spec_field
from tao_like.runtime.choices import CONDITIONS, PRIORS


@dataclass
class StoredClipSpec:
    """What a bundle must know of a CLIP that was trained before, so that it needs that file no more."""

    sha256: str | None = spec_field(None, "Of the bundle that it came from; kept by a training")
    spec: dict[str, Any] = spec_field({}, "What describes its towers; kept by a training")
    image: dict[str, Any] = spec_field({}, "How its images are preprocessed; kept by a training")
    structure: dict[str, Any] = spec_field({}, "What pruning has left of its towers; kept by a training")


@dataclass
class UnclipSpec:
    """unCLIP: a CLIP, a prior from captions to its embeddings of images, and a decoder of these."""

    pretrained_clip_path: str | None = spec_field(
        None,
        "A bundle of the task clip on whose embeddings the prior and the decoder stand: there is no phase "
        "`clip` then, its tokenizer reads the captions, and it travels in the trained bundle; empty: a small "
        "CLIP is trained first. Another file than the top's clip_checkpoint, which judges images",
        path=True,
    )
    clip: StoredClipSpec = spec_block(StoredClipSpec, "What is kept of that bundle; leave it out")
    embedding: int = spec_field(64, "Length of CLIP's embeddings", ge=4, automl=True)
    clip_channels: list[int] = spec_field(
        [32, 64, 64],
        "Channels of the image tower's convolutions, each of which halves the side",
        element_ge=8,
    )
    text_width: int = spec_field(64, "Channels of CLIP's text tower", ge=8)
    text_layers: int = spec_field(2, "Its layers", ge=1)
    text_heads: int = spec_field(4, "Its attention heads; they divide its width", ge=1)
    caption_sum: bool = spec_field(
        False,  # as in bundles from before this key
        "Add a vector of each of the caption's words to CLIP's embedding of it and to what the prior hears: "
        "not in unCLIP; words that were never seen together find each other sooner",
    )
    prior: str = spec_field(
        "diffusion",
        "How the prior says an embedding: out of noise; or its principal components, rounded, one by one",
        choices=PRIORS,
    )
    prior_codes: int = spec_field(
        12,
        "For `autoregressive`: components that are kept, at most `embedding` (319 of 1,024 in the paper)",
        ge=1,
    )
    prior_buckets: int = spec_field(1024, "For `autoregressive`: values of each component", ge=2, le=65536)
    prior_width: int = spec_field(64, "Channels of the prior", ge=8, automl=True)
    prior_layers: int = spec_field(2, "Its layers", ge=1)
    prior_heads: int = spec_field(4, "Its attention heads; they divide its width", ge=1)
    tokens: int = spec_field(4, "Tokens that the embedding becomes for the decoder's attention", ge=1, le=64)

    def check(self) -> Iterator[Problem]:
        """Heads divide widths; the image tower has a layer."""
        if self.clip.sha256 and not self.pretrained_clip_path:
            yield Problem("clip", "is what a training keeps of pretrained_clip_path; leave it out")
        # The text tower of a CLIP that was trained before has heads of its own.
        for name in ("prior",) if self.pretrained_clip_path else ("text", "prior"):
            heads, width = getattr(self, f"{name}_heads"), getattr(self, f"{name}_width")
            if width % heads:
                yield Problem(f"{name}_heads", f"{heads} does not divide {name}_width={width}")
        if self.prior_width % 2:
            yield Problem("prior_width", f"{self.prior_width} is odd; half of it are sines, half cosines")
        if self.prior_codes > self.embedding and (self.clip.sha256 or not self.pretrained_clip_path):
            yield Problem("prior_codes", f"{self.prior_codes} is more than embedding={self.embedding}")
        if not self.clip_channels:
            yield Problem("clip_channels", "is empty; give one number a convolution, such as [32, 64, 64]")


@dataclass
class UnclipSamplingSpec:
    """How the decoder gets its embedding; an exported file keeps these as its own."""

    condition: str = spec_field(
        "prior",
        "prior: the prior draws it; text: the caption's own takes its place; caption: there is none, and the "
        "decoder hears the caption alone",
        choices=CONDITIONS,
    )
    prior_steps: int = spec_field(12, "Steps of the prior's sampler", ge=1, le=1000)
    prior_guidance_scale: float = spec_field(1.0, "As guidance_scale, for the prior", ge=0, le=100)
    candidates: int = spec_field(
        2, "Embeddings that are drawn, of which the nearest to the caption's is taken", ge=1, le=64
    )
