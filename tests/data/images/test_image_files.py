"""Fingerprinting and peeking into image files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from tao_like.data.images.files import (
    content_sha1,
    identical_files,
    is_image_name,
    read_header,
    split_name,
    suffix,
)
from tao_like.errors import DatasetError
from tao_like.runtime.inputs.image import read_image

Paint = Callable[..., Path]


@pytest.mark.parametrize(
    ("name", "mode", "grey"),
    [
        ("a.jpg", "RGB", False),
        ("a.jpeg", "L", True),
        ("a.png", "RGBA", False),
        ("b.png", "LA", True),
        ("c.png", "P", False),
        ("d.png", "I;16", True),
        ("e.png", "1", True),
        ("a.tif", "CMYK", False),
        ("a.webp", "RGB", False),
        ("a.bmp", "RGB", False),
        ("a.gif", "P", False),
        ("a.ppm", "RGB", False),
        ("a.pgm", "L", True),
    ],
)
def test_the_header_agrees_with_the_decoded_image(tmp_path: Path, name: str, mode: str, grey: bool) -> None:
    Image.new(mode, (30, 20)).save(tmp_path / name)
    header = read_header(tmp_path / name)
    assert (header.width, header.height) == read_image(tmp_path / name).size == (30, 20)
    assert header.is_grey == grey
    assert is_image_name(name)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_header_is_upright_like_the_decoded_image(tmp_path: Path, orientation: int, paint: Paint) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = paint(tmp_path / "photo.jpg", exif=exif)
    assert read_header(path)[:2] == read_image(path).size


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_a_damaged_exif_block_does_not_spoil_the_image(tmp_path: Path, paint: Paint) -> None:
    path = paint(tmp_path / "photo.jpg", exif=b"Exif\0\0MM\0*\xff\xff\xff\xffbroken")
    assert read_header(path)[:2] == (48, 32)


def test_what_is_no_image(tmp_path: Path, paint: Paint) -> None:
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("text")
    (tmp_path / "folder.png").mkdir()
    # A format that read_image refuses must not pass for an image because of its suffix.
    Image.new("RGB", (8, 8)).save(tmp_path / "sly.jpg", format="ICO")
    for name, complaint in {
        "empty.png": "is empty",
        "text.png": "no known image format",
        "gone.png": "no such file",
        "folder.png": "not a file",
        "sly.jpg": "no known image format",
    }.items():
        with pytest.raises(DatasetError, match=complaint) as caught:
            read_header(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)


def test_hashes_follow_the_content(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"first")
    assert content_sha1(path) == hashlib.sha1(b"first").hexdigest()
    path.write_bytes(b"other")
    os.utime(path, ns=(1, 1))
    assert content_sha1(path) == hashlib.sha1(b"other").hexdigest()


def test_identical_files_are_found_and_empty_or_missing_ones_left_out(tmp_path: Path) -> None:
    contents = ["one", "two", "one", "", "", "six", "two", "one"]
    paths = [tmp_path / str(place) for place in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        path.write_text(content)
    assert identical_files([*paths, tmp_path / "gone", tmp_path / "gone"]) == [[0, 2, 7], [1, 6]]


def test_names() -> None:
    assert [split_name(name) for name in ("Train", "VALID", "testing", "cats")] == [
        "train",
        "val",
        "test",
        None,
    ]
    assert [suffix(name) for name in ("a.JPG", "a.b.png", "README", ".png", "dot.")] == [
        ".jpg",
        ".png",
        "",
        "",
        "",
    ]
