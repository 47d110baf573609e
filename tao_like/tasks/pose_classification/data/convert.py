"""Sequences of other programs and data sets as the arrays that this task reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tao_like.config.writing.annotated import AnnotatedValue, annotated_yaml
from tao_like.data.skeletons.annotations import annotated_sequences
from tao_like.data.skeletons.arrays import write_labels
from tao_like.data.skeletons.formats import (
    DeepStreamForm,
    FoundSequence,
    OnWrong,
    csv_sequences,
    deepstream_sequences,
    ntu_sequences,
    utkinect_sequences,
)
from tao_like.errors import DatasetError, SpecError
from tao_like.runtime.inputs.skeleton import uniform_frames
from tao_like.tasks.pose_classification.spec import DatasetConvertSpec
from tao_like.tracking import atomic_path

KEY = "dataset_convert.data"


def convert_sequences(spec: DatasetConvertSpec, folder: Path) -> tuple[dict[str, Any], list[str], str]:
    """Writes ``<split>_data.npy`` and ``<split>_labels.json``; a file a sequence where there are no classes.

    Args:
        spec: names format, data and split.
        folder: where to write.

    Returns:
        What was written, as JSON, lines that say so, and the part of a spec that names it.

    Raises:
        SpecError: nothing is given to convert.
        DatasetError: what is given is wrong.
    """
    if not spec.data:
        raise SpecError(f"{KEY} is not given; it names the file or folder to convert")
    wrong: list[str] = []

    def on_wrong(error: DatasetError) -> None:
        if spec.on_error == "stop":
            raise error
        wrong.append(str(error))

    found = list(_finite(_sequences(spec, Path(spec.data), on_wrong), on_wrong))
    found = _of_one_kind(found, on_wrong)
    if not found:
        told = f"; the first: {wrong[0]}" if wrong else ""
        raise DatasetError(f"{KEY}: {spec.data} holds no sequence that can be used{told}")
    lines: list[str] = []
    report: dict[str, Any] = {"format": spec.format, "left_out": wrong, "splits": {}}
    classes = sorted({one.label for one in found if one.label is not None}, key=_by_number)
    if any(one.label is None for one in found):
        lines += _write_each(found, folder / "sequences", report, on_wrong)
        lines += [f"left out: {text}" for text in wrong]
        return report, lines, f"# inference:\n#   source: {folder / 'sequences'}\n"
    lines += [f"left out: {text}" for text in wrong]
    # Of several divisions, such as by person and by camera, a spec takes the first.
    named: dict[str, tuple[Path, Path]] = {}
    for split in sorted({one.split for one in found}):
        members = [one for one in found if one.split == split]
        data, labels, shape = _write_split(members, folder, split or "all", classes, spec.sequence_length_max)
        report["splits"][split or "all"] = {"data": str(data), "labels": str(labels), "shape": list(shape)}
        lines.append(f"{data}: {shape[0]} sequences, {shape[2]} frames, {len(classes)} classes")
        block = {"train": "train", "test": "test", "val": "val"}.get(
            split, "train" if "train" in split or not split else "val"
        )
        named.setdefault(block, (data, labels))
    values = [
        AnnotatedValue(f"dataset.{block}_dataset.{what}_path", str(path))
        for block, paths in named.items()
        for what, path in zip(("data", "label"), paths, strict=True)
    ]
    return report, lines, annotated_yaml(values)


def _sequences(spec: DatasetConvertSpec, data: Path, on_wrong: OnWrong) -> Iterator[FoundSequence]:
    if not data.exists():
        raise DatasetError(f"{KEY}: there is no {data}")
    if spec.format == "ntu":
        return ntu_sequences(data, spec.split, on_wrong)
    if spec.format == "utkinect":
        return utkinect_sequences(data, spec.split, on_wrong)
    if spec.format == "csv":
        return csv_sequences(data, spec.num_joints, on_wrong)
    if spec.format == "pyskl":
        return annotated_sequences(data, spec.split, on_wrong)
    form = DeepStreamForm(
        spec.pose_type,
        spec.num_joints,
        spec.input_width,
        spec.input_height,
        spec.focal_length,
        spec.sequence_length,
        spec.sequence_length_min,
        spec.sequence_overlap,
    )
    return deepstream_sequences(data, form, on_wrong)


def _finite(found: Iterator[FoundSequence], on_wrong: OnWrong) -> Iterator[FoundSequence]:
    """Those whose values are numbers."""
    for one in found:
        if np.isfinite(one.values).all():
            yield one
        else:
            on_wrong(DatasetError(f"{KEY}: the sequence {one.name} holds values that are NaN or infinite"))


def _of_one_kind(found: list[FoundSequence], on_wrong: OnWrong) -> list[FoundSequence]:
    """Those with as many channels and joints as most have, and with a class where any has one."""
    shapes = Counter(_form(one) for one in found)
    if len(shapes) > 1:
        ((usual, count),) = shapes.most_common(1)
        for one in found:
            if _form(one) != usual:
                on_wrong(
                    DatasetError(
                        f"{KEY}: sequences differ in channels and joints: {one.name} has {_form(one)}, and "
                        f"{count} of {len(found)} have {usual}; give those of one kind"
                    )
                )
        found = [one for one in found if _form(one) == usual]
    unlabeled = [one for one in found if one.label is None]
    if unlabeled and len(unlabeled) < len(found):
        for one in unlabeled:
            on_wrong(
                DatasetError(f"{KEY}: {one.name} has no class, and others have; put it into a class folder")
            )
        found = [one for one in found if one.label is not None]
    return found


def _form(one: FoundSequence) -> tuple[int, int]:
    return one.values.shape[0], one.values.shape[2]


def _by_number(label: str) -> tuple[int, str]:
    """Class names that are numbers in the order of these."""
    return (int(label), "") if label.isdecimal() else (-1, label)


def _joined(found: list[FoundSequence], most: int) -> npt.NDArray[np.float32]:
    """(N, C, T, V, M): as long as the longest, at most so many frames; zeros behind and for absent ones."""
    shapes = {(one.values.shape[0], one.values.shape[2]) for one in found}
    ((channels, joints),) = shapes
    frames = min(most, max(one.values.shape[1] for one in found))
    persons = max(one.values.shape[3] for one in found)
    array = np.zeros((len(found), channels, frames, joints, persons), np.float32)
    for position, one in zip(array, found, strict=True):
        values = one.values
        if values.shape[1] > frames:
            values = values[:, uniform_frames(values.shape[1], frames)]
        position[:, : values.shape[1], :, : values.shape[3]] = values
    return array


def _write_split(
    found: list[FoundSequence], folder: Path, split: str, classes: list[str], most: int
) -> tuple[Path, Path, tuple[int, ...]]:
    """The files of the array and of its labels, and the array's shape."""
    data, labels = (_inside(folder, name) for name in (f"{split}_data.npy", f"{split}_labels.json"))
    array = _joined(found, most)
    _write_array(data, array)
    with atomic_path(labels) as path:
        numbers = [classes.index(str(one.label)) for one in found]
        write_labels(path, [one.name for one in found], numbers, classes)
    return data, labels, array.shape


def _write_each(
    found: list[FoundSequence], folder: Path, report: dict[str, Any], on_wrong: OnWrong
) -> list[str]:
    written = 0
    for one in found:
        try:
            target = _inside(folder, f"{one.name}.npy")
        except DatasetError as error:
            on_wrong(error)
            continue
        _write_array(target, one.values)
        written += 1
    report["sequences"] = written
    return [f"{folder}: {written} sequences without classes, for inference"]


def _inside(folder: Path, name: str) -> Path:
    """A file below a folder; names come out of the data, and might lead elsewhere. Raises DatasetError."""
    target = folder / name
    if not target.resolve().is_relative_to(folder.resolve()):
        raise DatasetError(f"{KEY}: the name {name!r} in the data leads out of {folder}; correct it")
    return target


def _write_array(target: Path, array: npt.NDArray[np.float32]) -> None:
    """As numpy.save, which on a full disk raises an error that does not say so."""
    with atomic_path(target) as path, path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(array))
        for part in np.ascontiguousarray(array):
            file.write(part.tobytes())
