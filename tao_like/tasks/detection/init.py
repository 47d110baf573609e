"""``init``: looks at somebody's images and boxes and writes a spec that runs. Imports no torch."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tao_like.config.blocks.common import CommonSpec
from tao_like.config.writing.annotated import AnnotatedValue
from tao_like.config.writing.suggested import given_key, refuse_existing, write_suggested
from tao_like.data.boxes.sources import BoxSource
from tao_like.data.boxes.survey import BoxSurvey, survey_boxes
from tao_like.data.images.cache import MEMORY_FRACTION
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
from tao_like.tasks.detection.spec import LARGEST_STRIDE, Spec

BACKBONE = AnnotatedValue(
    "model.backbone.type", "tf_efficientnet_lite0", "small, and quick on a CPU; any timm backbone goes"
)
FEW_IMAGES = 2000
CPU_SIDE, GPU_SIDE = 320, 640
SMALLEST_SIDE = 12
"""Pixels of the input that the median box should have at least."""
LARGEST_CPU_SIDE = 640
_TOLD_BY_THE_FILES = ("auto", "coco", "voc", "kitti", "yolo", "labelme", "csv", "cvat")
"""Formats that need no word in the spec, as the files are read alike without it."""
_CLASSES_KEYS = ("dataset.classes_file", "classes_file")
STEPS = 1000
"""Optimizer steps of a training, roughly, on a CPU."""
CPU_BATCH, GPU_BATCH = 8, 16


def write_spec(
    folder: Path,
    target: Path,
    overrides: Sequence[str] = (),
    *,
    force: bool,
    task: str = "detection",
    spec: type[CommonSpec] = Spec,
    instead: Sequence[AnnotatedValue] = (),
) -> list[str]:
    """Writes a spec for the images in a folder, and reads it back as a check.

    Args:
        folder: of a layout that ``data.boxes.survey`` knows.
        target: the spec file.
        overrides: ``key=value`` texts that take the place of what is suggested.
        force: overwrite ``target``.
        task: that the spec is for.
        spec: its spec.
        instead: what it suggests for keys in the place of what suits detection, or beside it.

    Returns:
        Lines that say what was found and written.

    Raises:
        DatasetError: the folder has no layout that is understood.
        SpecError: an override is wrong, or ``target`` is there already.
    """
    refuse_existing(target, force=force)
    survey, overrides = _survey(folder, overrides)
    has_gpu = shutil.which("nvidia-smi") is not None
    others = {value.key: value for value in instead}
    usual = AnnotatedValue(BATCH_KEY, GPU_BATCH if has_gpu else CPU_BATCH, "enough steps an epoch")
    batch = asked(overrides, others.pop(BATCH_KEY, usual))
    values = [
        *_model(survey, overrides),
        *_data(survey),
        *_input(survey, has_gpu=has_gpu),
        batch,
        *_training(survey, batch, overrides, has_gpu=has_gpu),
    ]
    values = [others.pop(value.key, value) for value in values] + list(others.values())
    found = f"{sum(survey.images.values())} images, {len(survey.boxes)} classes"
    return [
        *_found(survey),
        *survey.notes,
        write_suggested(spec, task, folder, target, values, overrides, found=found),
    ]


def _survey(folder: Path, overrides: Sequence[str]) -> tuple[BoxSurvey, list[str]]:
    """A look at the folder, and the overrides that are left for the spec.

    YOLO's labels cannot be read without the names of their numbers, so a file of names counts here already.
    """
    given = [text for text in overrides if given_key(text) in _CLASSES_KEYS]
    if not given:
        return survey_boxes(folder), list(overrides)
    classes_file = Path(given[-1].split("=", 1)[1])
    survey = survey_boxes(folder, classes_file)
    if any(one.classes_file == classes_file for several in survey.sources.values() for one in several):
        return survey, [text for text in overrides if text not in given]
    return survey, list(overrides)


def _model(survey: BoxSurvey, overrides: Sequence[str]) -> Iterator[AnnotatedValue]:
    yield from backbone(overrides, BACKBONE)
    if survey.training_images < FEW_IMAGES:
        yield AnnotatedValue(
            "model.backbone.freeze_norm", True, "small batches give poorer statistics than ImageNet's"
        )


def _data(survey: BoxSurvey) -> Iterator[AnnotatedValue]:
    for name, sources in survey.sources.items():
        split = "train" if name == UNSPLIT else name
        yield AnnotatedValue(
            f"dataset.{split}_data_sources",
            [_plain(source) for source in sources],
            f"{survey.format}: {survey.images[name]} images",
        )
    yield from division(survey.sources)


def _plain(source: BoxSource) -> dict[str, Any]:
    return {
        name: str(value)
        for name, value in vars(source).items()
        if value is not None and not (name == "format" and value in _TOLD_BY_THE_FILES)
    }


def _input(survey: BoxSurvey, *, has_gpu: bool) -> Iterator[AnnotatedValue]:
    side = GPU_SIDE if has_gpu else CPU_SIDE
    why = "what a GPU does quickly" if has_gpu else "what a CPU does in bearable time"
    needed = SMALLEST_SIDE / max(survey.side, 1e-6)
    if needed > side:
        limit = 2 * GPU_SIDE if has_gpu else LARGEST_CPU_SIDE
        side = min(limit, next_multiple(needed, LARGEST_STRIDE))
        why = f"half of the boxes are smaller than {survey.side:.1%} of their image"
    yield AnnotatedValue("dataset.img_size", side, f"{why}; time grows with the area")
    height = next_multiple(side * survey.height / survey.width, LARGEST_STRIDE)
    if height < side:
        yield AnnotatedValue(
            "dataset.img_height",
            height,
            f"images of {survey.width} x {survey.height} then have hardly any borders",
        )
    bytes_needed = 3 * survey.width * survey.height * sum(survey.images.values())
    if bytes_needed < MEMORY_FRACTION * free_memory():
        yield AnnotatedValue(
            "dataset.cache", "ram", f"all images take {bytes_needed / 2**30:.1f} GiB when they are decoded"
        )
    yield AnnotatedValue(
        "dataset.augmentation.horizontal_flip_prob",
        0.5,
        "0 where a mirrored object is another one: writing, signs, left and right hands",
    )


def _training(
    survey: BoxSurvey, batch: AnnotatedValue, overrides: Sequence[str], *, has_gpu: bool
) -> Iterator[AnnotatedValue]:
    steps = max(1, survey.training_images // batch.value)
    usual = min(100, max(10, round((5 if has_gpu else 1) * STEPS / steps)))
    epochs = asked(overrides, AnnotatedValue(EPOCHS_KEY, usual, f"{steps} steps each"))
    plain = max(1, epochs.value // 10)
    yield AnnotatedValue("dataset.augmentation.plain_epochs", plain, "a tenth of the training")
    yield epochs
    yield AnnotatedValue("train.enable_ema", True, "the average of the last weights is steadier")
    yield AnnotatedValue("train.optim.lr", 1e-3, "for neck and head, which are new")
    yield AnnotatedValue("train.optim.lr_backbone", 3e-4, "less for what is pretrained")
    yield AnnotatedValue("train.optim.warmup_epochs", 0.5)
    yield AnnotatedValue("train.optim.monitor_name", "val_mAP50", "average precision at overlap 0.5")
    yield AnnotatedValue(
        "train.keep", "last", "the schedule ends at rate zero; the best of many epochs is partly luck"
    )


def _found(survey: BoxSurvey) -> Iterator[str]:
    splits = ", ".join(f"{name} {count}" for name, count in survey.images.items())
    names = [f"{name} {count}" for name, count in survey.boxes.items()]
    classes = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
    yield f"{survey.format}: {sum(survey.images.values())} images ({splits})"
    boxes = "training boxes" if survey.is_split else "boxes"
    yield f"{sum(survey.boxes.values())} {boxes} of {len(names)} classes: {classes}"
    yield (
        f"Images are {survey.width} x {survey.height} pixels at the median, boxes {survey.side:.0%} of "
        f"that; at most {survey.most_boxes} on an image."
    )
