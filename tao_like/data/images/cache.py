"""Reads images, and keeps them decoded where that saves time: in memory or on disk."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from tao_like.errors import SpecError
from tao_like.runtime.inputs.image import IMAGE_FORMATS, Window, read_image
from tao_like.runtime.inputs.image.big_images import BigImages, open_image
from tao_like.runtime.inputs.shards import file_status, open_file
from tao_like.runtime.memory import free_memory
from tao_like.tracking.files import atomic_path

MEMORY_FRACTION = 0.5
"""Of the free memory a cache may take this much; the rest is for training."""


class ImageStore:
    """Reads images from their files, every time.

    Args:
        window: values of 16-bit images that become black and white; see ``ImagePreprocessing``.
        big: what becomes of images beyond the limit.
    """

    def __init__(self, window: Window | None = None, big: BigImages = BigImages.REFUSED) -> None:
        self.window = window
        self.big = big

    def read(self, path: Path) -> Image.Image:
        """The image in RGB. Raises DatasetError."""
        return read_image(path, self.window, self.big)

    def _decode(self, path: Path) -> np.ndarray:
        return np.asarray(read_image(path, self.window, self.big))


class MemoryStore(ImageStore):
    """Keeps decoded images in memory. Filled before worker processes start, so that they share it.

    Args:
        paths: all the images.
        window: see ``ImageStore``.
        big: likewise.

    Raises:
        SpecError: the decoded images would not fit.
    """

    def __init__(
        self, paths: Sequence[Path], window: Window | None = None, big: BigImages = BigImages.REFUSED
    ) -> None:
        super().__init__(window, big)
        needed = sum(_decoded_size(path) for path in paths)
        limit = int(free_memory() * MEMORY_FRACTION)
        if needed > limit:
            raise SpecError(
                f"dataset.cache=ram would take {needed / 2**30:.1f} GiB, and {limit / 2**30:.1f} GiB are at "
                "hand for it; set dataset.cache=disk or none"
            )
        with ThreadPoolExecutor() as pool:
            self._images = dict(zip(paths, pool.map(self._decode, paths), strict=True))

    def read(self, path: Path) -> Image.Image:
        """The image in RGB, decoded before or now."""
        pixels = self._images.get(path)
        return super().read(path) if pixels is None else Image.fromarray(pixels)


class DiskStore(ImageStore):
    """Keeps decoded images as .npy files in a folder; a changed image is decoded anew.

    Args:
        folder: made when it does not exist.
        window: see ``ImageStore``.
        big: likewise.
    """

    def __init__(
        self, folder: Path, window: Window | None = None, big: BigImages = BigImages.REFUSED
    ) -> None:
        super().__init__(window, big)
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder

    def read(self, path: Path) -> Image.Image:
        """The image in RGB, decoded before or now."""
        status = file_status(path)
        key = f"{path.absolute()}|{status.modified}|{status.size}"
        if self.window is not None:
            key += f"|{self.window}"
        # File names are bytes, which need not be UTF-8.
        name = hashlib.sha1(key.encode("utf-8", "surrogateescape"), usedforsecurity=False).hexdigest()
        cached = self.folder / f"{name}.npy"
        if cached.exists():
            return Image.fromarray(np.load(cached, allow_pickle=False))
        pixels = self._decode(path)
        with atomic_path(cached) as temporary, temporary.open("wb") as file:
            np.save(file, pixels, allow_pickle=False)
        return Image.fromarray(pixels)


def _decoded_size(path: Path) -> int:
    """Bytes of the image in RGB, from its header; an image that cannot be read is named later."""
    try:
        with open_file(path) as file, open_image(file, IMAGE_FORMATS) as image:
            return int(image.width * image.height * 3)
    except (OSError, ValueError):
        return 0
