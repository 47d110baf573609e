"""Skeleton sequences as other programs and data sets write them, one function a format."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tao_like.data.images.files import split_name
from tao_like.errors import DatasetError
from tao_like.runtime.inputs.skeleton import read_table

NTU_TRAINING_SUBJECTS = frozenset((1, 2, 4, 5, 8, 9, 13, 14, 15, 16, 17, 18, 19, 25, 27, 28, 31, 34, 35, 38))
"""Cross-subject split of NTU RGB+D (Shahroudy et al. 2016, section 3.2): 20 of 40 people."""
NTU_SUBJECTS = 40
NTU_TRAINING_CAMERAS = frozenset((2, 3))
"""Cross-view split of the same."""
NTU_JOINTS, NTU_PERSONS = 25, 2
UTKINECT_TRAINING_SUBJECTS = frozenset((1, 2, 3, 4, 5))
UTKINECT_JOINTS = 20
UTKINECT_LABELS = "actionLabel.txt"

Sequence4 = npt.NDArray[np.float32]
OnWrong = Callable[[DatasetError], None]
"""Is told of a file that is wrong; raises it to stop."""


@dataclass(frozen=True)
class FoundSequence:
    """One sequence of a data set.

    Attributes:
        name: of the sequence.
        label: name of its class; None: not known.
        values: (C, T, V, M).
        split: ``train`` or ``test``; empty: the data set divides nothing.
    """

    name: str
    label: str | None
    values: Sequence4
    split: str = ""


# --- NTU RGB+D ---

_NTU_NAME = re.compile(r"S(\d{3})C(\d{3})P(\d{3})R(\d{3})A(\d{3})")


def ntu_sequences(folder: Path, split: str, on_wrong: OnWrong) -> Iterator[FoundSequence]:
    """The ``.skeleton`` files of NTU RGB+D in a folder; classes are A001 and so on.

    Args:
        folder: with the files.
        split: ``cross-subject``, ``cross-view`` or ``none``.
        on_wrong: see ``OnWrong``.
    """
    for path in _files(folder, "*.skeleton"):
        found = _NTU_NAME.fullmatch(path.stem)
        try:
            if found is None:
                raise DatasetError(
                    f"{path} is not named as NTU names its files, such as S001C002P003R002A013.skeleton"
                )
            camera, subject = int(found[2]), int(found[3])
            if split == "cross-subject" and subject > NTU_SUBJECTS:
                raise DatasetError(
                    f"{path}: the cross-subject split knows persons 1 to {NTU_SUBJECTS}, not {subject}"
                )
            trains = (
                subject in NTU_TRAINING_SUBJECTS
                if split == "cross-subject"
                else camera in NTU_TRAINING_CAMERAS
            )
            subset = "" if split == "none" else ("train" if trains else "test")
            yield FoundSequence(path.stem, f"A{found[5]}", read_ntu(path), subset)
        except DatasetError as error:
            on_wrong(error)


def read_ntu(path: Path) -> Sequence4:
    """A ``.skeleton`` file as (3, T, 25, 2), in metres from the camera; of more than two bodies, the
    liveliest two.

    Raises:
        DatasetError: it is not whole.
    """
    words = iter(_text(path).split())
    try:
        frames = int(next(words))
        bodies: dict[str, npt.NDArray[np.float32]] = {}
        for frame in range(frames):
            for _ in range(int(next(words))):
                name = next(words)
                for _ in range(9):
                    next(words)
                joints = int(next(words))
                if joints != NTU_JOINTS:
                    raise DatasetError(f"{path}: a body has {joints} joints; NTU's have {NTU_JOINTS}")
                values = [[float(next(words)) for _ in range(12)][:3] for _ in range(joints)]
                body = bodies.setdefault(name, np.zeros((3, frames, NTU_JOINTS), np.float32))
                body[:, frame] = np.array(values).T
    except (StopIteration, ValueError) as error:
        raise DatasetError(
            f"{path} is damaged: it ends too early or holds no number where one belongs"
        ) from error
    if not bodies:
        raise DatasetError(f"{path} shows nobody")
    liveliest = sorted(bodies.values(), key=_liveliness, reverse=True)[:NTU_PERSONS]
    liveliest += [np.zeros_like(liveliest[0])] * (NTU_PERSONS - len(liveliest))
    return np.stack(liveliest, axis=3)


def _liveliness(body: npt.NDArray[np.float32]) -> float:
    """The sum of the standard deviations of x, y and z where the body is seen, as ST-GCN chooses bodies."""
    seen = body[:, body.any(axis=(0, 2))]
    return float(sum(axis.std() for axis in seen)) if seen.size else 0.0


# --- UTKinect-Action3D ---

_UTKINECT_NAME = re.compile(r"s(\d{2})_e(\d{2})")


def utkinect_sequences(folder: Path, split: str, on_wrong: OnWrong) -> Iterator[FoundSequence]:
    """UTKinect-Action3D (Xia et al. 2012): ``joints_sXX_eYY.txt`` beside ``actionLabel.txt``.

    An action whose frames the labels leave out (NaN) is wrong data. Rows of a frame that are repeated count
    once.
    """
    labels = folder / UTKINECT_LABELS
    if not labels.is_file():
        raise DatasetError(f"dataset_convert.data: there is no {labels}, in which UTKinect names its actions")
    rows: npt.NDArray[np.float64] | None = None
    name, subject = "", 0
    for line in _text(labels).splitlines():
        words = line.replace(":", " ").split()
        if not words:
            continue
        try:
            if found := _UTKINECT_NAME.fullmatch(words[0]):
                name, subject, rows = words[0], int(found[1]), None
                rows = _utkinect_rows(folder / f"joints_{name}.txt")
            elif rows is not None:
                values = _utkinect_clip(rows, words, f"{labels}: {name}")
                subset = "train" if subject in UTKINECT_TRAINING_SUBJECTS else "test"
                yield FoundSequence(f"{name}_{words[0]}", words[0], values, "" if split == "none" else subset)
        except DatasetError as error:
            on_wrong(error)


def _utkinect_rows(path: Path) -> npt.NDArray[np.float64]:
    """Frame number and 60 values a row, each frame once."""
    try:
        rows = np.array(
            [[float(word) for word in line.split()] for line in _text(path).splitlines() if line.strip()]
        )
    except ValueError as error:
        raise DatasetError(f"{path} is damaged: {error}") from error
    if rows.ndim != 2 or rows.shape[1] != 1 + 3 * UTKINECT_JOINTS:
        raise DatasetError(
            f"{path} is damaged: each row must hold a frame number and {3 * UTKINECT_JOINTS} values"
        )
    _, first = np.unique(rows[:, 0], return_index=True)
    return rows[first]


def _utkinect_clip(rows: npt.NDArray[np.float64], words: list[str], source: str) -> Sequence4:
    try:
        action, first, last = words[0], int(words[1]), int(words[2])
    except (ValueError, IndexError) as error:
        raise DatasetError(f"{source} {' '.join(words)}: the action has no first and last frame") from error
    chosen = rows[(rows[:, 0] >= first) & (rows[:, 0] <= last), 1:]
    if not len(chosen):
        raise DatasetError(f"{source} {action}: there are no joints of the frames {first} to {last}")
    joints = chosen.reshape(len(chosen), UTKINECT_JOINTS, 3).transpose(2, 0, 1)
    return np.asarray(joints[..., None], np.float32)


# --- tables ---


def csv_sequences(folder: Path, joints: int, on_wrong: OnWrong) -> Iterator[FoundSequence]:
    """Tables (see `runtime.skeleton.read_table`): in a folder a class, or beside each other without classes.

    Where all folders are called as splits are (train, valid, test, ...), they are splits, with the classes'
    folders inside.
    """
    files = _files(folder, "**/*.csv")
    splits = {split_name(path.relative_to(folder).parts[0]) for path in files}
    divided = "train" in splits and None not in splits
    for path in files:
        inside = path.relative_to(folder)
        folders = inside.parts[:-1]
        try:
            values = read_table(path, joints)
        except DatasetError as error:
            on_wrong(error)
            continue
        split = (split_name(folders[0]) or "") if divided else ""
        label = next(iter(folders[1:] if divided else folders), None)
        yield FoundSequence(inside.with_suffix("").as_posix(), label, values, split)


# --- DeepStream ---


@dataclass(frozen=True)
class DeepStreamForm:
    """How DeepStream's body poses become sequences; the names are those of TAO's spec.

    Attributes:
        pose_type: ``3dbp``, ``25dbp`` or ``2dbp``.
        joints: of a person.
        width: of the images, in pixels; height: likewise.
        focal_length: in pixels.
        length: frames of a cut; shortest: frames that a cut must have; overlap: fraction of two cuts.
    """

    pose_type: str
    joints: int
    width: int
    height: int
    focal_length: float
    length: int
    shortest: int
    overlap: float


def deepstream_sequences(path: Path, form: DeepStreamForm, on_wrong: OnWrong) -> Iterator[FoundSequence]:
    """Cuts of every tracked person in a JSON file of DeepStream's body pose app; they have no classes.

    Args:
        path: of the file.
        form: what its numbers are.
        on_wrong: see ``OnWrong``; is told of a person in a frame whose pose is wrong.

    Raises:
        DatasetError: it is no such file.
    """
    told = f"are dataset_convert.pose_type={form.pose_type} and num_joints={form.joints} right?"
    tracks: dict[int, list[npt.NDArray[np.float32]]] = defaultdict(list)
    try:
        content = json.loads(_text(path))
        persons = [person for batch in content for frame in batch["batches"] for person in frame["objects"]]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise DatasetError(
            f"dataset_convert.data: {path} is no JSON of DeepStream's body pose ({type(error).__name__}: "
            f"{error}); {told}"
        ) from error
    for number, person in enumerate(persons):
        try:
            pose = _deepstream_pose(person, form)
            tracks[int(person["object_id"])].append(pose)
        except (ValueError, TypeError, KeyError, OverflowError) as error:
            on_wrong(
                DatasetError(
                    f"dataset_convert.data: {path}: person {number} is no pose of DeepStream "
                    f"({type(error).__name__}: {error}); {told}"
                )
            )
    step = max(1, round(form.length * (1 - form.overlap)))
    for person, poses in tracks.items():
        track = np.stack(poses, axis=1)[..., None]
        for number, start in enumerate(range(0, track.shape[1], step)):
            cut = track[:, start : start + form.length]
            if cut.shape[1] >= form.shortest:
                yield FoundSequence(f"object_{person}_{number:03d}", None, cut)
            if start + form.length >= track.shape[1]:
                break


def _deepstream_pose(person: dict[str, Any], form: DeepStreamForm) -> npt.NDArray[np.float32]:
    """(C, V): relative to the first joint by the focal length, or to the image's middle by its size."""
    values = np.array(person["pose3d" if form.pose_type == "3dbp" else "pose25d"], np.float64)
    values = values.reshape(form.joints, 4).T
    coordinates, seen = values[:3], values[3] > 0
    if form.pose_type == "3dbp":
        coordinates = (coordinates - coordinates[:, :1]) / form.focal_length
    else:
        coordinates = np.stack(
            [coordinates[0] / form.width - 0.5, coordinates[1] / form.height - 0.5, coordinates[2]]
        )
    channels = 2 if form.pose_type == "2dbp" else 3
    return np.asarray(coordinates[:channels] * seen, np.float32)


# --- helpers ---


def _files(folder: Path, pattern: str) -> list[Path]:
    """Sorted, without hidden ones. Raises DatasetError where there are none."""
    if not folder.is_dir():
        raise DatasetError(f"dataset_convert.data: {folder} is not a folder")
    found = sorted(path for path in folder.glob(pattern) if path.is_file() and not _is_hidden(path, folder))
    if not found:
        raise DatasetError(f"dataset_convert.data: {folder} holds no file {pattern.rpartition('/')[2]}")
    return found


def _is_hidden(path: Path, folder: Path) -> bool:
    """Whether it is one of the files that systems leave beside others, such as macOS' ``._name``."""
    return any(part.startswith(".") or part == "__MACOSX" for part in path.relative_to(folder).parts)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path} cannot be read: {error}") from error
