"""The upright size of an image, told from its head alone: the same as that of the decoded image."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from tao_like.data.boxes.annotation import BoxRecord
from tao_like.data.boxes.sizes import image_size
from tao_like.data.images.files import read_header
from tao_like.errors import DatasetError
from tao_like.runtime.inputs.image import read_image

UPRIGHT = (64, 96)
TURNS = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""How an upright image is turned before it is stored with that orientation."""


def upright() -> Image.Image:
    """A black image with a red box: columns 20 to 49, rows 10 to 29."""
    image = Image.new("RGB", UPRIGHT)
    ImageDraw.Draw(image).rectangle((20, 10, 49, 29), fill=(255, 0, 0))
    return image


def stored(orientation: int) -> tuple[Image.Image, Image.Exif]:
    turn = TURNS[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    return (upright() if turn is None else upright().transpose(turn)), exif


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["raw.tif", "tiff_lzw.tif", "tiff_deflate.tif", "a.jpg", "a.png", "a.webp"])
def test_every_orientation_of_every_format(kind: str, orientation: int, tmp_path: Path) -> None:
    image, exif = stored(orientation)
    path = tmp_path / kind
    options = {"compression": path.stem} if path.suffix == ".tif" else {"quality": 100}
    image.save(path, exif=exif, **options)
    assert read_header(path)[:2] == UPRIGHT
    decoded = read_image(path)
    assert decoded.size == UPRIGHT
    assert decoded.point(lambda value: 255 * (value > 127)).getbbox() == (20, 10, 50, 30)


def png_with_late_chunk(kind: bytes, data: bytes, path: Path) -> Path:
    """A sideways PNG of 96 x 64 pixels with a chunk behind its pixels."""
    buffer = io.BytesIO()
    stored(6)[0].save(buffer, "png")
    content = buffer.getvalue()
    end = content.rindex(b"IEND") - 4
    chunk = struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    path.write_bytes(content[:end] + chunk + content[end:])
    return path


def test_orientation_behind_the_pixels_of_a_png(tmp_path: Path) -> None:
    exif = stored(6)[1].tobytes().removeprefix(b"Exif\0\0")
    xmp = b"XML:com.adobe.xmp\0\0\0\0\0" + b'<x tiff:Orientation="6"/>'
    for name, kind, data in (("exif", b"eXIf", exif), ("xmp", b"iTXt", xmp)):
        path = png_with_late_chunk(kind, data, tmp_path / f"{name}.png")
        assert read_header(path)[:2] == read_image(path).size == UPRIGHT
    dated = png_with_late_chunk(b"tEXt", b"date:create\x002020-02-02", tmp_path / "dated.png")
    assert read_header(dated)[:2] == (96, 64)


def test_the_pixels_of_a_png_are_not_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    upright().save(tmp_path / "a.png")

    def refuse(*_: object) -> None:
        raise AssertionError("the image was decoded")

    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", refuse)
    assert read_header(tmp_path / "a.png")[:2] == UPRIGHT


def test_a_png_that_ends_within_its_pixels_is_named(tmp_path: Path) -> None:
    Image.effect_noise((200, 200), 90).save(tmp_path / "cut.png")
    whole = (tmp_path / "cut.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DatasetError, match=r"cut\.png.*ends within its pixels"):
        read_header(tmp_path / "cut.png")


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "a.bmp"
    Image.new("RGB", (30, 20)).save(path)
    assert read_header(path)[:2] == (30, 20)
    Image.new("RGB", (50, 20)).save(path)
    assert read_header(path)[:2] == (50, 20)


def test_an_image_that_cannot_be_read_has_the_size_that_is_stated(tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole.png", tmp_path / "broken.png"
    Image.new("RGB", (40, 30)).save(whole)
    broken.write_bytes(b"no picture")
    # A size that is stated does not count where the image itself tells.
    assert image_size(BoxRecord(whole, (), width=30, height=40)) == (40, 30)
    assert image_size(BoxRecord(broken, (), width=30, height=40)) == (30, 40)
    with pytest.raises(DatasetError, match="broken"):
        image_size(BoxRecord(broken, (), width=-1, height=40))
