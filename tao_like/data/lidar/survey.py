"""Finding out how a folder of LiDAR frames with boxes is laid out, and what its data is like."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tao_like.data.images.files import check_is_folder, first_of, listing, split_name
from tao_like.data.lidar.frame import LidarRecord, points_of
from tao_like.data.lidar.kitti import read_text
from tao_like.data.lidar.sources import LAYOUTS, LidarSource, is_frame
from tao_like.errors import DatasetError
from tao_like.runtime.inputs.files import read_array
from tao_like.runtime.inputs.points import (
    POINT_FEATURES,
    PointsPreprocessing,
    other_period,
    read_points,
)

SPLITS = ("train", "val", "test")
UNSPLIT = "."
"""Part of TAO's layout whose frames lie in the folder itself."""
EXPLANATION = """\
Layouts that are understood:
  GeneralPCDataset  TAO's: train/lidar/*.bin and train/label/*.txt, likewise val and test; or lidar and label
  KittiDataset      as published: training/velodyne, label_2, calib, perhaps ImageSets/train.txt and val.txt
  CustomDataset     OpenPCDet's: points/*.npy and labels/*.txt, perhaps ImageSets/train.txt and val.txt"""
FRAMES_READ = 40
MOST_VALUES = 8
"""Numbers of a point in a .bin file, at most."""
EVERYWHERE = (-1e6, -1e6, -1e6, 1e6, 1e6, 1e6)


@dataclass(frozen=True)
class ClassSurvey:
    """The training boxes of a class.

    Attributes:
        count: how many there are.
        size: median length, width and height in metres.
        bottom: median height of their undersides above the sensor, in metres.
    """

    count: int
    size: tuple[float, float, float]
    bottom: float


@dataclass(frozen=True)
class LidarSurvey:
    """What a look at a folder gave.

    Attributes:
        layout: as ``dataset.type`` names it.
        root: folder of the data.
        parts: for each split its folder or list; a split that the data has not is not there.
        frames: of each split.
        classes: of the training data, the most frequent first.
        boxes: (N, 7) of the training data.
        values_per_point: numbers of a point in a file.
        echo: strongest echo in the frames that were read.
        points: of a frame, at the median.
    """

    layout: str
    root: Path
    parts: Mapping[str, str]
    frames: Mapping[str, int]
    classes: Mapping[str, ClassSurvey]
    boxes: npt.NDArray[np.float64]
    values_per_point: int
    echo: float
    points: int


def survey_frames(folder: Path) -> LidarSurvey:
    """Recognises TAO's layout, KITTI's and OpenPCDet's, divided into splits or not.

    Raises:
        DatasetError: there is no layout that is understood (the message shows those that are), a file is
            damaged, or no frame has a labelled object.
    """
    check_is_folder(folder, "frames and labels")
    layout, root, parts = _recognise(folder)
    records = {split: LAYOUTS[layout](LidarSource(root), part) for split, part in parts.items()}
    main = records["train"]
    classes, boxes = _described(main)
    if not classes:
        sized = next((record for record in main if record.objects), None)
        told = f" with a length, width and height above 0, as in {sized.source}" if sized else ""
        raise DatasetError(f"{folder}: none of {len(main)} training frames has a labelled object{told}")
    values = _values_per_point([record.path for record in main])
    points = [_points(record, values) for record in main[:: -(-len(main) // FRAMES_READ)]]
    return LidarSurvey(
        layout,
        root,
        parts,
        {split: len(found) for split, found in records.items()},
        classes,
        boxes,
        values,
        max(float(frame[:, 3].max(initial=0.0)) for frame in points),
        int(np.median([len(frame) for frame in points])),
    )


def _recognise(folder: Path) -> tuple[str, Path, dict[str, str]]:
    """Layout, root and parts."""
    if (folder / "velodyne").is_dir() and folder.name == "training":
        folder = folder.parent
    if (folder / "training" / "velodyne").is_dir():
        return "KittiDataset", folder, _lists(folder, folder / "training" / "velodyne")
    if (folder / "points").is_dir() and (folder / "labels").is_dir():
        return "CustomDataset", folder, _lists(folder, folder / "points")
    parts = {
        split: entry.name
        for entry in listing(folder)
        if entry.is_dir() and (split := split_name(entry.name)) and _is_part(folder / entry.name)
    }
    if not parts and _is_part(folder):
        parts = {"train": UNSPLIT}
    if "train" not in parts:
        raise DatasetError(f"{folder}: no LiDAR frames with labels to train on were found\n{EXPLANATION}")
    return "GeneralPCDataset", folder, {split: parts[split] for split in SPLITS if split in parts}


def _is_part(folder: Path) -> bool:
    return (folder / "lidar").is_dir() and (folder / "label").is_dir()


def _lists(folder: Path, frames: Path) -> dict[str, str]:
    """Splits by the lists in ImageSets whose frames are there; KITTI's list of test frames names others."""
    there = {Path(entry.name).stem for entry in listing(frames) if is_frame(entry.name)}
    lists = {path.stem: path for path in sorted((folder / "ImageSets").glob("*.txt"))}
    parts = {}
    for split in SPLITS:
        for name, path in lists.items():
            names = read_text(path).split() if split_name(name) == split else []
            if names and there.issuperset(names):
                parts[split] = name
    if lists and "train" not in parts:
        raise DatasetError(
            f"{folder / 'ImageSets'} has no list of training frames that are all in {frames}; write "
            "ImageSets/train.txt, or take ImageSets away to train on all frames"
        )
    return parts or {"train": "train"}


def _described(records: Sequence[LidarRecord]) -> tuple[dict[str, ClassSurvey], npt.NDArray[np.float64]]:
    """Boxes by class, the most frequent first, and all of them; those of no size are left out."""
    boxes: dict[str, list[tuple[float, ...]]] = {}
    for record in records:
        for one in record.objects:
            if min(one.box[3:6]) > 0:
                boxes.setdefault(one.label, []).append(one.box)
    found = {}
    for name in sorted(boxes, key=lambda label: (-len(boxes[label]), label)):
        values = np.array(boxes[name])
        length, width, height = np.median(values[:, 3:6], axis=0).tolist()
        bottom = float(np.median(values[:, 2] - values[:, 5] / 2))
        found[name] = ClassSurvey(len(values), (length, width, height), bottom)
    return found, np.array([box for group in boxes.values() for box in group]).reshape(-1, 7)


def _values_per_point(paths: Sequence[Path]) -> int:
    """Numbers of a point: of those lengths that divide every file, the one that tells its columns apart."""
    if paths[0].suffix.lower() == ".npy":
        try:
            shape = read_array(paths[0], mapped=True).shape
        except (ValueError, OSError) as error:
            raise DatasetError(f"{paths[0]}: it cannot be read as .npy: {error}") from error
        if len(shape) != 2 or shape[1] < POINT_FEATURES:
            raise DatasetError(
                f"{paths[0]} has the shape {shape}; it must be (points, numbers), with x, y, z and the "
                "strength of the echo first"
            )
        return int(shape[1])
    bare = [path for path in paths if path.suffix.lower() == ".bin"]
    if not bare:
        return POINT_FEATURES
    sizes = {path: path.stat().st_size for path in bare}
    unfit = {
        count: [path for path, size in sizes.items() if size % (4 * count)]
        for count in range(POINT_FEATURES, MOST_VALUES + 1)
    }
    fitting = [count for count, paths in unfit.items() if not paths]
    if not fitting:
        fewest = min(unfit.values(), key=len)
        which = f"{len(fewest)} of the {len(bare)} files hold"
        raise DatasetError(
            f"{bare[0].parent}: {which} no whole number of points of {POINT_FEATURES} to {MOST_VALUES} "
            "float32 values; are they of another kind, or cut off?\n"
            + first_of(f"{path.name} ({sizes[path]} bytes)" for path in fewest)
        )
    numbers = np.frombuffer(bare[0].read_bytes(), "<f4")
    return other_period(numbers, fitting[0]) or fitting[0]


def _points(record: LidarRecord, values_per_point: int) -> npt.NDArray[np.float32]:
    anything = PointsPreprocessing(EVERYWHERE, values_per_point, largest_echo=math.inf)
    return points_of(record, read_points(record.path, anything))
