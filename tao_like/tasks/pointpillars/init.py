"""``init``: looks at somebody's LiDAR frames and boxes and writes a spec that runs. Imports no torch."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tao_like.config.writing.annotated import AnnotatedValue
from tao_like.config.writing.suggested import refuse_existing, write_suggested
from tao_like.data.lidar.survey import SPLITS, ClassSurvey, LidarSurvey, survey_frames
from tao_like.tasks.common.suggested import BATCH_KEY, EPOCHS_KEY, asked
from tao_like.tasks.pointpillars.spec import Spec
from tao_like.tasks.pointpillars.spec_blocks.data import DEFAULT_AUGMENTATIONS, FEATURES, VOXELS

PILLAR_SIDES = (0.08, 0.1, 0.12, 0.16, 0.2, 0.24, 0.32, 0.4, 0.48, 0.64, 0.8)
"""Metres."""
CPU_PILLARS, GPU_PILLARS = 60_000, 250_000
"""Pillars of a map that train in bearable time."""
CPU_ACROSS, GPU_ACROSS = 1.75, 3.5
"""Pillars across the narrowest class: for people 0.32 m and 0.16 m, as in the shipped specs of KITTI."""
STRIDE = 2
"""Pillars along a side of a cell of the head."""
THRESHOLDS = ((2.0, 0.6, 0.45), (1.5, 0.5, 0.35), (0.0, 0.4, 0.25))
"""Cells across a class from which on it has these overlaps of anchors that learn it and that do not: the
published ones for KITTI's cars and people, and lower ones for what is hardly larger than a cell."""
MARGINS = np.array([1.0, 1.0, 0.5])
"""Metres between the outermost boxes and the border of what the network sees."""
OUTLIERS = 0.5
"""Percent of the boxes at each side that may lie outside."""
LARGEST_ECHO = 1.5
SCALES = (255, 65535)
LONG = 6.0
"""Metres from which on an object wants the third, coarser block of the small backbone."""
VAL_FRACTION = 0.15
BATCH = 4
STEPS = {False: 1200, True: 12000}
"""Optimizer steps of a training, roughly, without and with a GPU."""
MOST_EPOCHS, MOST_SAMPLED, FEWEST_POINTS = 80, 15, 5
FEW_STEPS = 5000
FEW_BOXES = 20


def write_spec(folder: Path, target: Path, overrides: Sequence[str] = (), *, force: bool) -> list[str]:
    """Writes a spec for the frames in a folder, and reads it back as a check.

    Args:
        folder: of a layout that ``data.lidar.survey`` knows.
        target: the spec file.
        overrides: ``key=value`` texts that take the place of what is suggested.
        force: overwrite ``target``.

    Returns:
        Lines that say what was found and written.

    Raises:
        DatasetError: the folder has no layout that is understood, or nothing labelled.
        SpecError: an override is wrong, or ``target`` is there already.
    """
    refuse_existing(target, force=force)
    survey = survey_frames(folder)
    has_gpu = shutil.which("nvidia-smi") is not None
    seen = _seen(survey)
    side = _pillar_side(survey, seen, has_gpu=has_gpu)
    steps = max(1, survey.frames["train"] // asked(overrides, AnnotatedValue(BATCH_KEY, BATCH)).value)
    usual = min(MOST_EPOCHS, max(10, round(STEPS[has_gpu] / steps)))
    epochs = asked(overrides, AnnotatedValue(EPOCHS_KEY, usual, f"{steps} steps each"))
    values = [
        *_model(survey, side, few_steps=epochs.value * steps < FEW_STEPS, has_gpu=has_gpu),
        *_data(survey),
        *_input(survey, seen, side, 2 ** _blocks(survey, has_gpu=has_gpu)),
        *_training(epochs),
    ]
    found = f"{sum(survey.frames.values())} frames, {len(survey.classes)} classes"
    return [
        *_found(survey),
        write_suggested(Spec, "pointpillars", folder, target, values, overrides, found=found),
    ]


def _seen(survey: LidarSurvey) -> list[float]:
    """Smallest x, y, z and largest x, y, z that hold the sensor and, but for outliers, the boxes."""
    boxes = survey.boxes
    half = np.stack([boxes[:, 3:5].max(axis=1)] * 2 + [boxes[:, 5]], axis=1) / 2
    low = np.percentile(boxes[:, :3] - half, OUTLIERS, axis=0) - MARGINS
    high = np.percentile(boxes[:, :3] + half, 100 - OUTLIERS, axis=0) + MARGINS
    # Left and right are swapped at random, so one reaches as far as the other.
    reach = max(-low[1], high[1])
    start = min(0.0, low[0])
    bottom, top = math.floor(10 * low[2]) / 10, math.ceil(10 * high[2]) / 10
    return [round(float(value), 2) for value in (start, -reach, bottom, high[0], reach, top)]


def _pillar_side(survey: LidarSurvey, seen: list[float], *, has_gpu: bool) -> float:
    """The largest side that resolves the narrowest class, or the smallest that makes few enough pillars."""
    narrowest = min(min(one.size[:2]) for one in survey.classes.values())
    wanted = narrowest / (GPU_ACROSS if has_gpu else CPU_ACROSS)
    area = (seen[3] - seen[0]) * (seen[4] - seen[1])
    most = GPU_PILLARS if has_gpu else CPU_PILLARS
    bearable = [side for side in PILLAR_SIDES if area / side**2 <= most] or [PILLAR_SIDES[-1]]
    return max([side for side in bearable if side <= wanted], default=bearable[0])


def _blocks(survey: LidarSurvey, *, has_gpu: bool) -> int:
    longest = max(max(one.size[:2]) for one in survey.classes.values())
    return 3 if has_gpu or longest > LONG else 2


def _model(survey: LidarSurvey, side: float, *, few_steps: bool, has_gpu: bool) -> Iterator[AnnotatedValue]:
    if few_steps:
        yield AnnotatedValue(
            "model.norm_momentum", 0.1, "few steps: statistics of the norm layers must come up quickly"
        )
    if not has_gpu:
        count = _blocks(survey, has_gpu=False)
        yield AnnotatedValue("model.vfe.num_filters", [32], "half the published width, for a CPU")
        yield AnnotatedValue(
            "model.backbone_2d.layer_nums",
            [2, 3, 3][:count],
            "narrow, for a CPU; a GPU wants the defaults",
        )
        yield AnnotatedValue("model.backbone_2d.layer_strides", [2] * count)
        yield AnnotatedValue("model.backbone_2d.num_filters", [32, 64, 128][:count])
        yield AnnotatedValue("model.backbone_2d.upsample_strides", [1, 2, 4][:count])
        yield AnnotatedValue("model.backbone_2d.num_upsample_filters", [32] * count)
    yield AnnotatedValue(
        "model.dense_head.anchor_generator_config",
        [_anchors(name, one, STRIDE * side) for name, one in survey.classes.items()],
        "median size and height of each class's boxes; classes that are hardly larger than a cell of the "
        f"head ({STRIDE * side:g} m) are matched sooner",
    )
    if not has_gpu:
        key = "model.post_processing.nms_config"
        yield AnnotatedValue(f"{key}.nms_pre_max_size", 1000, "suppression takes its time on a CPU")
        yield AnnotatedValue(f"{key}.nms_post_max_size", 100)


def _anchors(name: str, found: ClassSurvey, cell: float) -> dict[str, Any]:
    """The anchors of a class."""
    across = min(found.size[:2]) / cell
    matched, unmatched = next(pair for least, *pair in THRESHOLDS if across >= least)
    return {
        "class_name": name,
        "anchor_sizes": [[round(value, 2) for value in found.size]],
        "anchor_bottom_heights": [round(found.bottom, 2)],
        "matched_threshold": matched,
        "unmatched_threshold": unmatched,
    }


def _data(survey: LidarSurvey) -> Iterator[AnnotatedValue]:
    yield AnnotatedValue("dataset.type", survey.layout, "as the folders are laid out")
    yield AnnotatedValue("dataset.data_path", str(survey.root))
    for split in SPLITS:
        frames = survey.frames.get(split)
        why = "" if frames is None else f"{frames} frames"
        yield AnnotatedValue(f"dataset.data_split.{split}", survey.parts.get(split), why)
    if "val" not in survey.parts:
        yield AnnotatedValue(
            "dataset.data_split.val_share",
            VAL_FRACTION,
            "the data has no validation split, so it is the last frames by name; neighbours look alike",
        )
    yield AnnotatedValue(
        "dataset.class_names",
        list(survey.classes),
        "all labels of the training data, the most frequent first; take away here and from the anchors what "
        "is not to be found, or have it learnt as another by map_class_to",
    )
    if survey.values_per_point != len(FEATURES):
        extra = ["ring", *(f"value_{location}" for location in range(6, 6 + survey.values_per_point))]
        yield AnnotatedValue(
            "dataset.point_feature_encoding.src_feature_list",
            [*FEATURES, *extra][: survey.values_per_point],
            "so many numbers a point; is their order right?",
        )
    if survey.echo > LARGEST_ECHO:
        scale = next((scale for scale in SCALES if survey.echo <= scale), math.ceil(survey.echo))
        yield AnnotatedValue(
            "dataset.point_feature_encoding.intensity_scale",
            scale,
            f"the strongest echo that was seen is {survey.echo:g}; the network expects 0 to 1",
        )


def _input(survey: LidarSurvey, seen: list[float], side: float, multiple: int) -> Iterator[AnnotatedValue]:
    """Range and pillars: whole pillars, as many as the strides divide."""
    start, low, bottom, end, high, top = seen
    columns = multiple * math.ceil((end - start) / (multiple * side) - 1e-6)
    rows = multiple * math.ceil((high - low) / (multiple * side) - 1e-6)
    limits = (start, -rows * side / 2, bottom, start + columns * side, rows * side / 2, top)
    yield AnnotatedValue(
        "dataset.point_cloud_range",
        [round(value, 4) for value in limits],
        f"holds the boxes but for {OUTLIERS:g} % at each side; {columns} x {rows} pillars",
    )
    yield AnnotatedValue(
        "dataset.data_processor",
        [{"name": VOXELS, "voxel_size": [side, side, round(top - bottom, 4)]}],
        "smaller pillars see finer things and take more time",
    )
    groups = [f"{name}:{_sampled(survey, one)}" for name, one in survey.classes.items()]
    fewest = [f"{name}:{FEWEST_POINTS}" for name in survey.classes]
    steps = [
        {"name": step.name}
        if step.name != "gt_sampling"
        else {"name": step.name, "sample_groups": groups, "preface": {"filter_by_min_points": fewest}}
        for step in DEFAULT_AUGMENTATIONS
    ]
    yield AnnotatedValue(
        "dataset.data_augmentor.aug_config_list",
        steps,
        "gt_sampling puts objects of other frames into a frame, about as many as it has",
    )
    yield AnnotatedValue(BATCH_KEY, BATCH)


def _sampled(survey: LidarSurvey, found: ClassSurvey) -> int:
    """Objects of a class to put into a frame: somewhat more than frames have."""
    return min(MOST_SAMPLED, max(3, round(1.5 * found.count / survey.frames["train"])))


def _training(epochs: AnnotatedValue) -> Iterator[AnnotatedValue]:
    yield epochs
    yield AnnotatedValue("train.validation_interval", max(1, epochs.value // 4), "validation takes its time")
    yield AnnotatedValue("train.clip_grad_norm", 10.0, "as OpenPCDet and TAO, with the rate and its cycle")
    yield AnnotatedValue("train.optim.lr", 3e-3)
    yield AnnotatedValue("train.optim.betas", [0.95, 0.99])
    yield AnnotatedValue("train.optim.policy", "one_cycle")
    yield AnnotatedValue(
        "train.keep", "last", "the schedule ends at rate zero; the best of few validations is partly luck"
    )


def _found(survey: LidarSurvey) -> Iterator[str]:
    splits = ", ".join(f"{name} {count}" for name, count in survey.frames.items())
    yield (
        f"{survey.layout}: {sum(survey.frames.values())} frames ({splits}), {survey.points} points each at "
        "the median"
    )
    sizes = {name: " x ".join(f"{value:.1f}" for value in one.size) for name, one in survey.classes.items()}
    boxes = ", ".join(f"{name} {one.count} ({sizes[name]} m)" for name, one in survey.classes.items())
    yield f"{len(survey.boxes)} training boxes of {len(survey.classes)} classes: {boxes}"
    if rare := [f"{name} {one.count}" for name, one in survey.classes.items() if one.count < FEW_BOXES]:
        yield f"Few boxes, from which little can be learnt: {', '.join(rare)}"
