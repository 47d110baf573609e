"""The spec of images out of sentences. TAO has no such task; names are those of its other networks."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from tao_like.config import Problem, spec_block, spec_field
from tao_like.config.blocks.captions import CaptionDataSpec
from tao_like.config.blocks.common import CommonSpec
from tao_like.config.blocks.split_data import (
    batch_size_field,
    cache_field,
    pixel_range_field,
    pixel_range_problems,
    shuffle_field,
    workers_field,
)
from tao_like.runtime.choices import PREDICTIONS, SAMPLERS, SCHEDULES, VARIANCES
from tao_like.tasks.common.spec_checks import keep_problems
from tao_like.tasks.text_to_image.noised_clip.spec import NoisedClipSpec
from tao_like.tasks.text_to_image.spec_blocks.stages import (
    JOURNEYS,
    OPTIMISE,
    GenerateEvaluateSpec,
    GenerateExportSpec,
    GenerateInferenceSpec,
    GenerateTrainSpec,
)
from tao_like.tasks.text_to_image.spec_blocks.unclip import UnclipSamplingSpec, UnclipSpec
from tao_like.tasks.text_to_image.spec_blocks.upsampler import UpsamplerSpec

DALLE, GLIDE, UNCLIP = "dalle", "glide", "unclip"
ARCHITECTURES = (DALLE, GLIDE, UNCLIP)
FSQ, GUMBEL = "fsq", "gumbel"
STAGES = ("dataset_check", "train", "evaluate", "inference", "prune", "export", "quantize", "compare")


@dataclass
class DalleSpec:
    """DALL-E: a dVAE makes codes of an image, and a transformer learns to say them after the caption."""

    quantizer: str = spec_field(
        FSQ,
        "How codes come to be: fsq rounds a few numbers (Mentzer et al. 2023); gumbel is the paper's relaxed "
        "choice among `codes`, see train.gumbel",
        choices=(FSQ, GUMBEL),
    )
    levels: list[int] = spec_field(
        [8, 6, 5],
        "For fsq: levels of each dimension of a code; their product is the number of codes",
        element_ge=2,
    )
    codes: int = spec_field(256, "For gumbel: the number of codes (8,192 in the paper)", ge=2, le=65536)
    dvae_width: int = spec_field(48, "Channels of the dVAE's first group; each group has twice as many", ge=4)
    dvae_groups: int = spec_field(
        2, "Groups of the dVAE: the codes' grid is the image's side over 2 ^ (groups - 1)", ge=1, le=6
    )
    dvae_blocks: int = spec_field(2, "Residual blocks of a group", ge=1, le=8)
    width: int = spec_field(64, "Channels of the transformer", ge=8, automl=True)
    layers: int = spec_field(2, "Layers of the transformer", ge=1, automl=True)
    heads: int = spec_field(4, "Attention heads; they divide the width", ge=1)
    attention: str = spec_field(
        "full",
        "What a code sees of those before it: all; or, as in the paper, row, column or neighborhood by layer",
        choices=("full", "sparse"),
    )
    caption_sum: bool = spec_field(
        True,
        "Add the sum of the caption's words at every place of the image: not in DALL-E, and small networks "
        "learn far faster with it",
    )

    @property
    def code_count(self) -> int:
        """Codes that there are."""
        return self.codes if self.quantizer == GUMBEL else math.prod(self.levels)

    def check(self) -> Iterator[Problem]:
        """Heads divide the width; there is a dimension."""
        if self.width % self.heads:
            yield Problem("heads", f"{self.heads} does not divide width={self.width}; give one that does")
        if not self.levels:
            yield Problem("levels", "is empty; give the levels of each dimension, such as [8, 6, 5]")


@dataclass
class GlideSpec:
    """GLIDE: a U-Net that takes noise away, and sees the caption through a text transformer.

    unCLIP's decoder has the same U-Net, and no text transformer of its own: `text_*` are glide's alone.
    """

    channels: int = spec_field(32, "Channels of the first level", ge=8, automl=True)
    multipliers: list[int] = spec_field(
        [1, 2], "Channels of each level over `channels`; every level halves the side", element_ge=1
    )
    blocks: int = spec_field(1, "Residual blocks a level", ge=1, le=8)
    attention: list[int] = spec_field(
        [2], "How often the side is halved where attention sits: 1 is the whole image", element_ge=1
    )
    head_channels: int = spec_field(16, "Channels of an attention head; they divide those of its level", ge=1)
    dropout: float = spec_field(0.0, "Dropout in the residual blocks", ge=0, lt=1)
    patch: int = spec_field(
        2, "Pixels of this side are one place with more channels (space to depth); 1: as in GLIDE", ge=1, le=8
    )
    coordinates: bool = spec_field(
        True,
        "Two more channels that say where a place is: not in GLIDE; words of place are learnt sooner",
    )
    caption_sum: bool = spec_field(
        False,  # as in GLIDE, and in bundles from before this key
        "Add a vector of each of the caption's words to the timestep's: not in GLIDE; small networks learn "
        "faster with it",
    )
    inpaint: bool = spec_field(
        False,
        "Train it to paint into holes too: four more channels say what is known of the image, and a further "
        "phase, `train.inpaint`, teaches what they mean",
    )
    noised_clip: NoisedClipSpec = spec_block(NoisedClipSpec, "For guidance by a CLIP, beside that without")
    text_width: int = spec_field(64, "Channels of the text transformer", ge=8)
    text_layers: int = spec_field(1, "Its layers", ge=1)
    text_heads: int = spec_field(4, "Its attention heads; they divide its width", ge=1)

    def check(self) -> Iterator[Problem]:
        """Heads divide widths; attention sits on levels that there are."""
        if self.text_width % self.text_heads:
            rule = f"{self.text_heads} does not divide text_width={self.text_width}"
            yield Problem("text_heads", f"{rule}; give one that does")
        if not self.multipliers:
            yield Problem("multipliers", "is empty; give one number a level, such as [1, 2]")
            return
        levels = [2**level for level in range(len(self.multipliers))]
        if unknown := sorted(set(self.attention).difference(levels)):
            yield Problem("attention", f"{unknown} is on no level; these have {levels}")
        widths = [self.channels * multiplier for multiplier in self.multipliers]
        if any(width % min(self.head_channels, width) for width in widths):
            yield Problem(
                "head_channels", f"{self.head_channels} does not divide all of the levels' channels {widths}"
            )


@dataclass
class DiffusionSpec:
    """The noise that a diffusion model learns to take away; a trained model keeps its own."""

    steps: int = spec_field(1000, "Steps of the whole process", ge=2, le=100000)
    schedule: str = spec_field(
        "squaredcos_cap_v2", "How noise grows: by a squared cosine, or linearly", choices=SCHEDULES
    )
    prediction: str = spec_field(
        "v", "What the network says: the noise, v (Salimans and Ho 2022), or the image", choices=PREDICTIONS
    )
    variance: str = spec_field(
        "fixed_small",
        "Of the steps of sampling.sampler=ddpm: an end of its range, or learnt, by three more channels "
        "(Nichol and Dhariwal 2021)",
        choices=VARIANCES,
    )


@dataclass
class ModelSpec:
    """The network."""

    arch: str = spec_field(DALLE, "The kind of model", choices=ARCHITECTURES, aliases=("type",))
    image_size: int = spec_field(16, "Side of the images", unit="pixels", ge=8, le=1024)
    context_length: int = spec_field(
        16, "Tokens of a caption, with its start and end; what is longer is cut", unit="tokens", ge=3, le=4096
    )
    vocabulary_size: int = spec_field(
        8192, "Most words that are told apart: the most frequent of the training captions", ge=4, le=1000000
    )
    dalle: DalleSpec = spec_block(DalleSpec, "For `arch: dalle`")
    glide: GlideSpec = spec_block(GlideSpec, "For `arch: glide`, and the U-Net of unclip's decoder")
    unclip: UnclipSpec = spec_block(UnclipSpec, "For `arch: unclip`")
    diffusion: DiffusionSpec = spec_block(DiffusionSpec, "For `arch: glide` and `unclip`")
    upsampler: UpsamplerSpec = spec_block(UpsamplerSpec, "Larger images, for `arch: glide` and `unclip`")

    @property
    def output_size(self) -> int:
        """Side of the images that come out, in pixels, after all upsamplers."""
        return self.upsampler.sides[-1] if self.upsampler.sides else self.image_size

    def check(self) -> Iterator[Problem]:
        """The side can be halved as often as the network halves it; noise fits in its channels."""
        halved = 2 ** (self.dalle.dvae_groups - 1)
        if self.arch == DALLE and self.image_size % halved:
            yield Problem(
                "image_size", f"{self.image_size} is no multiple of {halved}, as dvae_groups wants it"
            )
        values = 3 * self.glide.patch**2
        width = self.glide.channels * (self.glide.multipliers[0] if self.glide.multipliers else 1)
        diffuses = self.arch in (GLIDE, UNCLIP)
        if diffuses and values > width and self.diffusion.prediction != "x0":
            yield Problem(
                "diffusion.prediction",
                f"{self.diffusion.prediction} has the network tell noise, {values} values a place of "
                f"glide.patch={self.glide.patch} pixels, which its {width} channels cannot hold; take x0, a "
                "smaller patch or more channels",
            )
        halved = self.glide.patch * 2 ** (len(self.glide.multipliers) - 1)
        if diffuses and self.image_size % halved:
            yield Problem(
                "image_size",
                f"{self.image_size} is no multiple of {halved}, as patch and multipliers want it",
            )
        if self.upsampler.sides and not diffuses:
            yield Problem("upsampler.sides", f"is for arch=glide or unclip, not {self.arch}")
        if self.glide.inpaint and self.arch != GLIDE:
            yield Problem("glide.inpaint", f"is for arch=glide, not {self.arch}")
        if self.glide.noised_clip.enable and self.arch != GLIDE:
            yield Problem("glide.noised_clip.enable", f"is for arch=glide, not {self.arch}")
        if self.unclip.pretrained_clip_path and self.arch != UNCLIP:
            yield Problem("unclip.pretrained_clip_path", f"is for arch=unclip, not {self.arch}")
        smaller = self.image_size
        for side in self.upsampler.sides:
            if side % smaller or side == smaller:
                yield Problem("upsampler.sides", f"{side} is no multiple of {smaller}, the side before it")
            smaller = side


@dataclass
class DatasetSpec:
    """The data."""

    train_dataset: CaptionDataSpec = spec_block(CaptionDataSpec, "Training data", aliases=("train",))
    val_dataset: CaptionDataSpec = spec_block(CaptionDataSpec, "Validation data", aliases=("val",))
    test_dataset: CaptionDataSpec = spec_block(CaptionDataSpec, "Test data", aliases=("test",))
    templates: list[str] = spec_field(
        ["a photo of a {}"], "Captions of class folders, {} is the name of the class"
    )
    attributes: dict[str, list[str]] = spec_field(
        {},
        "What images are judged by, each with its words, such as `color: [red, blue]`; empty: whether the "
        "nearest real image has the same caption",
    )
    batch_size: int | str = batch_size_field(default=64)
    workers: int | str = workers_field(default=0)
    shuffle: bool = shuffle_field()
    cache: str = cache_field()
    pixel_range: str = pixel_range_field()

    def check(self) -> Iterator[Problem]:
        """Numbers of `pixel_range` rise; an attribute has words to tell apart."""
        yield from pixel_range_problems(self.pixel_range)
        for name, words in self.attributes.items():
            if len(set(words)) < 2:
                yield Problem("attributes", f"{name} has {words}; give two words or more")
            if not name.isidentifier():
                yield Problem("attributes", f"{name!r} is no name; give letters, digits and underscores")


@dataclass
class SamplingSpec:
    """How a trained model makes images; an exported file keeps these as its own."""

    guidance_scale: float = spec_field(
        1.0,
        "s in e0 + s (e1 - e0) of what the network says without (e0) and with the caption (e1): 1: the plain "
        "network, 0: the caption is not heard, 3 is usual for glide",
        ge=0,
        le=100,
    )
    clip_guidance_scale: float = spec_field(
        0.0,
        "For glide with model.glide.noised_clip: factor of its gradient, which draws each step to the "
        "caption, beside guidance_scale; 0: it is not asked",
        ge=0,
        le=100,
    )
    steps: int = spec_field(20, "Steps of diffusion that are taken", ge=1, le=1000)
    upsampler_steps: int = spec_field(8, "The same of each upsampler, always of ddim", ge=1, le=1000)
    sampler: str = spec_field("ddim", "Kind of the steps", choices=SAMPLERS)
    eta: float = spec_field(0.0, "Fraction of new noise in each step of ddim", ge=0, le=1)
    temperature: float = spec_field(
        1.0, "For dalle: divides the logits of codes; 0: always the likeliest", ge=0, le=100
    )
    top_k: int = spec_field(0, "For dalle: so many of the likeliest codes alone; 0: all", ge=0)
    top_p: float = spec_field(
        1.0, "For dalle: the likeliest codes that have this probability together; 1: all", gt=0, le=1
    )
    unclip: UnclipSamplingSpec = spec_block(UnclipSamplingSpec, "For unclip: where the embedding comes from")


@dataclass
class Spec(CommonSpec):
    """Everything that a spec file of text_to_image may hold."""

    model: ModelSpec = spec_block(ModelSpec, "The network")
    dataset: DatasetSpec = spec_block(DatasetSpec, "The data")
    sampling: SamplingSpec = spec_block(SamplingSpec, "How images are made")
    clip_checkpoint: str | None = spec_field(
        None,
        "A trained model of the task clip, a bundle or its exported folder: it re-ranks images, and "
        "evaluate reports its score of them; what unclip stands on is model.unclip.pretrained_clip_path",
        path=True,
    )
    train: GenerateTrainSpec = spec_block(GenerateTrainSpec, "Training")
    evaluate: GenerateEvaluateSpec = spec_block(GenerateEvaluateSpec, "Evaluation")
    inference: GenerateInferenceSpec = spec_block(GenerateInferenceSpec, "Inference")
    export: GenerateExportSpec = spec_block(GenerateExportSpec, "Export to ONNX")

    def check(self) -> Iterator[Problem]:
        """A process has the steps that are taken of it."""
        arch, sampling = self.model.arch, self.sampling
        taken = {"steps": sampling.steps} if arch == GLIDE else {}
        if arch == UNCLIP:
            taken = {"steps": sampling.steps, "unclip.prior_steps": sampling.unclip.prior_steps}
        if self.model.upsampler.sides:
            taken["upsampler_steps"] = sampling.upsampler_steps
        for name, steps in taken.items():
            if steps > self.model.diffusion.steps:
                rule = f"{steps} is more than model.diffusion.steps={self.model.diffusion.steps}"
                yield Problem(f"sampling.{name}", rule)
        yield from self._check_images()
        yield from self._check_clip_guidance()
        for block, candidates in (("evaluate", self.evaluate.rerank), ("inference", self.inference.rerank)):
            if candidates > 1 and not self.clip_checkpoint:
                yield Problem(f"{block}.rerank", f"{candidates} needs clip_checkpoint, which says who ranks")
        val = self.dataset.val_dataset
        yield from keep_problems(self.train.keep, val.is_given, "dataset.val_dataset.images_dir")

    def _check_clip_guidance(self) -> Iterator[Problem]:
        if self.model.glide.noised_clip.enable:
            return
        needs = "needs the CLIP that model.glide.noised_clip.enable=true trains"
        if self.sampling.clip_guidance_scale:
            yield Problem("sampling.clip_guidance_scale", f"{self.sampling.clip_guidance_scale:g} {needs}")
        if self.evaluate.clip_guidance:
            yield Problem("evaluate.clip_guidance", needs)

    def _check_optimise(self) -> Iterator[Problem]:
        if not self.clip_checkpoint:
            yield Problem("inference.mode", "optimise needs clip_checkpoint, a bundle that says what fits")
        if self.inference.optimise.canvas == "codes" and self.model.arch != DALLE:
            yield Problem(
                "inference.optimise.canvas", f"codes are of model.arch=dalle, not {self.model.arch}"
            )

    def _check_images(self) -> Iterator[Problem]:
        """What is done to a given image is something that the architecture can do."""
        inference, arch = self.inference, self.model.arch
        if inference.mode == OPTIMISE:
            yield from self._check_optimise()
        if inference.mode in JOURNEYS and arch != UNCLIP:
            yield Problem(
                "inference.mode",
                f"{inference.mode} goes through embeddings, which only unclip has, not {arch}",
            )
        if self.evaluate.inpaint and arch != GLIDE:
            yield Problem("evaluate.inpaint", f"is for model.arch=glide, not {arch}")
        if self.evaluate.conditions and arch != UNCLIP:
            yield Problem("evaluate.conditions", f"is for model.arch=unclip, not {arch}")
        if arch == DALLE and inference.image:
            yield Problem(
                "inference.image", "is for model.arch=glide or unclip: dalle cannot change an image"
            )
        if arch == UNCLIP and (inference.mask or inference.strength is not None):
            yield Problem("inference.mask", "and strength are for model.arch=glide; give inference.mode")
