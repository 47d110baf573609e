"""What pairs of images and texts add to the blocks of the stages."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tao_like.config import Problem, spec_block, spec_field
from tao_like.config.blocks.common import EvaluateSpec, InferenceSpec, TrainSpec
from tao_like.config.blocks.optim import TAO_POLICIES, OptimSpec
from tao_like.config.blocks.quantize import QuantizeSpec


@dataclass
class ClipOptimSpec(OptimSpec):
    """Optimizer and learning-rate schedule."""

    lr: float = spec_field(
        1e-3,
        "Highest learning rate of the text tower, and of the image tower where it has none of its own",
        gt=0,
        le=10,
        automl=True,
        aliases=("text_lr",),
    )
    lr_backbone: float | None = spec_field(
        None,
        "Highest learning rate of the image tower; empty: as `lr`",
        gt=0,
        le=10,
        automl=True,
        aliases=("vision_lr",),
    )
    warmup_epochs: float = spec_field(
        2.0,
        "Epochs in which the rate rises from zero, half of the training at most where this would fill it; "
        "without it small sets often collapse to one embedding",
        unit="epochs",
        ge=0,
        aliases=("warmup_epoch",),
    )
    betas: list[float] = spec_field([0.9, 0.98], "Betas of the Adam family")
    policy: str = spec_field(
        "cosine",
        "How the learning rate falls, step by step; `one_cycle` rises first",
        choices=("constant", "linear", "cosine", "step", "multistep", "one_cycle"),
        synonyms=TAO_POLICIES,
        aliases=("lr_scheduler", "scheduler"),
    )
    weight_decay: float = spec_field(
        0.2,
        "Weight decay, as in CLIP's paper; biases, norm layers, positions and the scale have none",
        ge=0,
        le=1,
        automl=True,
    )


TUNING_MODES = ("frozen", "full", "lora")
"""What a tower does in a training: stays as it is, learns whole, or learns through low-rank additions."""


@dataclass
class VisionTuningSpec:
    """How the image tower learns where `peft` is enabled."""

    mode: str = spec_field("lora", "frozen, full or lora", choices=TUNING_MODES)


@dataclass
class TextTuningSpec:
    """How the text tower learns where `peft` is enabled."""

    mode: str = spec_field("frozen", "frozen, full or lora", choices=TUNING_MODES)


@dataclass
class PeftSpec:
    """Few trained parameters for a pretrained pair of towers, merged into its weights at the end."""

    enabled: bool = spec_field(False, "Let each tower learn by its mode below")
    vision: VisionTuningSpec = spec_block(VisionTuningSpec, "Image tower")
    text: TextTuningSpec = spec_block(TextTuningSpec, "Text tower")
    rank: int = spec_field(8, "Rank of the additions of `lora`", ge=1, le=1024, automl=True)
    alpha: float = spec_field(16.0, "Additions are multiplied by alpha / rank", gt=0, le=4096)
    dropout: float = spec_field(0.05, "Dropout before the additions", ge=0, lt=1, automl=True)


@dataclass
class ClipTrainSpec(TrainSpec):
    """How the towers are trained."""

    loss_type: str = spec_field(
        "clip",
        "clip: each image finds its text among the batch's, and the other way round; siglip: each pair by "
        "itself, right or wrong",
        choices=("clip", "siglip"),
    )
    optim: ClipOptimSpec = spec_block(ClipOptimSpec, "Optimizer and schedule", aliases=("optimizer",))
    multi_positive: bool = spec_field(
        True,
        "Equal captions, and captions of one image, within a batch are right for each other; false: only "
        "the pair itself is right",
    )
    wise_ft: float = spec_field(
        1.0,
        "Fraction of the trained weights in what is shipped; the rest are the weights that the training "
        "began with (WiSE-FT, Wortsman et al. 2022): below 1 a fine-tuned model forgets less",
        gt=0,
        le=1,
        automl=True,
    )
    peft: PeftSpec = spec_block(PeftSpec, "Low-rank adaptation (LoRA; Hu et al. 2022)")
    pretrained_model_path: str | None = spec_field(
        None,
        "What a new run starts from: a bundle, or a file of weights of OpenAI's, open_clip's or "
        "transformers' CLIP (.safetensors, .pt, or transformers' folder)",
        path=True,
    )


@dataclass
class ClipEvaluateSpec(EvaluateSpec):
    """Scores a bundle or an exported folder on labelled data."""

    classnames: list[str] = spec_field([], "Classes that images are told apart by; empty: those of the data")
    templates: list[str] = spec_field(
        [], "Sentences for a class, whose embeddings are averaged; empty: dataset.templates"
    )
    recall_at: list[int] = spec_field([1, 5, 10], "Ranks up to which retrieval is scored", element_ge=1)
    linear_probe: bool = spec_field(
        False, "Score a linear classifier on the embeddings of the labelled training images too"
    )

    def check(self) -> Iterator[Problem]:
        """Ranks hold 1, by which the best epoch is chosen; names occur once."""
        yield from super().check()
        if 1 not in self.recall_at:
            yield Problem("recall_at", f"{self.recall_at} lacks 1, by which models are compared")
        yield from name_problems("classnames", self.classnames)
        yield from template_problems(self.templates)


@dataclass
class ClipInferenceSpec(InferenceSpec):
    """Runs a bundle or an exported folder on images."""

    classes: list[str] = spec_field(
        [], "Words or sentences to tell images apart by; empty: the model's own classes"
    )
    text_file: str | None = spec_field(
        None, "The same from a text file, one a line, instead of `classes`", path=True
    )
    templates: list[str] = spec_field([], "Sentences for a class; empty: the model's own")
    output: str = spec_field(
        "scores",
        "Beside predictions.csv: scores: nothing; embeddings: embeddings.npz; search: the images by how "
        "well they fit `query`, with a contact sheet; attack: each image with a wrong class written on it",
        choices=("scores", "embeddings", "search", "attack"),
    )
    query: str = spec_field("", "Words to search for, such as `red car at night`")

    def check(self) -> Iterator[Problem]:
        """Names occur once; templates have a `{}` for them."""
        yield from super().check()
        yield from name_problems("classes", self.classes)
        if self.classes and self.text_file:
            yield Problem("text_file", "is given together with classes; give one of them")
        yield from template_problems(self.templates)


@dataclass
class ClipQuantizeSpec(QuantizeSpec):
    """Makes an exported pair of towers compute in int8: the image tower static, the text tower dynamic."""

    dynamic_names: list[str] = spec_field(
        ["text/"],
        "Layers whose values get their range anew in every call, since texts differ more than calibration "
        "shows: parts of their names or patterns, of matrix products alone",
    )


def name_problems(key: str, names: list[str]) -> Iterator[Problem]:
    """What is wrong with class names."""
    if len(set(names)) != len(names) or any(not name.strip() for name in names):
        yield Problem(key, f"{names} has an empty name, or one twice; give each once")


def template_problems(templates: list[str]) -> Iterator[Problem]:
    """What is wrong with the sentences for classes."""
    for template in templates:
        if template.count("{}") != 1:
            yield Problem("templates", f"{template!r} needs the name's place, {{}}, once")
