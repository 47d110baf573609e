"""The spec of pairs of images and texts. Field names are those of TAO's clip where it has them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

from tao_like.config import Problem, spec_block, spec_field
from tao_like.config.blocks.augmentation import normalization_problems
from tao_like.config.blocks.captions import CaptionDataSpec
from tao_like.config.blocks.common import IGNORED_TAO_KEYS, CommonSpec
from tao_like.config.blocks.prune import MOVED_TAO_KEYS
from tao_like.config.blocks.split_data import (
    SplitSpec,
    batch_size_field,
    cache_field,
    pixel_range_field,
    pixel_range_problems,
    shuffle_field,
    workers_field,
)
from tao_like.errors import SpecError
from tao_like.runtime.choices import LONGEST_CONTEXT, WORDS
from tao_like.tasks.clip.presets import OWN_TOWERS, PRESETS, find_preset
from tao_like.tasks.clip.spec_stages import (
    ClipEvaluateSpec,
    ClipInferenceSpec,
    ClipQuantizeSpec,
    ClipTrainSpec,
    template_problems,
)
from tao_like.tasks.clip.spec_tao import IGNORED, MOVED
from tao_like.tasks.common.spec_checks import keep_problems

ARCHITECTURES = f"{', '.join(PRESETS)}, or any timm backbone with a small text tower"
STAGES = ("dataset_check", "train", "evaluate", "inference", "prune", "export", "quantize", "compare")
TAO_NETWORKS = {"clip": ""}


@dataclass
class TokenizerSpec:
    """How texts become numbers. A trained model keeps its own."""

    type: str = spec_field(
        WORDS,
        "words: each word of the training captions; bpe: byte pairs trained on them, which can spell every "
        "word; file: of a file, such as CLIP's own byte pairs or SigLIP's spiece.model",
        choices=("words", "bpe", "file"),
    )
    path: str | None = spec_field(
        None,
        "For `file`: bpe_simple_vocab_16e6.txt.gz, merges.txt, spiece.model, tokenizer.json, or a folder "
        "with one of them",
        path=True,
    )
    vocabulary_size: int = spec_field(8192, "Most tokens of `words` and `bpe`", ge=520, le=1000000)
    context_length: int | None = spec_field(
        None,
        "Tokens of a text, with its start and end; empty: as the towers have it",
        unit="tokens",
        ge=3,
        le=LONGEST_CONTEXT,
    )

    def check(self) -> Iterator[Problem]:
        """A file is named where one is read."""
        if (self.type == "file") != (self.path is not None):
            rule = "names no file" if self.path is None else f"is {self.path}, and type is {self.type}"
            yield Problem("path", f"{rule}; `type: file` and a path go together")


@dataclass
class TextTowerSpec:
    """The text tower, where it is not as the preset has it."""

    width: int | None = spec_field(None, "Channels; empty: the preset's", ge=8, le=8192)
    layers: int | None = spec_field(None, "Blocks; empty: the preset's", ge=1, le=100)
    heads: int | None = spec_field(None, "Attention heads; empty: the preset's", ge=1, le=128)


@dataclass
class TextEncoderSpec:
    """A sentence model as text tower. What is empty comes from its files and is kept with the model."""

    path: str | None = spec_field(
        None,
        "Folder of a sentence model (BERT, MiniLM, RoBERTa) with config.json, model.safetensors and "
        "tokenizer.json; empty: the text tower is the preset's",
        path=True,
    )
    pooling: str | None = spec_field(
        None,
        "How tokens become an embedding; empty: as 1_Pooling/config.json says, else their mean",
        choices=("mean", "cls"),
    )
    width: int | None = spec_field(None, "Channels, as the model has them", ge=1, le=8192)
    layers: int | None = spec_field(None, "Blocks, as the model has them", ge=1, le=100)
    heads: int | None = spec_field(None, "Attention heads, as the model has them", ge=1, le=128)
    mlp_width: int | None = spec_field(None, "Hidden channels, as the model has them", ge=1, le=65536)
    vocabulary_size: int | None = spec_field(None, "Ids, as the model has them", ge=1, le=2000000)
    activation: str | None = spec_field(
        None, "Of the blocks, as the model has it", choices=("gelu", "gelu_tanh")
    )
    pad_id: int | None = spec_field(None, "Id behind a text, as the model has it", ge=0, le=2000000)
    epsilon: float | None = spec_field(None, "Of the normalization, as the model has it", gt=0, le=0.1)


@dataclass
class ModelSpec:
    """The two towers."""

    type: str = spec_field(
        "conv_tiny",
        "Towers: a preset such as ViT-B-32, or the name of a timm backbone for the image tower",
        aliases=("arch",),
    )
    embed_dim: int | None = spec_field(None, "Length of an embedding; empty: the preset's", ge=2, le=8192)
    image_size: int | None = spec_field(
        None, "Side of the input; empty: the preset's", unit="pixels", ge=16, le=4096
    )
    text: TextTowerSpec = spec_block(TextTowerSpec, "Text tower")
    tokenizer: TokenizerSpec = spec_block(TokenizerSpec, "Tokenizer")
    activation: str | None = spec_field(
        None,
        "Activation of the transformers: quick_gelu (OpenAI's weights), gelu or gelu_tanh (SigLIP's); empty: "
        "gelu, of SigLIP's towers gelu_tanh, and a file of weights that does not say its own is refused",
        choices=("gelu", "quick_gelu", "gelu_tanh"),
    )
    pretrained_vision_path: str | None = spec_field(
        None,
        "Weights of the image tower alone, where it is a timm backbone: a file, `timm` (needs a network) or "
        "`package:efficientnet_lite0`; empty: random weights",
        path=True,
    )
    canonicalize_text: bool | None = spec_field(
        None, "Take punctuation out of texts, as SigLIP does; empty: with a vocabulary of SentencePiece alone"
    )
    text_encoder: TextEncoderSpec = spec_block(
        TextEncoderSpec, "A sentence model in place of the preset's text tower"
    )
    init_logit_scale: float | None = spec_field(
        None, "Logarithm of the first scale; empty: ln(1/0.07) for clip, ln 10 for siglip", ge=-5, le=4.6052
    )
    init_logit_bias: float | None = spec_field(None, "First bias of siglip; empty: -10", ge=-100, le=100)
    freeze_vision_encoder: bool = spec_field(False, "Leave the image tower as it is")
    freeze_text_encoder: bool = spec_field(False, "Leave the text tower as it is")
    mean: list[float] | None = spec_field(
        None, "Mean of the normalization, 0 to 1; empty: as the weights were trained with, else CLIP's"
    )
    std: list[float] | None = spec_field(None, "Standard deviation of the normalization; empty: as for mean")

    def check(self) -> Iterator[Problem]:
        """Known towers; mean and std together."""
        try:
            find_preset(self.type)
        except SpecError as error:
            yield Problem("type", str(error))
        if self.text_encoder.path and self.tokenizer.path:
            yield Problem(
                "tokenizer.path",
                "does not go with text_encoder.path; a sentence model brings its own tokenizer",
            )
        if self.pretrained_vision_path and self.type.lower() in OWN_TOWERS:
            yield Problem(
                "pretrained_vision_path",
                f"is {self.pretrained_vision_path}, and there are no weights for {self.type}; leave it out, "
                "or take a timm backbone as type",
            )
        yield from normalization_problems(self.mean, self.std)


@dataclass
class AugmentationSpec:
    """What is changed at random in training images."""

    scale: list[float] = spec_field([0.9, 1.0], "Smallest and largest fraction of the area that is cut out")
    hflip_probability: float = spec_field(
        0.0, "Chance of left for right; captions may speak of sides", ge=0, le=1, automl=True
    )
    color_jitter: float = spec_field(
        0.0, "Largest change of brightness, contrast and saturation", ge=0, le=1, automl=True
    )
    grayscale: float = spec_field(
        0.0, "Chance of an image without color; captions may speak of colors", ge=0, le=1, automl=True
    )

    def check(self) -> Iterator[Problem]:
        """A rising range of shares."""
        if len(self.scale) != 2 or not 0 < self.scale[0] <= self.scale[1] <= 1:
            yield Problem(
                "scale", f"{self.scale} is not allowed; give two numbers up to 1, the smaller first"
            )


@dataclass
class DatasetSpec:
    """The data."""

    train_dataset: CaptionDataSpec = spec_block(
        CaptionDataSpec, "Training data; split by `split` where alone", aliases=("train",)
    )
    val_dataset: CaptionDataSpec = spec_block(CaptionDataSpec, "Validation data", aliases=("val",))
    test_dataset: CaptionDataSpec = spec_block(CaptionDataSpec, "Test data", aliases=("test",))
    split: SplitSpec = spec_block(SplitSpec, "Division of training data that has no splits of its own")
    classes_file: str | None = spec_field(
        None, "Class names, one a line; empty: the labels that the data has, sorted", path=True
    )
    num_classes: int | None = spec_field(None, "Number of classes; given, it is compared with the data", ge=1)
    templates: list[str] = spec_field(
        ["a photo of a {}"],
        "Sentences for a class, {} is its name: captions of class folders, and prompts of scores by class",
    )
    resize: str = spec_field(
        "crop",
        "How an image becomes a square: shorter side to fit and the middle cut out, squashed, or bordered",
        choices=("crop", "squash", "letterbox"),
    )
    pixel_range: str = pixel_range_field()
    batch_size: int | str = batch_size_field()
    workers: int | str = workers_field()
    shuffle: bool = shuffle_field()
    cache: str = cache_field()
    augmentation: AugmentationSpec = spec_block(AugmentationSpec, "Augmentation")

    def check(self) -> Iterator[Problem]:
        """Numbers of `pixel_range` rise; templates have a `{}` for the name."""
        yield from pixel_range_problems(self.pixel_range)
        if not self.templates:
            yield Problem("templates", "is empty; give a sentence such as `a photo of a {}`")
        yield from template_problems(self.templates)


@dataclass
class Spec(CommonSpec):
    """Everything that a spec file of clip may hold."""

    model: ModelSpec = spec_block(ModelSpec, "The towers")
    dataset: DatasetSpec = spec_block(DatasetSpec, "The data")
    train: ClipTrainSpec = spec_block(ClipTrainSpec, "Training")
    evaluate: ClipEvaluateSpec = spec_block(ClipEvaluateSpec, "Evaluation")
    inference: ClipInferenceSpec = spec_block(ClipInferenceSpec, "Inference")
    quantize: ClipQuantizeSpec = spec_block(ClipQuantizeSpec, "Quantization")

    ignored: ClassVar[Mapping[str, str]] = {**IGNORED_TAO_KEYS, **IGNORED}
    moved: ClassVar[Mapping[str, str | tuple[str, ...]]] = {**MOVED_TAO_KEYS, **MOVED}

    def check(self) -> Iterator[Problem]:
        """Rules that join keys of several blocks."""
        val = self.dataset.val_dataset
        keys = "dataset.val_dataset.images_dir or dataset.split.val"
        yield from keep_problems(self.train.keep, self.dataset.split.val or val.is_given, keys)
        model, loss = self.model, self.train.loss_type
        if model.init_logit_bias is not None and loss == "clip":
            yield Problem(
                "model.init_logit_bias", "is for train.loss_type=siglip; the loss `clip` has no bias"
            )
        yield from self._check_tuning()
        yield from self._check_inference()

    def tuning(self) -> dict[str, str]:
        """How each tower learns: ``image`` and ``text`` to ``frozen``, ``full`` or ``lora``."""
        model, peft = self.model, self.train.peft
        if peft.enabled:
            return {"image": peft.vision.mode, "text": peft.text.mode}
        frozen = {"image": model.freeze_vision_encoder, "text": model.freeze_text_encoder}
        return {tower: "frozen" if stays else "full" for tower, stays in frozen.items()}

    def _check_tuning(self) -> Iterator[Problem]:
        model, peft, tuning = self.model, self.train.peft, self.tuning()
        if set(tuning.values()) == {"frozen"}:
            key = "train.peft.vision.mode" if peft.enabled else "model.freeze_text_encoder"
            yield Problem(key, "leaves nothing to train, since both towers are frozen; free one of them")
        if not peft.enabled:
            return
        frozen = {"vision": model.freeze_vision_encoder, "text": model.freeze_text_encoder}
        for name, tower in (("vision", "image"), ("text", "text")):
            mode = tuning[tower]
            if frozen[name] and mode != "frozen":
                yield Problem(
                    f"model.freeze_{name}_encoder",
                    f"true does not go with train.peft.{name}.mode={mode}; give false, or mode=frozen",
                )
            if mode == "lora" and not self._starts_trained(tower):
                own = "pretrained_vision_path" if name == "vision" else "text_encoder.path"
                yield Problem(
                    f"train.peft.{name}.mode",
                    "lora changes little of a trained tower, and this one would begin with random weights; "
                    f"give train.pretrained_model_path, model.{own}, or mode=full",
                )

    def _starts_trained(self, tower: str) -> bool:
        """Whether a tower's weights come from somewhere."""
        train = self.train
        if train.pretrained_model_path or train.pruned_model_path:
            return True
        given = self.model.pretrained_vision_path if tower == "image" else self.model.text_encoder.path
        return bool(given)

    def _check_inference(self) -> Iterator[Problem]:
        inference = self.inference
        if inference.output == "search" and not inference.query:
            yield Problem("inference.query", "is empty; give the words to search for, or another output")
        if inference.query and inference.output != "search":
            yield Problem("inference.query", f"is for inference.output=search, not {inference.output}")
