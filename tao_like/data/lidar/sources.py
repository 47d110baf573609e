"""The frames of a data set in TAO's layout, KITTI's or OpenPCDet's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tao_like.data.images.files import first_of, listing, read_header
from tao_like.data.lidar.frame import LidarRecord, Object3d
from tao_like.data.lidar.kitti import (
    finite_number,
    read_calibration,
    read_kitti_labels,
    read_lidar_labels,
    read_text,
)
from tao_like.errors import DatasetError
from tao_like.runtime.inputs.points import HOW_TO_CONVERT, POINT_SUFFIXES, UNREAD_SUFFIXES

KEY = "dataset.data_path"
_IMAGES = (".png", ".jpg", ".jpeg")
_CUSTOM_VALUES = 8


@dataclass(frozen=True)
class LidarSource:
    """Where frames are.

    Attributes:
        root: folder of the data.
        crop: KITTI's: only points that the camera sees.
        image_size: KITTI's: width and height of an image where none is at hand.
    """

    root: Path
    crop: bool = True
    image_size: tuple[int, int] = (1242, 375)


def read_general(source: LidarSource, part: str) -> list[LidarRecord]:
    """TAO's layout: ``<part>/lidar/*.bin`` and ``<part>/label/*.txt`` of the same names.

    An empty label file says that there is nothing.

    Raises:
        DatasetError: a folder or a label file is missing, or a label file is damaged.
    """
    frames = _frames(source.root / part / "lidar")
    folder = source.root / part / "label"
    _require_labels(frames, folder)
    records = []
    for path in frames:
        label = folder / f"{path.stem}.txt"
        records.append(LidarRecord(path, _name(path, source.root), read_lidar_labels(label), source=label))
    return records


def read_kitti(source: LidarSource, part: str) -> list[LidarRecord]:
    """KITTI's layout: ``training/{velodyne,label_2,calib,image_2}`` and ``ImageSets/<part>.txt``.

    Without ImageSets every part is all frames.

    Raises:
        DatasetError: a folder or file is missing or damaged.
    """
    root = source.root / "training"
    names = _listed(source.root / "ImageSets", part)
    frames = _frames(root / "velodyne", names)
    _require_labels(frames, root / "label_2")
    records = []
    for path in frames:
        image = next((file for file in _images(root / "image_2", path.stem) if file.is_file()), None)
        calibration = read_calibration(root / "calib" / f"{path.stem}.txt", _size(image, source.image_size))
        label = root / "label_2" / f"{path.stem}.txt"
        objects, regions = read_kitti_labels(label, calibration)
        records.append(
            LidarRecord(
                path, _name(path, source.root), objects, calibration, label, source.crop, image, regions
            )
        )
    return records


def read_custom(source: LidarSource, part: str) -> list[LidarRecord]:
    """OpenPCDet's layout for data of one's own: ``points/*.npy``, ``labels/*.txt``, ``ImageSets/<part>.txt``.

    A line of a label file is x, y, z, dx, dy, dz, yaw and the class.

    Raises:
        DatasetError: a folder or file is missing or damaged.
    """
    names = _listed(source.root / "ImageSets", part)
    frames = _frames(source.root / "points", names)
    _require_labels(frames, source.root / "labels")
    records = []
    for path in frames:
        label = source.root / "labels" / f"{path.stem}.txt"
        records.append(LidarRecord(path, _name(path, source.root), _custom_objects(label), source=label))
    return records


LAYOUTS: dict[str, Callable[..., list[LidarRecord]]] = {
    "GeneralPCDataset": read_general,
    "KittiDataset": read_kitti,
    "CustomDataset": read_custom,
}


def _custom_objects(path: Path) -> tuple[Object3d, ...]:
    objects = []
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        words = line.split()
        if not words:
            continue
        if len(words) != _CUSTOM_VALUES:
            raise DatasetError(
                f"{path}:{number}: {len(words)} values; a line is x y z dx dy dz yaw and the class"
            )
        box = tuple(finite_number(word, path, number) for word in words[:-1])
        objects.append(Object3d(words[-1], box))
    return tuple(objects)


def _frames(folder: Path, names: list[str] | None = None) -> list[Path]:
    """Frames in a folder, by name; those of a list in its order."""
    if not folder.is_dir():
        raise DatasetError(f"{KEY}: there is no folder {folder}; dataset.type says which layout the data has")
    files = [Path(entry.path) for entry in listing(folder) if is_frame(entry.name)]
    if not files:
        unread = unread_files(folder)
        told = f"; {unread[0].name} and files like it are not read: {HOW_TO_CONVERT}" if unread else ""
        raise DatasetError(
            f"{KEY}: there is no frame ({', '.join(sorted(POINT_SUFFIXES))}) in {folder}{told}"
        )
    found: dict[str, Path] = {}
    for path in files:
        # Labels and lists name frames without their suffix.
        if path.stem in found:
            raise DatasetError(
                f"{folder}: {found[path.stem].name} and {path.name} are two frames of one name; take one away"
            )
        found[path.stem] = path
    if names is None:
        return list(found.values())
    if lost := [name for name in names if name not in found]:
        raise DatasetError(f"{folder}: {len(lost)} frames of the list are not there:\n{first_of(lost)}")
    return [found[name] for name in names]


def unread_files(folder: Path) -> list[Path]:
    """Files in a folder that hold points in forms that are not read."""
    return [
        Path(entry.path)
        for entry in listing(folder)
        if Path(entry.name).suffix.lower() in UNREAD_SUFFIXES and entry.is_file()
    ]


def is_frame(name: str) -> bool:
    """Whether a file's name is that of a frame's points."""
    return Path(name).suffix.lower() in POINT_SUFFIXES


def _listed(folder: Path, part: str) -> list[str] | None:
    """Names of the frames of a part; None where there are no lists."""
    if not folder.is_dir():
        return None
    return read_text(folder / f"{part}.txt").split()


def _require_labels(frames: list[Path], folder: Path) -> None:
    lost = [path.name for path in frames if not (folder / f"{path.stem}.txt").is_file()]
    if lost:
        raise DatasetError(
            f"{folder}: {len(lost)} frames have no label file; an empty one says that there is nothing:\n"
            f"{first_of(lost)}"
        )


def _images(folder: Path, stem: str) -> list[Path]:
    return [folder / f"{stem}{suffix}" for suffix in _IMAGES]


def _size(image: Path | None, otherwise: tuple[int, int]) -> tuple[int, int]:
    if image is None:
        return otherwise
    header = read_header(image)
    return header.width, header.height


def _name(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()
