"""The data in another layout."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tao_like.config.writing.annotated import AnnotatedValue, annotated_yaml
from tao_like.contract.sample import SPLITS, Split
from tao_like.data.lidar.frame import LidarRecord, points_of
from tao_like.data.lidar.kitti import boxes_to_camera, lidar_line
from tao_like.errors import DatasetError, SpecError
from tao_like.runtime.inputs.points import Points, PointsPreprocessing, read_points
from tao_like.tasks.pointpillars.data.source import LabelledFrames
from tao_like.tracking import atomic_path


def convert_frames(
    frames: LabelledFrames, preprocessing: PointsPreprocessing, kind: str, folder: Path
) -> tuple[dict[str, Any], list[str], str]:
    """Writes all splits in another layout, below ``data``.

    Points are written as x, y, z and the strength of the echo from 0 to 1, cropped where the spec crops.

    Frames that cannot be read are left out and named.

    Args:
        frames: of all splits.
        preprocessing: how their points are read.
        kind: ``dataset_convert.format``.
        folder: where to write.

    Returns:
        What was written, as JSON, lines that say so, and the part of a spec that names it.

    Raises:
        SpecError: KITTI's layout is wanted of data without a camera.
        DatasetError: no frame of a split can be read.
    """
    target = folder / "data"
    in_splits = kind == "GeneralPCDataset"
    shared = set() if in_splits else _shared_stems(frames)
    counts: dict[str, Any] = {}
    parts: dict[str, str | None] = dict.fromkeys(SPLITS)
    for split in SPLITS:
        records = frames.records(split) if frames.has(split) else []
        if not records:
            continue
        parts[split] = split
        written, counts[split] = _convert_split(
            split, records, preprocessing, _WRITERS[kind], target / split if in_splits else target, shared
        )
        if not in_splits:
            _write(target / "ImageSets" / f"{split}.txt", "".join(f"{name}\n" for name in written))
    lines = [f"{target}: {one['frames']} frames of {split}" for split, one in counts.items()]
    lines += [f"  left out: {error}" for one in counts.values() for error in one["left_out"]]
    values = [
        AnnotatedValue("dataset.type", kind),
        AnnotatedValue("dataset.data_path", str(target)),
        *(AnnotatedValue(f"dataset.data_split.{split}", part) for split, part in parts.items()),
    ]
    return {"format": kind, "folder": str(target), "splits": counts}, lines, annotated_yaml(values)


def _convert_split(
    split: Split,
    records: Sequence[LidarRecord],
    preprocessing: PointsPreprocessing,
    write: Callable[..., None],
    folder: Path,
    shared: set[str],
) -> tuple[list[str], dict[str, Any]]:
    """Writes the frames of a split; their names, and what is to be said of them. Raises DatasetError."""
    written, lost, objects = [], [], 0
    for record in records:
        try:
            name = record.path.stem
            # Layouts that keep all frames in one folder: frames of two splits may have one name.
            name = f"{split}_{name}" if name in shared else name
            write(points_of(record, read_points(record.path, preprocessing)), record, folder, name)
            written.append(name)
            objects += len(record.objects)
        except DatasetError as error:
            lost.append(str(error))
    if not written:
        raise DatasetError(f"none of {len(lost)} frames of {split} can be read; the first: {lost[0]}")
    return written, {"frames": len(written), "objects": objects, "left_out": lost}


def _shared_stems(frames: LabelledFrames) -> set[str]:
    """File names, without suffix, of more than one frame of all splits."""
    paths = {record.path for split in SPLITS if frames.has(split) for record in frames.records(split)}
    counts = Counter(path.stem for path in paths)
    return {stem for stem, count in counts.items() if count > 1}


def _write(path: Path, content: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


def _write_general(points: Points, record: LidarRecord, target: Path, name: str) -> None:
    _write(target / "lidar" / f"{name}.bin", points.astype("<f4").tobytes())
    lines = [lidar_line(one.label, one.box, one=one) for one in record.objects]
    _write(target / "label" / f"{name}.txt", "".join(f"{line}\n" for line in lines))


def _write_custom(points: Points, record: LidarRecord, target: Path, name: str) -> None:
    path = target / "points" / f"{name}.npy"
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.save(file, points)
    lines = [" ".join([*(f"{value:.4f}" for value in one.box), one.label]) for one in record.objects]
    _write(target / "labels" / f"{name}.txt", "".join(f"{line}\n" for line in lines))


def _write_kitti(points: Points, record: LidarRecord, target: Path, name: str) -> None:
    calibration, root = record.calibration, target / "training"
    if calibration is None:
        raise SpecError(
            f"dataset_convert.format=KittiDataset needs a camera's calibration, and {record.name} has none; "
            "choose GeneralPCDataset or CustomDataset"
        )
    _write(root / "velodyne" / f"{name}.bin", points.astype("<f4").tobytes())
    matrices = {
        "P2": calibration.projection,
        "R0_rect": np.eye(3),
        "Tr_velo_to_cam": calibration.rectified[:3],
    }
    words = [
        f"{key}: " + " ".join(f"{value:.12e}" for value in matrix.ravel()) for key, matrix in matrices.items()
    ]
    _write(root / "calib" / f"{name}.txt", "".join(f"{line}\n" for line in words))
    lines = []
    for one, values in zip(
        record.objects, boxes_to_camera([one.box for one in record.objects], calibration), strict=True
    ):
        numbers = " ".join(f"{value:.4f}" for value in (one.alpha, *one.bbox, *values))
        lines.append(f"{one.label} {one.truncated:g} {one.occluded} {numbers}\n")
    for region in record.ignored_boxes:
        edges = " ".join(f"{value:.2f}" for value in region)
        lines.append(f"DontCare -1 -1 -10 {edges} -1 -1 -1 -1000 -1000 -1000 -10\n")
    _write(root / "label_2" / f"{name}.txt", "".join(lines))


_WRITERS = {
    "GeneralPCDataset": _write_general,
    "CustomDataset": _write_custom,
    "KittiDataset": _write_kitti,
}
