"""Videos: what is written is read again, and without OpenCV one sentence says what to do."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tao_like.data.video import VideoReader, VideoWriter, is_video
from tao_like.errors import DatasetError, SpecError

COLORS = ((200, 30, 30), (30, 200, 30), (30, 30, 200))


def test_images_come_back_in_order_with_their_colors_and_rate(tmp_path: Path) -> None:
    pytest.importorskip("cv2")
    path = tmp_path / "clip.mp4"
    with VideoWriter(path, 12.0) as video:
        for color in COLORS:
            video.write(Image.new("RGB", (65, 49), color))
    reader = VideoReader(path)
    assert (reader.count, reader.rate) == (3, 12.0)
    images = list(reader)
    assert [image.size for image in images] == [(64, 48)] * 3
    for image, color in zip(images, COLORS, strict=True):
        assert np.abs(np.asarray(image, int).mean(axis=(0, 1)) - color).max() < 20


def test_without_opencv_or_a_video_the_error_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "clip.mp4").write_bytes(b"no video")
    assert is_video("a/CLIP.MP4")
    assert not is_video("clip.png")
    with pytest.raises(DatasetError, match=r"inference\.source.*none\.mp4"):
        VideoReader(tmp_path / "none.mp4")
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "cv2", None)
        with pytest.raises(SpecError, match=r"clip\.mp4 is a video.*pip install 'tao_like\[video\]'"):
            VideoReader(tmp_path / "clip.mp4")
    pytest.importorskip("cv2")
    with pytest.raises(DatasetError, match=r"clip\.mp4 cannot be read as a video"):
        VideoReader(tmp_path / "clip.mp4")
