"""``init``: looks at somebody's photos and masks and writes a spec that runs. Imports no torch."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tao_like.config.writing.annotated import AnnotatedValue
from tao_like.config.writing.suggested import refuse_existing, write_suggested
from tao_like.data.images.cache import MEMORY_FRACTION
from tao_like.data.masks.sources import MaskSource
from tao_like.data.masks.survey import MaskSurvey, survey_masks
from tao_like.data.splits.surveyed import UNSPLIT
from tao_like.runtime.memory import free_memory
from tao_like.tasks.common.suggested import (
    BATCH_KEY,
    EPOCHS_KEY,
    asked,
    backbone,
    division,
    next_multiple,
)
from tao_like.tasks.segmentation.spec import Spec
from tao_like.tasks.segmentation.spec_blocks.augmentation import MULTIPLE

BACKBONE = AnnotatedValue("model.backbone.type", "tf_efficientnet_lite0", "small, and quick on a CPU")
FEW_PHOTOS = 2000
CPU_WIDTH, GPU_WIDTH = 480, 1024
BIG = 2.0
"""Photos that are so many times as wide as the input lose their thin parts: then windows are suggested."""
ENLARGED = 2
"""Times that photos are enlarged which are still no wider than the usual input then."""
RARE_FRACTION = 0.02
CPU_STEPS, GPU_STEPS = 1000, 5000
CROP_FROM = 384
"""Width of an input from which on a training on a CPU learns from crops of half its sides."""
CROP_ZOOM = (0.55, 1.9)
"""Smallest and largest area of the photo in such a crop, of the area that it shows without any zoom."""
CPU_BATCH, GPU_BATCH = 4, 8


def write_spec(folder: Path, target: Path, overrides: Sequence[str] = (), *, force: bool) -> list[str]:
    """Writes a spec for the photos and masks in a folder, and reads it back as a check.

    Args:
        folder: of a layout that ``data.masks.layouts`` knows.
        target: the spec file.
        overrides: ``key=value`` texts that take the place of what is suggested.
        force: overwrite ``target``.

    Returns:
        Lines that say what was found and written.

    Raises:
        DatasetError: the folder has no layout that is understood.
        SpecError: an override is wrong, or ``target`` is there already.
    """
    refuse_existing(target, force=force)
    survey = survey_masks(folder)
    has_gpu = shutil.which("nvidia-smi") is not None
    values = [
        *_model(survey, overrides),
        *_data(survey),
        *_input(survey, has_gpu=has_gpu),
        *_training(survey, overrides, has_gpu=has_gpu),
    ]
    found = f"{sum(survey.images.values())} photos with {survey.kind} masks"
    return [
        *_found(survey),
        *survey.notes,
        write_suggested(Spec, "segmentation", folder, target, values, overrides, found=found),
    ]


def _model(survey: MaskSurvey, overrides: Sequence[str]) -> Iterator[AnnotatedValue]:
    yield AnnotatedValue(
        "model.arch", "segformer", "its decoder learns from few photos in few steps, rare classes too"
    )
    yield from backbone(overrides, BACKBONE)
    if survey.training_images < FEW_PHOTOS:
        yield AnnotatedValue(
            "model.backbone.freeze_norm", True, "small batches give poorer statistics than ImageNet's"
        )
    yield AnnotatedValue(
        "model.decode_head.decoder_params.embed_dim", 128, "half of the usual width: less work"
    )
    least = min(survey.fractions.values(), default=1.0)
    if least < RARE_FRACTION:
        yield AnnotatedValue(
            "model.loss.type",
            "ce_dice",
            f"the rarest class has {least:.2%} of the pixels; Dice counts it like others",
        )
        yield AnnotatedValue("model.loss.class_weights", "log_frequency", "and so that it is learnt early")


def _data(survey: MaskSurvey) -> Iterator[AnnotatedValue]:
    for name, source in survey.sources.items():
        split = "train" if name == UNSPLIT else name
        why = f"{survey.images[name]} photos"
        for key, value in _plain(source):
            yield AnnotatedValue(f"dataset.{split}_dataset.{key}", value, why)
            why = ""
    yield from division(survey.sources)
    if survey.classes_file is not None:
        yield AnnotatedValue(
            "dataset.classes_file", str(survey.classes_file), "the names of the values from 0 on"
        )
    if survey.palette:
        entries: list[dict[str, Any]] = [
            {"label_id": one.label_id, "seg_class": one.name, **({"rgb": list(one.rgb)} if one.rgb else {})}
            for one in survey.palette
        ]
        yield AnnotatedValue(
            "dataset.palette",
            entries,
            "what the masks hold; rename seg_class, and give several one mapping_class to merge them",
        )
    if survey.kind == "binary":
        yield AnnotatedValue(
            "dataset.label_transform", "norm", "the masks hold 0 and 255 in the place of 0 and 1"
        )


def _plain(source: MaskSource) -> Iterator[tuple[str, str]]:
    for name, value in vars(source).items():
        if value:
            yield name, str(value)


def _input(survey: MaskSurvey, *, has_gpu: bool) -> Iterator[AnnotatedValue]:
    most = GPU_WIDTH if has_gpu else CPU_WIDTH
    is_small = ENLARGED * survey.width <= most
    width = min(most, next_multiple(survey.width * (ENLARGED if is_small else 1), MULTIPLE))
    is_big = survey.width > BIG * most
    why = (
        f"{ENLARGED} times the photos' own, for thin parts: maps have a quarter of it"
        if is_small
        else "the photos' own"
        if width >= survey.width
        else "what is done in bearable time here; time grows with area"
    )
    yield AnnotatedValue("dataset.img_size", width, why)
    height = next_multiple(width * (1.0 if is_big else survey.height / survey.width), MULTIPLE)
    if height != width:
        yield AnnotatedValue(
            "dataset.img_height",
            height,
            f"photos of {survey.width} x {survey.height} then have hardly any borders",
        )
    if is_big:
        yield AnnotatedValue(
            "dataset.tiling.enable",
            True,
            f"photos of {survey.width} pixels would lose thin parts in the input",
        )
    if not has_gpu and width >= CROP_FROM:
        yield from _crop(width, height)
    bytes_needed = 3 * survey.width * survey.height * sum(survey.images.values())
    if bytes_needed < MEMORY_FRACTION * free_memory():
        yield AnnotatedValue(
            "dataset.cache", "ram", f"all photos take {bytes_needed / 2**30:.1f} GiB when they are decoded"
        )
    yield AnnotatedValue(
        "dataset.augmentation.random_flip.hflip_probability",
        0.5,
        "0 where left and right are different classes: sides of a body, lanes of a road",
    )


def _crop(width: int, height: int) -> Iterator[AnnotatedValue]:
    crop = [next_multiple(side / 2, MULTIPLE) for side in (height, width)]
    fraction = crop[0] * crop[1] / (width * height)
    yield AnnotatedValue(
        "dataset.augmentation.train_crop_size",
        crop,
        "a quarter of the pixels, so four times as many photos are seen in the same time",
    )
    yield AnnotatedValue(
        "dataset.augmentation.with_scale_random_crop.scale_range",
        [round(min(1.0, zoom * fraction), 2) for zoom in CROP_ZOOM],
        "fractions of the photo that fill a crop: thin parts keep about their width",
    )


def _training(survey: MaskSurvey, overrides: Sequence[str], *, has_gpu: bool) -> Iterator[AnnotatedValue]:
    size = GPU_BATCH if has_gpu else CPU_BATCH
    batch = asked(overrides, AnnotatedValue(BATCH_KEY, size, "enough steps an epoch"))
    yield batch
    steps = max(1, survey.training_images // batch.value)
    usual = min(200, max(10, round((GPU_STEPS if has_gpu else CPU_STEPS) / steps)))
    epochs = asked(overrides, AnnotatedValue(EPOCHS_KEY, usual, f"{steps} steps each"))
    yield epochs
    yield AnnotatedValue("train.validation_interval", max(1, epochs.value // 10), "ten validations")
    yield AnnotatedValue("train.enable_ema", True, "the average of the last weights is steadier")
    yield AnnotatedValue("train.optim.lr", 1.5e-3, "for the decoder, which is new")
    yield AnnotatedValue("train.optim.lr_backbone", 2e-4, "less for what is pretrained")
    yield AnnotatedValue("train.optim.warmup_epochs", 1.0)
    yield AnnotatedValue("train.optim.monitor_name", "val_mIoU", "mean intersection over union")
    yield AnnotatedValue(
        "train.keep", "last", "the schedule ends at rate zero; the best of many epochs is partly luck"
    )


def _found(survey: MaskSurvey) -> Iterator[str]:
    splits = ", ".join(f"{name} {count}" for name, count in survey.images.items())
    yield f"{sum(survey.images.values())} photos ({splits}) with {survey.kind} masks"
    shown = [f"{name} {fraction:.1%}" for name, fraction in list(survey.fractions.items())[:12]]
    what = {"coco": "classes", "color": "colors"}.get(survey.kind, "values")
    yield f"{len(survey.fractions)} {what}: {', '.join(shown)}{', ...' if len(survey.fractions) > 12 else ''}"
    yield f"Photos are {survey.width} x {survey.height} pixels at the median."
