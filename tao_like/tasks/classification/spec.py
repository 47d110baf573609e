"""The spec of image classification. Field names are those of TAO's classification_pyt."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

from tao_like.config import Problem, spec_block, spec_field
from tao_like.config.blocks.augmentation import (
    RandomAugSpec,
    RandomColorSpec,
    RandomCropSpec,
    RandomEraseSpec,
    RandomFlipSpec,
    RandomRotateSpec,
    normalization_problems,
)
from tao_like.config.blocks.common import IGNORED_TAO_KEYS, CommonSpec, TrainSpec
from tao_like.config.blocks.split_data import (
    SplitSpec,
    batch_size_field,
    cache_field,
    on_error_field,
    pixel_range_field,
    pixel_range_problems,
    shuffle_field,
    workers_field,
)
from tao_like.networks.backbones.names import IMPORTED
from tao_like.tasks.common.spec_checks import backbone_problems, imported_problems, keep_problems

ARCHITECTURES = "any timm backbone (tao-like backbones lists them)"
STAGES = ("dataset_check", "train", "evaluate", "inference", "prune", "export", "quantize", "compare")
IMPORTED_CUTS = ("pooled features",)
"""What an imported network must have to be trained by this task."""
TAO_NETWORKS = dict.fromkeys(("classification_pyt", "classification_tf1", "classification_tf2"), "")
"""TAO's networks that are this task, and the key that chooses each."""


@dataclass
class BackboneSpec:
    """The network below the head."""

    type: str = spec_field(
        "tf_efficientnet_lite0",
        "Architecture: a name of timm's, TAO's name for it, or `byom` for an imported network",
        automl=False,
    )
    pretrained_backbone_path: str | None = spec_field(
        None,
        "Weights to start from: a .safetensors or .pth file, a bundle (of clip: its image tower), `timm` "
        "(needs a network), `package:efficientnet_lite0` (or lite1, lite2); empty: random weights",
        path=True,
    )
    freeze_backbone: bool = spec_field(False, "Train the head alone", automl=True)
    freeze_norm: bool = spec_field(
        False, "Keep norm layers as the weights had them; good with few images", automl=True
    )
    drop_rate: float = spec_field(0.0, "Dropout before the head", ge=0, lt=1, automl=True)
    drop_path_rate: float = spec_field(0.0, "Stochastic depth, where the network has it", ge=0, lt=1)


@dataclass
class LossSpec:
    """The loss."""

    type: str = spec_field(
        "CrossEntropyLoss",
        "Loss; binary cross-entropy per class when multi_label",
        choices=("CrossEntropyLoss",),
    )
    label_smooth_val: float = spec_field(0.0, "Label smoothing", ge=0, lt=1, automl=True)
    class_weights: str = spec_field(
        "none",
        "Weight of a class in the loss: all the same, or by how rare it is",
        choices=("none", "balanced"),
    )


@dataclass
class HeadSpec:
    """The classifier on top."""

    loss: LossSpec = spec_block(LossSpec, "Loss")
    topk: list[int] = spec_field([1, 5], "Top-k accuracies to report", element_ge=1)


@dataclass
class ModelSpec:
    """The network."""

    backbone: BackboneSpec = spec_block(BackboneSpec, "Backbone")
    head: HeadSpec = spec_block(HeadSpec, "Head")


@dataclass
class DataPathSpec:
    """Where the images of a split are."""

    images_dir: str | None = spec_field(
        None,
        "Folder with one folder of images a class; with csv_file: what its paths start from",
        path=True,
    )
    csv_file: str | None = spec_field(None, "CSV with columns `path` and `label`", path=True)


@dataclass
class CsvSplitSpec(SplitSpec):
    """How training data without splits of its own is divided."""

    group_by: str = spec_field(
        "none",
        "What stays together: `none`, `folder`, `column` (CSV column `group`), or a regular expression "
        "with one group, matched on the path",
        path=True,
    )


@dataclass
class AugmentationSpec:
    """What is changed at random in training images."""

    with_scale_random_crop: RandomCropSpec = spec_block(RandomCropSpec, "Random resized crop")
    random_flip: RandomFlipSpec = spec_block(RandomFlipSpec, "Flips")
    random_rotate: RandomRotateSpec = spec_block(RandomRotateSpec, "Rotation")
    random_color: RandomColorSpec = spec_block(RandomColorSpec, "Color")
    random_aug: RandomAugSpec = spec_block(RandomAugSpec, "RandAugment")
    random_erase: RandomEraseSpec = spec_block(RandomEraseSpec, "Random erasing")
    with_random_blur: bool = spec_field(False, "Blur every other image a little", automl=True)
    mixup_cutmix: bool = spec_field(False, "Blend images of a batch: mixup or cutmix, by turns", automl=True)
    mixup_alpha: float = spec_field(
        0.4, "Alpha of mixup's beta distribution; 0: no blending", ge=0, le=10, automl=True
    )
    mean: list[float] | None = spec_field(
        None, "Mean of the normalization, 0 to 1; empty: as the weights were trained with"
    )
    std: list[float] | None = spec_field(
        None, "Standard deviation of the normalization; empty: as the weights were trained with"
    )

    def check(self) -> Iterator[Problem]:
        """Mean and std come together, three numbers each."""
        yield from normalization_problems(self.mean, self.std)


@dataclass
class DatasetSpec:
    """The data."""

    train_dataset: DataPathSpec = spec_block(DataPathSpec, "Training data; split by `split` where alone")
    val_dataset: DataPathSpec = spec_block(DataPathSpec, "Validation data")
    test_dataset: DataPathSpec = spec_block(DataPathSpec, "Test data")
    split: CsvSplitSpec = spec_block(CsvSplitSpec, "Division of training data that has no splits of its own")
    classes_file: str | None = spec_field(
        None, "Class names, one a line, in the order of the outputs; empty: sorted names", path=True
    )
    num_classes: int | None = spec_field(
        None, "Number of classes; found in the data. Given, it is compared with the data", ge=1
    )
    multi_label: bool = spec_field(False, "Several labels an image: independent yes or no for each class")
    label_separator: str = spec_field(
        "auto",
        "Mark between labels in a CSV file's column of labels: `auto`: ; and |, and the comma "
        "where the labels that it gives repeat themselves; `none`: a cell is one name; or the mark itself",
        pattern=r"auto|none|[^\w\s]",
    )
    img_size: int = spec_field(224, "Input side", unit="pixels", ge=16, le=4096, automl=False)
    resize: str = spec_field(
        "crop",
        "How an image becomes a square: shorter side to fit and the middle cut out, squashed, or bordered",
        choices=("crop", "squash", "letterbox"),
    )
    crop_pct: float | None = spec_field(
        None,
        "Fraction of the resized image that `crop` keeps; empty: as the weights were tested with",
        gt=0,
        le=1,
    )
    pixel_range: str = pixel_range_field()
    on_error: str = on_error_field()
    batch_size: int | str = batch_size_field()
    workers: int | str = workers_field()
    shuffle: bool = shuffle_field()
    cache: str = cache_field()
    augmentation: AugmentationSpec = spec_block(AugmentationSpec, "Augmentation")

    def check(self) -> Iterator[Problem]:
        """Numbers of `pixel_range` rise."""
        yield from pixel_range_problems(self.pixel_range)


@dataclass
class Spec(CommonSpec):
    """Everything that a spec file of classification may hold."""

    model: ModelSpec = spec_block(ModelSpec, "The network")
    dataset: DatasetSpec = spec_block(DatasetSpec, "The data")
    train: TrainSpec = spec_block(TrainSpec, "Training")

    ignored: ClassVar[Mapping[str, str]] = {
        **IGNORED_TAO_KEYS,
        "model.head.type": "the head is linear",
        "model.head.binary": "dataset.multi_label says it",
        "model.head.in_channels": "found from the backbone",
        "model.head.custom_args": "the head is linear",
        "dataset.dataset": "there is one kind of dataset",
        "dataset.root_dir": "paths are given where they are used",
        "dataset.train_nolabel": "unlabelled data is for distillation",
        "dataset.quant_calibration_dataset": "quantize calibrates on the training data",
        "dataset.augmentation.with_random_crop": "with_scale_random_crop does it",
    }

    def check(self) -> Iterator[Problem]:
        """Rules that join keys of several blocks."""
        backbone = self.model.backbone
        if backbone.type == IMPORTED:
            yield from imported_problems(backbone.pretrained_backbone_path)
        else:
            yield from backbone_problems(backbone.type)
        val = self.dataset.val_dataset
        has_val = self.dataset.split.val or val.images_dir or val.csv_file
        keys = "dataset.val_dataset.images_dir or dataset.split.val"
        yield from keep_problems(self.train.keep, has_val, keys)
        if self.dataset.multi_label and self.model.head.loss.label_smooth_val:
            yield Problem(
                "model.head.loss.label_smooth_val",
                "is for single labels; set it to 0 with dataset.multi_label",
            )
