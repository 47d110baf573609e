"""From what a user calls the source of an inference to its files."""

from __future__ import annotations

import glob
from collections.abc import Callable, Iterable
from pathlib import Path

from tao_like.data.images.files import find_images
from tao_like.errors import DatasetError
from tao_like.runtime.inputs.image import IMAGE_SUFFIXES
from tao_like.runtime.inputs.points import point_files
from tao_like.runtime.inputs.shards import file_exists, is_shard, shard_images
from tao_like.runtime.inputs.skeleton import skeleton_files


def image_sources(source: str, key: str = "inference.source") -> list[Path]:
    """The images that a file name, a folder (with all below it) or a pattern stands for, sorted.

    A shard (.tar, .tar.gz) stands for the images in it, and a folder with shards and without loose images for
    theirs.

    Args:
        source: a name that exists is taken as it is, even when it looks like a pattern.
        key: of the spec that gave it, for messages.

    Raises:
        DatasetError: there is nothing of that name, or no image in it.
    """
    files = _file_sources(source, _images_or_shards, "images", key)
    return [image for file in files for image in _in_shard(file, key)]


def _images_or_shards(folder: Path) -> Iterable[Path]:
    """What lies in a folder and below: its images, else its shards."""
    images = list(map(Path, find_images(folder)))
    return images or [path for path in folder.rglob("*") if path.is_file() and is_shard(path)]


def _in_shard(file: Path, key: str) -> list[Path]:
    """The images of a shard; of any other file itself. Raises DatasetError."""
    if not (is_shard(file) and file.is_file()):
        return [file]
    found = shard_images(file, IMAGE_SUFFIXES)
    if not found:
        raise DatasetError(f"{key}: there are no images in the shard {file}")
    return found


def skeleton_sources(source: str) -> list[Path]:
    """The skeleton sequences that a name or a pattern stands for, as `image_sources`. Raises DatasetError."""
    return _file_sources(source, skeleton_files, "skeleton sequences")


def point_sources(source: str) -> list[Path]:
    """The LiDAR frames that a name or a pattern stands for, as `image_sources`. Raises DatasetError."""
    return _file_sources(source, point_files, "frames of points")


def _file_sources(
    source: str, files: Callable[[Path], Iterable[Path]], what: str, key: str = "inference.source"
) -> list[Path]:
    path = Path(source)
    if file_exists(path):
        return [path]
    if path.is_dir():
        found = sorted(files(path))
        if not found:
            raise DatasetError(f"{key}: there are no {what} in the folder {source}")
        return found
    if not glob.has_magic(source):
        raise DatasetError(f"{key}: there is no file or folder {source}")
    # Path.glob cannot take an absolute pattern.
    names = glob.glob(source, recursive=True)  # noqa: PTH207
    found = sorted(path for path in map(Path, names) if path.is_file())
    if not found:
        raise DatasetError(f"{key}: nothing fits the pattern {source}")
    return found
