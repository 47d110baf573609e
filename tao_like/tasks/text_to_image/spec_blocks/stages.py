"""What training, evaluation and inference of text_to_image have beyond other tasks'."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from tao_like.config import Problem, spec_block, spec_field
from tao_like.config.blocks.common import EvaluateSpec, ExportSpec, InferenceSpec, TrainSpec
from tao_like.runtime.choices import CONDITIONS, TURN
from tao_like.tasks.text_to_image.spec_blocks.optimise import OptimiseSpec

GENERATE, VARIATIONS, INTERPOLATE, TEXT_DIFFERENCE, PCA, TYPOGRAPHIC_ATTACK, OPTIMISE = MODES = (
    "generate",
    "variations",
    "interpolate",
    "text_difference",
    "pca",
    "typographic_attack",
    "optimise",
)
ROWS = (PCA, TYPOGRAPHIC_ATTACK)
"""Those whose images stand in rows, a given one first."""
WAYS = (INTERPOLATE, TEXT_DIFFERENCE)
"""Those whose images lie on a way."""
JOURNEYS = (VARIATIONS, *WAYS, *ROWS)
"""Those that begin with an image."""


@dataclass
class PhaseSpec:
    """One step of a training, where it is not as `train` says."""

    num_epochs: int | None = spec_field(None, "Passes over the data; empty: train.num_epochs", ge=1)
    lr: float | None = spec_field(
        None, "Highest learning rate; empty: train.optim.lr", gt=0, le=10, automl=True
    )
    weight_decay: float | None = spec_field(None, "Empty: train.optim.weight_decay", ge=0, le=1)


@dataclass
class GumbelSpec:
    """How the relaxed choice of `quantizer: gumbel` becomes a hard one (Ramesh et al. 2021, appendix A.2)."""

    temperature: list[float] = spec_field(
        [1.0, 0.0625], "Of the relaxation, first and last; a cosine leads from one to the other", element_gt=0
    )
    temperature_part: float = spec_field(
        0.5, "Fraction of the steps in which it falls (0.05 in the paper, of 3,000,000)", gt=0, le=1
    )
    kl_weight: float = spec_field(
        6.6, "Weight of the codes' divergence from all being equally likely, at its end", ge=0, le=1000
    )
    kl_part: float = spec_field(
        0.25, "Fraction of the steps in which that weight rises from 0 (0.002 in the paper)", gt=0, le=1
    )

    def check(self) -> Iterator[Problem]:
        """A way has two ends."""
        if len(self.temperature) != 2:
            yield Problem("temperature", f"{self.temperature} are not two; give the first and the last")


@dataclass
class GateSpec:
    """What the dVAE must reach before the transformer begins: images get no better than its own."""

    psnr: float = spec_field(20.0, "Of images that it has encoded and decoded; 0: not asked", unit="dB", ge=0)
    codes_used: float = spec_field(0.1, "Fraction of the codes that occur", ge=0, le=1)
    accuracy: float = spec_field(0.9, "Of every attribute, as images are judged after it", ge=0, le=1)


@dataclass
class GenerateTrainSpec(TrainSpec):
    """How the networks are trained, one after another."""

    enable_ema: bool = spec_field(True, "Keep a moving average of the weights, and ship that")
    ema_decay: float = spec_field(0.99, "Decay of the moving average; warmed up in short runs", gt=0, lt=1)
    keep: str = spec_field(
        "last",
        "Weights that the bundle holds: those of the best validation, or the last",
        choices=("best", "last"),
    )
    text_drop: float = spec_field(
        0.1,
        "Fraction of the captions that are left out, so that guidance has a network without one",
        ge=0,
        lt=1,
    )
    decoder_text_drop: float = spec_field(
        0.5, "The same for unclip's decoder, which has the embedding too (in the paper half)", ge=0, lt=1
    )
    embedding_drop: float = spec_field(
        0.1, "For unclip's decoder: fraction of the embeddings that are left out", ge=0, lt=1
    )
    text_weight: float = spec_field(
        0.125, "Fraction of the caption in dalle's loss; the image has the rest", ge=0, lt=1
    )
    dvae: PhaseSpec = spec_block(PhaseSpec, "dalle, first: images to codes and back")
    transformer: PhaseSpec = spec_block(PhaseSpec, "dalle, then: captions to codes")
    clip: PhaseSpec = spec_block(
        PhaseSpec, "unclip with a CLIP of its own, first: images and captions in one space"
    )
    prior: PhaseSpec = spec_block(PhaseSpec, "unclip, then: captions to embeddings of images")
    decoder: PhaseSpec = spec_block(PhaseSpec, "unclip, at last: embeddings to images")
    upsampler_1: PhaseSpec = spec_block(PhaseSpec, "First, where there is one: smaller images to larger")
    upsampler_2: PhaseSpec = spec_block(PhaseSpec, "The same for the second")
    upsampler_crops: int = spec_field(
        2,
        "Upsamplers learn on parts of the images, of their side over this; unCLIP's by 4",
        ge=1,
        le=16,
    )
    noised_clip: PhaseSpec = spec_block(PhaseSpec, "glide with model.glide.noised_clip: the CLIP that guides")
    base: PhaseSpec = spec_block(PhaseSpec, "glide: noise to images, where it is not the only phase")
    inpaint: PhaseSpec = spec_block(PhaseSpec, "glide with model.glide.inpaint, at last: holes in images")
    gumbel: GumbelSpec = spec_block(GumbelSpec, "dalle with model.dalle.quantizer=gumbel: its dVAE")
    gate: GateSpec = spec_block(GateSpec, "What the dVAE must reach")

    def of_phase(self, name: str) -> GenerateTrainSpec:
        """The train block of a phase."""
        own: PhaseSpec = getattr(self, name)
        optim = self.optim
        if own.lr is not None:
            optim = replace(optim, lr=own.lr)
        if own.weight_decay is not None:
            optim = replace(optim, weight_decay=own.weight_decay)
        epochs = self.num_epochs if own.num_epochs is None else own.num_epochs
        return replace(
            self,
            num_epochs=epochs,
            validation_interval=min(self.validation_interval, epochs),
            optim=replace(optim, warmup_epochs=min(optim.warmup_epochs, epochs / 2)),
        )


@dataclass
class GenerateEvaluateSpec(EvaluateSpec):
    """Scores what a model makes of the captions of labelled data."""

    guidance: list[float] = spec_field(
        [], "Guidance scales to score beside sampling.guidance_scale, such as [0, 1, 3]", element_ge=0
    )
    clip_guidance: list[float] = spec_field(
        [], "Scales to score beside sampling.clip_guidance_scale, such as [1, 3]", element_ge=0
    )
    rerank: int = spec_field(
        1,
        "Images of each caption of which the one that fits best, by clip_checkpoint, is scored too",
        ge=1,
        le=1024,
    )
    inpaint: bool = spec_field(
        False,
        "For glide: paint the middle of the real images anew, and score what stands there and what changed "
        "around it",
    )
    conditions: list[str] = spec_field(
        [],
        "For unclip: values of sampling.unclip.condition to score beside it, such as [text, caption]: what "
        "the prior is worth",
    )

    def check(self) -> Iterator[Problem]:
        """Also what every evaluation has."""
        yield from super().check()
        for name in ("guidance", "clip_guidance"):
            scales = getattr(self, name)
            if len(set(scales)) != len(scales):
                yield Problem(name, f"{scales} names a scale twice")
        if unknown := sorted(set(self.conditions).difference(CONDITIONS)):
            yield Problem("conditions", f"{unknown} is unknown; give some of {', '.join(CONDITIONS)}")


@dataclass
class GenerateExportSpec(ExportSpec):
    """Writes a bundle as a folder of ONNX graphs, and proves that they make the same images."""

    input_format: str = spec_field("ids_int64", "Captions as tokens, int64", choices=("ids_int64",))
    batch_size: int = spec_field(-1, "Any: guidance doubles it", choices=(-1,))
    tolerance: float = spec_field(
        1e-3, "Largest difference of a pixel, 0 to 1, to torch's image of the same seed", gt=0, le=1
    )


@dataclass
class GenerateInferenceSpec(InferenceSpec):
    """Makes images of sentences."""

    source: str | None = spec_field(
        None,
        "Text file of prompts, one a line; empty: `prompts`, or the captions of the test split",
        path=True,
    )
    prompts: list[str] = spec_field([], "What to make images of")
    num_images: int = spec_field(4, "Images of each prompt, with one seed after another", ge=1, le=10000)
    seed: int = spec_field(0, "Seed of the first image of each prompt", ge=0)
    rerank: int = spec_field(
        1,
        "Images that are made for each one that is kept: the one that fits best, by clip_checkpoint",
        ge=1,
        le=1024,
    )
    mode: str = spec_field(
        GENERATE,
        "For unclip, with `image`: others like it; those between it and `image_to`; those on the way from "
        "what `caption` says to what the prompt says; what the first principal components of its embedding "
        "tell; or others like it with and without a `word` upon it, which CLIP judges by the prompts; "
        "optimise: for any, by clip_checkpoint's gradient",
        choices=MODES,
    )
    image: str | None = spec_field(
        None,
        "For glide: an image to change, with `mask` or `strength`; for unclip see `mode`; for `pca` also a "
        "folder of images",
        path=True,
    )
    image_to: str | None = spec_field(None, "For `interpolate`: the image at the other end", path=True)
    caption: str | None = spec_field(None, "For `text_difference`: what the image shows")
    turn: float = spec_field(
        TURN,
        "For `text_difference`: how far the last image is turned to what the words differ in, as a fraction "
        "of the angle between its embedding and that direction (in the paper 0.25 to 0.5)",
        ge=0,
        le=1,
    )
    word: str | None = spec_field(None, "For `typographic_attack`: what is written upon the image")
    components: list[int] = spec_field(
        [],
        "For `pca`: principal components that each image of a row keeps; empty: 1, 2, 4 and so on, up to all",
        element_ge=0,
    )
    mask: str | None = spec_field(
        None,
        "For glide: an image that is white where `image` is painted anew; the rest of it stays",
        path=True,
    )
    optimise: OptimiseSpec = spec_block(OptimiseSpec, "For `mode: optimise`")
    strength: float | None = spec_field(
        None,
        "For glide: the fraction of the steps that is taken, from `image` made noisy; less keeps more of it",
        gt=0,
        le=1,
    )

    def check(self) -> Iterator[Problem]:
        """Prompts come from one place, and say something."""
        yield from super().check()
        if self.source and self.prompts:
            yield Problem("prompts", "is given together with source; both name the prompts: keep one")
        if any(not prompt.strip() for prompt in self.prompts):
            yield Problem("prompts", "has an empty text; give words")
        yield from self._check_mode()
        if self.mode == GENERATE and self.image and self.mask is None and self.strength is None:
            yield Problem(
                "image", "is given alone; give mask (what to paint) or strength (how much to change) too"
            )
        for key in ("mask", "strength"):
            if getattr(self, key) is not None and not self.image:
                yield Problem(key, "is given without image, the image to change")

    def _check_mode(self) -> Iterator[Problem]:
        """Each mode has what it needs, and nothing of another's."""
        if self.mode in JOURNEYS and not self.image:
            yield Problem("image", f"is missing; mode={self.mode} begins with an image")
        needed = (("image_to", INTERPOLATE), ("caption", TEXT_DIFFERENCE), ("word", TYPOGRAPHIC_ATTACK))
        for key, mode in needed:
            given = getattr(self, key) is not None
            if given != (self.mode == mode):
                rule = (
                    f"is for mode={mode}, not {self.mode}" if given else f"is missing; mode={mode} needs it"
                )
                yield Problem(key, rule)
        if self.mode == TEXT_DIFFERENCE and len(self.prompts) != 1:
            yield Problem("prompts", f"has {len(self.prompts)} texts; mode={self.mode} goes to what one says")
        if self.components and self.mode != PCA:
            yield Problem("components", f"is for mode={PCA}, not {self.mode}")
        if self.word is not None and not self.word.strip():
            yield Problem("word", "is empty; give a word")
        if self.mode == TYPOGRAPHIC_ATTACK and (len(self.prompts) < 2 or self.source):
            yield Problem("prompts", f"has {len(self.prompts)} texts; mode={self.mode} judges by two or more")
        if self.mode in (VARIATIONS, INTERPOLATE, PCA) and (self.prompts or self.source):
            yield Problem("prompts", f"is given; mode={self.mode} hears no words")
        if self.mode == OPTIMISE and (self.image or self.rerank > 1):
            yield Problem(
                "mode", "optimise begins with nothing and ranks nothing; leave image and rerank out"
            )
