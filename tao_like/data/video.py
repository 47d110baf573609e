"""Video files, image by image. OpenCV does the work, where it is installed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

import numpy as np
from PIL import Image

from tao_like.errors import DatasetError, SpecError

VIDEO_SUFFIXES = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".webm")
WRITTEN_SUFFIX, WRITTEN_CODEC = ".mp4", "mp4v"
"""MPEG-4 part 2: every build of OpenCV can write it, and players everywhere read it."""
USUAL_RATE = 25.0


def is_video(source: str) -> bool:
    """Whether a source is a video file, by its name."""
    return Path(source).suffix.lower() in VIDEO_SUFFIXES


def _opencv(path: Path) -> ModuleType:
    try:
        import cv2
    except ImportError as error:
        raise SpecError(
            f"{path} is a video, and OpenCV, which reads and writes videos, is not installed; "
            "pip install 'tao_like[video]'"
        ) from error
    module: ModuleType = cv2
    return module


class VideoReader:
    """The images of a video, in RGB.

    Args:
        path: the file.

    Attributes:
        count: of the images, as the file states it; 0 where it does not.
        rate: images a second.

    Raises:
        SpecError: OpenCV is not installed.
        DatasetError: there is no such file, or it cannot be read as a video.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise DatasetError(f"inference.source: there is no file {path}")
        self._cv2: Any = _opencv(path)
        self.path = path
        self._capture = self._cv2.VideoCapture(str(path))
        if not self._capture.isOpened():
            raise DatasetError(f"inference.source: {path} cannot be read as a video")
        self.count = max(0, int(self._capture.get(self._cv2.CAP_PROP_FRAME_COUNT)))
        self.rate = float(self._capture.get(self._cv2.CAP_PROP_FPS)) or USUAL_RATE

    def __iter__(self) -> Iterator[Image.Image]:
        try:
            while True:
                found, pixels = self._capture.read()
                if not found:
                    return
                yield Image.fromarray(self._cv2.cvtColor(pixels, self._cv2.COLOR_BGR2RGB))
        finally:
            self._capture.release()


class VideoWriter:
    """Writes images of one size as a video. The first says the size, cut to even sides.

    Args:
        path: the file, ending in .mp4.
        rate: images a second.
    """

    def __init__(self, path: Path, rate: float) -> None:
        self._cv2: Any = _opencv(path)
        self.path = path
        self.rate = rate
        self._writer: Any = None
        self._size = (0, 0)

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.release()

    def write(self, image: Image.Image) -> None:
        """Adds an image.

        Raises:
            DatasetError: this OpenCV cannot write the file.
        """
        if self._writer is None:
            self._size = (image.width // 2 * 2, image.height // 2 * 2)
            codec = self._cv2.VideoWriter.fourcc(*WRITTEN_CODEC)
            self._writer = self._cv2.VideoWriter(str(self.path), codec, self.rate, self._size)
            if not self._writer.isOpened():
                raise DatasetError(
                    f"{self.path}: this build of OpenCV cannot write videos of {WRITTEN_CODEC}"
                )
        pixels = np.asarray(image.convert("RGB").crop((0, 0, *self._size)))
        self._writer.write(self._cv2.cvtColor(pixels, self._cv2.COLOR_RGB2BGR))
