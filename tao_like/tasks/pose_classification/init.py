"""``init``: looks at a folder of skeleton arrays and writes a spec that runs. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from tao_like.config.writing.annotated import AnnotatedValue
from tao_like.config.writing.suggested import refuse_existing, write_suggested
from tao_like.data.skeletons.arrays import LABEL_SUFFIXES, SkeletonData, open_sequences, read_skeleton_data
from tao_like.data.skeletons.layouts import CUSTOM, LAYOUTS, Layout, custom_layout
from tao_like.data.skeletons.survey import bones_of, shown_lengths, side_classes
from tao_like.errors import DatasetError, SpecError
from tao_like.tasks.pose_classification.spec import Spec

SPLITS = ("train", "val", "test")
FEW = 2000
"""Sequences up to which the small network is suggested."""
LONG, SHORT = 100, 16
"""Frames that ST-GCN++ was published with, and the fewest that make sense."""
WINDOW_PERCENTILE = 75
"""Of the lengths of sequences: one that is far longer than the others does not count."""


def write_spec(folder: Path, target: Path, overrides: Sequence[str] = (), *, force: bool) -> list[str]:
    """Writes a spec for the arrays in a folder, and reads it back as a check.

    Args:
        folder: with ``train...npy`` and its labels, and perhaps ``val...`` and ``test...``.
        target: the spec file.
        overrides: ``key=value`` texts that take the place of what is suggested.
        force: overwrite ``target``.

    Returns:
        Lines that say what was found and written.

    Raises:
        DatasetError: the folder has no arrays of that kind, or they cannot be read.
        SpecError: an override is wrong, ``target`` is there already, or the number of joints is that of no
            known layout and its bones cannot be measured.
    """
    refuse_existing(target, force=force)
    found = _found_files(folder)
    data = _opened(*found["train"])
    layout, layout_keys = _layout(data)
    values = [*_model(data, layout_keys), *_dataset(data, layout, found), *_training(data, "val" in found)]
    classes = len(set(data.labels.labels))
    words = f"{len(data)} training sequences, {classes} classes"
    written = write_suggested(Spec, "pose_classification", folder, target, values, overrides, found=words)
    _, channels, frames, joints, persons = data.values.shape
    return [
        f"{len(data)} training sequences of {classes} classes: {channels} channels, {frames} frames, "
        f"{joints} joints, {persons} persons; splits: {', '.join(found)}.",
        *(f"{key.key}={key.value}: {key.why}" for key in layout_keys[:1] if key.value == CUSTOM),
        written,
    ]


def _found_files(folder: Path) -> dict[str, tuple[Path, Path]]:
    """Array and labels of each split that is there."""
    if not folder.is_dir():
        raise DatasetError(f"{folder} is not a folder; give one with train_data.npy and train_labels.json")
    found = {}
    for split in SPLITS:
        files = sorted(path for path in folder.glob(f"{split}*") if path.suffix in LABEL_SUFFIXES)
        labels = [path for path in files if "label" in path.stem]
        arrays = [path for path in files if path.suffix == ".npy" and path not in labels]
        if arrays and labels:
            found[split] = (arrays[0], labels[0])
    if "train" not in found:
        raise DatasetError(
            f"{folder} has no train...npy with train...label... beside it ({', '.join(LABEL_SUFFIXES)}); "
            "`tao-like pose_classification dataset_convert` writes them from other formats"
        )
    return found


def _opened(array: Path, labels: Path) -> SkeletonData:
    shape = open_sequences(array, "init").shape
    if shape[1] not in (2, 3):
        raise DatasetError(
            f"{array} has {shape[1]} channels (its shape is {shape}); it must be 2 or 3: x, y and perhaps z "
            "or a score"
        )
    return read_skeleton_data(array, labels, channels=shape[1], joints=shape[3], key="init")


def _dimensions(data: SkeletonData) -> int:
    """Channels that are coordinates: where the third lies between 0 and 1, it is a score."""
    channels = data.values.shape[1]
    return 2 if channels == 3 and _is_score(data) else channels


def _layout(data: SkeletonData) -> tuple[Layout, list[AnnotatedValue]]:
    """The layout that the data has, with the keys that say so: a published one, else measured bones.

    Raises:
        SpecError: no published layout has so many joints, and too few frames show all of them to measure.
    """
    joints, dimensions = data.values.shape[3], _dimensions(data)
    named = [layout for layout in LAYOUTS.values() if len(layout.joints) == joints]
    # 17 joints: in an image they are COCO's, in space Human3.6M's.
    named.sort(key=lambda layout: (layout.name == "coco") != (dimensions == 2))
    checks = {layout.name: bones_of(data, layout, dimensions) for layout in named}
    fitting = [layout for layout in named if (check := checks[layout.name]) is None or check.is_plausible]
    if fitting:
        why = f"the layout with {joints} joints"
        return fitting[0], [AnnotatedValue("model.graph_layout", fitting[0].name, why)]
    bare = named[0] if named else custom_layout(_numbered(joints), _chain(joints), 0)
    bones = checks[named[0].name] if named else bones_of(data, bare, dimensions)
    if bones is None:
        raise SpecError(
            f"{data.path} has {joints} joints, and no known layout has so many; describe it with "
            "model.graph_layout=custom and model.layout"
        )
    why = "no known layout has so many joints"
    if named:
        why = (
            f"not {bare.name}, though it has {joints} joints: in this order its bones would be "
            f"{bones.ratio:.1f} times as long as the shortest way to join all joints"
        )
    own = custom_layout(_numbered(joints), bones.edges, bones.center)
    return own, [
        AnnotatedValue("model.graph_layout", CUSTOM, why),
        AnnotatedValue(
            "model.layout.joints",
            list(own.joints),
            "give them their names: left and right, hips and shoulders",
        ),
        AnnotatedValue(
            "model.layout.edges",
            [list(edge) for edge in own.edges],
            "joints that are near each other in the data",
        ),
        AnnotatedValue("model.layout.center", own.center, "in the middle of these edges"),
    ]


def _numbered(joints: int) -> list[str]:
    return [f"joint {number}" for number in range(joints)]


def _chain(joints: int) -> list[tuple[int, int]]:
    return [(number, number + 1) for number in range(joints - 1)]


def _model(data: SkeletonData, layout_keys: list[AnnotatedValue]) -> Iterator[AnnotatedValue]:
    channels = data.values.shape[1]
    few = len(data) <= FEW
    yield AnnotatedValue("model.model_type", "ST-GCN++", "more accurate than ST-GCN with half its size")
    yield from layout_keys
    yield AnnotatedValue("model.input_channels", channels, "as the array has them")
    if _dimensions(data) < channels:
        yield AnnotatedValue("model.confidence", True, "the third channel lies between 0 and 1: a score")
    if few:
        yield AnnotatedValue("model.base_channels", 32, f"half the published width for {len(data)} sequences")
        yield AnnotatedValue("model.num_blocks", 8)
        yield AnnotatedValue("model.dropout", 0.2)


def _is_score(data: SkeletonData) -> bool:
    some = np.asarray(data.values[:: max(1, len(data) // 50), 2])
    return bool(some.min() >= 0 and some.max() <= 1)


def _dataset(
    data: SkeletonData, layout: Layout, found: dict[str, tuple[Path, Path]]
) -> Iterator[AnnotatedValue]:
    for split, (array, labels) in found.items():
        yield AnnotatedValue(f"dataset.{split}_dataset.data_path", str(array))
        yield AnnotatedValue(f"dataset.{split}_dataset.label_path", str(labels))
    lengths = shown_lengths(data)
    typical = int(np.percentile(lengths, WINDOW_PERCENTILE)) if len(lengths) else data.values.shape[2]
    window = min(LONG, max(SHORT, typical))
    why = (
        f"spread evenly over each sequence; {WINDOW_PERCENTILE} % have at most {typical} frames, the longest "
        f"{lengths.max(initial=typical)}"
    )
    yield AnnotatedValue("dataset.window_size", window, why)
    if layout.spine:
        yield AnnotatedValue(
            "dataset.scale_by_body", True, "how tall a person is says nothing of what he does"
        )
    yield AnnotatedValue("dataset.batch_size", 16)
    if _dimensions(data) == 3 and layout.spine and layout.shoulders:
        yield AnnotatedValue("dataset.align_axes", True, "nor does the direction that he faces")
    if len(data) <= FEW:
        yield AnnotatedValue(
            "dataset.augmentation.rotation", 15, "with few sequences, changes at random help"
        )
        yield AnnotatedValue("dataset.augmentation.scale", 0.1)
        yield from _mirroring(data, layout)


def _mirroring(data: SkeletonData, layout: Layout) -> Iterator[AnnotatedValue]:
    names = class_names_of(data)
    key = "dataset.augmentation.mirror_prob"
    if sided := side_classes(data, names, layout, _dimensions(data)):
        yield AnnotatedValue(key, 0.0, f"left and right make different classes: {', '.join(sided[:4])}")
    elif layout.pairs:
        yield AnnotatedValue(key, 0.5, "0 where left and right make different classes")


def class_names_of(data: SkeletonData) -> list[str]:
    """Class names as the labels have them, else the numbers."""
    return list(data.labels.classes) or [str(number) for number in range(max(data.labels.labels) + 1)]


def _training(data: SkeletonData, has_val: bool) -> Iterator[AnnotatedValue]:
    epochs = 60 if len(data) <= FEW else 80
    yield AnnotatedValue("train.num_epochs", epochs)
    if not has_val:
        yield AnnotatedValue("train.keep", "last", "there is no validation data to choose an epoch by")
    yield AnnotatedValue("train.label_smoothing", 0.1)
    yield AnnotatedValue("train.optim.lr", 0.05, "SGD with Nesterov's momentum, for batches of 16")
    yield AnnotatedValue("train.optim.weight_decay", 5e-4)
    yield AnnotatedValue("train.optim.policy", "cosine")
    yield AnnotatedValue("train.optim.warmup_epochs", 1.0)
