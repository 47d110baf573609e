"""Spec values for somebody's images, each with the reason for it."""

from __future__ import annotations

from typing import NamedTuple

from tao_like.config.writing.annotated import AnnotatedValue
from tao_like.data.images.survey import Survey
from tao_like.data.splits.surveyed import UNSPLIT


class _Recipe(NamedTuple):
    """How to fine-tune with up to so many training images; None: the same rate for the whole network."""

    most_images: float
    num_epochs: int
    freeze_backbone: bool
    freeze_norm: bool
    optim: str
    lr: float
    lr_backbone: float | None
    weight_decay: float
    why: str


# One row a size of data, for a network with pretrained weights. benchmarks/small_data_choice.py chose the
# first, benchmarks/small_data.csv has what it reaches. The others are not measured.
_RECIPES = (
    _Recipe(
        500,
        8,
        True,
        True,
        "sgd",
        1e-2,
        None,
        1e-4,
        "where the images are photos of things, the head alone does as well as all layers, and sooner; for "
        "other images (microscopes, X-rays) try false, with train.optim.lr_backbone=0.001",
    ),
    _Recipe(
        2_000, 8, False, True, "sgd", 1e-2, 1e-3, 1e-4, "few images would soon spoil the pretrained layers"
    ),
    _Recipe(
        20_000,
        15,
        False,
        False,
        "adamw",
        1e-3,
        3e-4,
        1e-2,
        "the pretrained layers need smaller steps than the new head",
    ),
    _Recipe(
        float("inf"), 20, False, False, "adamw", 1e-3, None, 1e-2, "enough images to train all layers alike"
    ),
)
_SCAN_RECIPE = _Recipe(
    float("inf"), 10, False, False, "adamw", 1e-3, None, 1e-2, "scans look unlike the photos of the weights"
)
_WARMUP_EPOCHS = 1.0
_LABEL_SMOOTHING = 0.1
_HEAD_DROPOUT = 0.2
_SMALL_DATA = 2_000

# Side of the input by the median shorter side of the images. Multiples of 32 suit nearly all backbones.
_IMG_SIZES = ((48, 64), (112, 128), (float("inf"), 224))
_LARGE_IMG_SIZE = 288
_LARGE_SIDE = 400
_LARGE_DATA = 1_000

# Memory that training takes an image of 224 x 224, activations and gradients of a medium backbone, in bytes.
_BYTES_A_IMAGE = 100 * 2**20
_MEMORY_FRACTION = 0.5
_BATCH_SIZES = (64, 32, 16, 8, 4, 2, 1)
_LARGEST_CPU_BATCH = 32
_FEWEST_STEPS = 8

_SMALL_SCAN_SIDE = 64
_LONG_RATIO = 2.0
_IMBALANCE = 10.0
_FEW_TO_SPLIT = 200


def suggest(survey: Survey, *, memory_bytes: int, cpu_count: int, has_gpu: bool) -> list[AnnotatedValue]:
    """Spec values for training an image classifier with pretrained weights on surveyed images.

    Args:
        survey: The look at the images.
        memory_bytes: Memory of the device that trains: the GPU's, else the machine's.
        cpu_count: Processors that train where there is no GPU.
        has_gpu: Whether a GPU trains.

    Returns:
        Suggestions in the order of the spec: model, dataset, train. Paths are as the survey has them.
    """
    val, test = _fractions(survey)
    training = max(1, round(survey.training_images * (1 - val - test)))
    recipe = next(recipe for recipe in _RECIPES if training <= recipe.most_images)
    if _is_small_scan(survey):
        recipe = _SCAN_RECIPE
    img_size = _img_size(survey, has_gpu)
    return [
        *_model(survey, recipe, training),
        *_data(survey),
        *_split(survey, val, test),
        img_size,
        *_resize(survey),
        _batch_size(img_size.value, training, memory_bytes, cpu_count, has_gpu),
        *_augmentation(survey),
        *_train(recipe, training),
    ]


def _is_small_scan(survey: Survey) -> bool:
    """Whether the images are like scanned characters: small and without color."""
    return survey.grey_fraction >= 0.95 and max(survey.width[1], survey.height[1]) <= _SMALL_SCAN_SIDE


def _fractions(survey: Survey) -> tuple[float, float]:
    """Fractions of the training data to keep for validation and test, where the data has no such splits."""
    fraction = 0.15 if survey.training_images >= _FEW_TO_SPLIT else 0.2
    if not survey.is_split:
        return fraction, fraction
    return (0.0 if "val" in survey.sources else fraction), 0.0


def _model(survey: Survey, recipe: _Recipe, training: int) -> list[AnnotatedValue]:
    suggestions = []
    if recipe.freeze_backbone:
        why = f"{training} training images: {recipe.why}"
        suggestions.append(AnnotatedValue("model.backbone.freeze_backbone", True, why))
    if recipe.freeze_norm:
        why = f"{training} training images give poorer statistics than those that the weights come with"
        suggestions.append(AnnotatedValue("model.backbone.freeze_norm", True, why))
    if training <= _SMALL_DATA:
        why = "dropout before the head, against learning so few images by heart"
        suggestions.append(AnnotatedValue("model.backbone.drop_rate", _HEAD_DROPOUT, why))
        if not survey.multi_label:
            why = "label smoothing, against growing too sure of them"
            suggestions.append(AnnotatedValue("model.head.loss.label_smooth_val", _LABEL_SMOOTHING, why))
    counts = survey.counts["train" if survey.is_split else UNSPLIT]
    most, least = max(counts.values()), min(counts.values())
    if most >= _IMBALANCE * least and not survey.multi_label:
        why = f"the largest class has {most} images, the smallest {least}"
        suggestions.append(AnnotatedValue("model.head.loss.class_weights", "balanced", why))
    return suggestions


def _data(survey: Survey) -> list[AnnotatedValue]:
    suggestions = []
    if survey.multi_label:
        suggestions.append(AnnotatedValue("dataset.multi_label", True, "images have several labels, or none"))
    for name, source in survey.sources.items():
        block = f"dataset.{'train' if name == UNSPLIT else name}_dataset"
        why = f"{survey.images[name]} images, {len(survey.counts[name])} classes"
        if source.csv_file is not None:
            suggestions.append(AnnotatedValue(f"{block}.csv_file", str(source.csv_file), why))
            why = "what the paths in the CSV file start from"
        if source.images_dir is not None:
            suggestions.append(AnnotatedValue(f"{block}.images_dir", str(source.images_dir), why))
    return suggestions


def _split(survey: Survey, val: float, test: float) -> list[AnnotatedValue]:
    if not val:
        return []
    why = "a fraction of the training data, as there are no validation images"
    if "test" in survey.sources:
        why_test = "there are test images"
    elif test:
        why_test = "a fraction that training never sees"
    else:
        why_test = "the data comes in splits, of which none is a test"
    suggestions = [
        AnnotatedValue("dataset.split.val", val, why),
        AnnotatedValue("dataset.split.test", test, why_test),
    ]
    if survey.has_groups:
        why = "the CSV file has a column group; what belongs together stays together"
        suggestions.append(AnnotatedValue("dataset.split.group_by", "column", why))
    return suggestions


def _img_size(survey: Survey, has_gpu: bool) -> AnnotatedValue:
    shorter = min(survey.width[1], survey.height[1])
    sizes = f"half of the images are {survey.width[1]} x {survey.height[1]} pixels or larger"
    if has_gpu and shorter >= _LARGE_SIDE and survey.training_images >= _LARGE_DATA:
        return AnnotatedValue("dataset.img_size", _LARGE_IMG_SIZE, f"{sizes}, and a GPU trains")
    size = next(size for side, size in _IMG_SIZES if shorter <= side)
    if size == _IMG_SIZES[-1][1]:
        return AnnotatedValue("dataset.img_size", size, f"{sizes}; most weights were trained at this size")
    return AnnotatedValue("dataset.img_size", size, f"{sizes}; more would only enlarge them, and cost time")


def _resize(survey: Survey) -> list[AnnotatedValue]:
    if survey.longest_ratio < _LONG_RATIO:
        return []
    why = f"some images are {survey.longest_ratio:.1f} times as long as wide; a crop would lose their ends"
    return [AnnotatedValue("dataset.resize", "letterbox", why)]


def _batch_size(
    img_size: int, training: int, memory_bytes: int, cpu_count: int, has_gpu: bool
) -> AnnotatedValue:
    needed = _BYTES_A_IMAGE * (img_size / 224) ** 2
    by_memory = int(memory_bytes * _MEMORY_FRACTION / needed)
    by_data = training // _FEWEST_STEPS
    by_device = _BATCH_SIZES[0] if has_gpu else _LARGEST_CPU_BATCH
    limit = min(by_memory, by_data, by_device)
    size = next((size for size in _BATCH_SIZES if size <= limit), 1)
    if limit == by_data and by_data < by_device:
        why = f"at least {_FEWEST_STEPS} steps an epoch with {training} training images"
    elif limit == by_memory and by_memory < by_device:
        why = f"what half of {memory_bytes / 2**30:.0f} GiB of memory holds while training, roughly"
    elif has_gpu:
        why = f"fits {memory_bytes / 2**30:.0f} GiB of GPU memory, and more mostly gains nothing"
    else:
        why = f"fits the memory; {cpu_count} processors gain nothing from more"
    return AnnotatedValue("dataset.batch_size", size, why)


def _augmentation(survey: Survey) -> list[AnnotatedValue]:
    if not _is_small_scan(survey):
        why = "crops from a quarter of the image up; raise the first number where parts do not show the class"
        return [
            AnnotatedValue("dataset.augmentation.with_scale_random_crop.scale_range", [0.25, 1.0], why),
            AnnotatedValue(
                "dataset.augmentation.random_color.enable",
                False,
                "not needed; try it where the light changes",
            ),
        ]
    return [
        AnnotatedValue(
            "dataset.augmentation.with_scale_random_crop.scale_range",
            [0.8, 1.0],
            "small scans mostly show one thing that fills them; a smaller part may show something else",
        ),
        AnnotatedValue(
            "dataset.augmentation.random_flip.enable",
            False,
            "small grey scans are mostly writing or signs, and a mirrored sign is another sign",
        ),
    ]


def _train(recipe: _Recipe, training: int) -> list[AnnotatedValue]:
    epochs_why = f"{training} training images; fewer images would need more rounds"
    suggestions = [AnnotatedValue("train.num_epochs", recipe.num_epochs, epochs_why)]
    if training <= _SMALL_DATA:
        why = "with few validation images the best epoch is partly luck, and the rate ends at zero"
        suggestions.append(AnnotatedValue("train.keep", "last", why))
    suggestions += [
        AnnotatedValue("train.optim.optim", recipe.optim, "goes with the rates below"),
        AnnotatedValue("train.optim.lr", recipe.lr, "for the new head, which starts from nothing"),
    ]
    if recipe.lr_backbone is not None:
        suggestions.append(AnnotatedValue("train.optim.lr_backbone", recipe.lr_backbone, recipe.why))
    return [
        *suggestions,
        AnnotatedValue("train.optim.weight_decay", recipe.weight_decay, "usual with this optimizer"),
        AnnotatedValue(
            "train.optim.warmup_epochs", _WARMUP_EPOCHS, "the first steps of a new head are the wildest"
        ),
    ]
