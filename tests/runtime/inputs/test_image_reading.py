"""Reading images: pixel values worked out by hand."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from tao_like.errors import DatasetError
from tao_like.runtime.inputs.image import image_files, read_image, to_rgb

CORNERS = np.array([[0, 40, 80], [120, 160, 200]], np.uint8)
CLOCKWISE = [[120, 0], [160, 40], [200, 80]]
UPRIGHT = {  # what each EXIF orientation makes of CORNERS, by the EXIF standard's table of row and column
    1: [[0, 40, 80], [120, 160, 200]],
    2: [[80, 40, 0], [200, 160, 120]],
    3: [[200, 160, 120], [80, 40, 0]],
    4: [[120, 160, 200], [0, 40, 80]],
    5: [[0, 120], [40, 160], [80, 200]],
    6: CLOCKWISE,
    7: [[200, 80], [160, 40], [120, 0]],
    8: [[80, 200], [40, 160], [0, 120]],
}


def pixels(path: Path) -> list[list[list[int]]]:
    image = read_image(path)
    assert image.mode == "RGB"
    return np.asarray(image).tolist()


def grey(path: Path) -> list[list[int]]:
    values = np.asarray(read_image(path))
    assert (values == values[:, :, :1]).all()
    return values[:, :, 0].tolist()


def png(header: bytes, rows: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG file put together by hand, for the modes that Pillow does not write."""
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    body = b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in parts
    )
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize("orientation", sorted(UPRIGHT))
@pytest.mark.parametrize("name", ["picture.png", "picture.tif", "picture.webp"])
def test_exif_orientation_is_applied(tmp_path: Path, name: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x112] = orientation
    path = tmp_path / name
    Image.fromarray(CORNERS).convert("RGB").save(path, exif=exif, lossless=True)
    assert grey(path) == UPRIGHT[orientation]


@pytest.mark.parametrize("name", ["picture.png", "picture.tif"])
def test_a_16_bit_image_is_turned_too(tmp_path: Path, name: str) -> None:
    exif = Image.Exif()
    exif[0x112] = 6
    Image.fromarray(CORNERS.astype(np.uint16) * 257).save(tmp_path / name, exif=exif)
    assert grey(tmp_path / name) == CLOCKWISE


def test_an_image_is_turned_only_once(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x112] = 6
    Image.fromarray(CORNERS).save(tmp_path / "picture.png", exif=exif)
    assert np.asarray(to_rgb(read_image(tmp_path / "picture.png")))[:, :, 0].tolist() == CLOCKWISE


def test_an_uncompressed_grey_tiff_is_turned_without_garbling_it(tmp_path: Path) -> None:
    Image.fromarray(CORNERS).save(tmp_path / "picture.tif", tiffinfo={0x112: 6})
    assert grey(tmp_path / "picture.tif") == CLOCKWISE


def test_unreadable_exif_data_does_not_lose_the_image(tmp_path: Path) -> None:
    path = tmp_path / "picture.jpg"
    Image.new("RGB", (3, 2), (90, 90, 90)).save(path, exif=b"Exif\0\0this is not a TIFF header at all")
    assert grey(path) == [[90, 90, 90], [90, 90, 90]]


@pytest.mark.parametrize("name", ["picture.png", "picture.tif"])
def test_16_bit_grey_is_scaled_by_257_and_rounded(tmp_path: Path, name: str) -> None:
    values = np.array([[0, 128, 129, 257, 32896, 65535]], np.uint16)
    Image.fromarray(values).save(tmp_path / name)
    assert grey(tmp_path / name) == [[0, 0, 1, 1, 128, 255]]


def test_big_endian_16_bit_tiff(tmp_path: Path) -> None:
    image = Image.frombytes("I;16B", (2, 1), struct.pack(">HH", 257, 65535))
    image.save(tmp_path / "picture.tif")
    assert grey(tmp_path / "picture.tif") == [[1, 255]]


def test_32_bit_integers_within_16_bits_are_read_as_16_bit(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 257, 65535]], np.int32)).save(tmp_path / "picture.tif")
    assert grey(tmp_path / "picture.tif") == [[0, 1, 255]]


@pytest.mark.parametrize("values", [np.array([[0, 65536]], np.int32), np.array([[0.0, 0.5]], np.float32)])
def test_pixels_of_unknown_range_are_refused(tmp_path: Path, values: np.ndarray) -> None:
    Image.fromarray(values).save(tmp_path / "odd.tif")
    with pytest.raises(DatasetError, match=r"odd\.tif.*8 or 16 bits"):
        read_image(tmp_path / "odd.tif")


def test_16_bit_rgb_png(tmp_path: Path) -> None:
    rows = b"\0" + struct.pack(">6H", 0, 65535, 257 * 7, 257 * 200, 257 * 3, 257)
    (tmp_path / "picture.png").write_bytes(png(struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0), rows))
    assert pixels(tmp_path / "picture.png") == [[[0, 255, 7], [200, 3, 1]]]


def test_one_bit(tmp_path: Path) -> None:
    Image.fromarray(np.array([[True, False]])).save(tmp_path / "picture.png")
    assert grey(tmp_path / "picture.png") == [[255, 0]]


def test_palette_with_a_transparent_color_shows_white(tmp_path: Path) -> None:
    image = Image.new("P", (3, 1))
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    image.putdata([0, 1, 2])
    image.save(tmp_path / "plain.png")
    image.save(tmp_path / "transparent.png", transparency=1)
    image.save(tmp_path / "graded.png", transparency=bytes([255, 255, 51]))
    assert pixels(tmp_path / "plain.png") == [[[10, 20, 30], [40, 50, 60], [70, 80, 90]]]
    assert pixels(tmp_path / "transparent.png") == [[[10, 20, 30], [255, 255, 255], [70, 80, 90]]]
    # 51 of 255 is a fifth: 70 / 5 + 255 * 4 / 5 = 218
    assert pixels(tmp_path / "graded.png")[0][2] == [218, 220, 222]


def test_palette_gif(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putdata([1, 0])
    image.save(tmp_path / "picture.gif")
    assert pixels(tmp_path / "picture.gif") == [[[40, 50, 60], [10, 20, 30]]]


def test_alpha_is_laid_on_white(tmp_path: Path) -> None:
    rgba = np.array([[[100, 0, 200, 255], [100, 0, 200, 0], [100, 0, 200, 51]]], np.uint8)
    Image.fromarray(rgba).save(tmp_path / "rgba.png")
    assert pixels(tmp_path / "rgba.png") == [[[100, 0, 200], [255, 255, 255], [224, 204, 244]]]
    Image.fromarray(rgba[:, :, [0, 3]]).save(tmp_path / "la.png")
    assert grey(tmp_path / "la.png") == [[100, 255, 224]]


def test_a_color_that_a_png_declares_transparent_shows_white(tmp_path: Path) -> None:
    rows = b"\0" + bytes([1, 2, 3, 9, 9, 9])
    header = struct.pack(">IIBBBBB", 2, 1, 8, 2, 0, 0, 0)
    (tmp_path / "picture.png").write_bytes(png(header, rows, (b"tRNS", struct.pack(">HHH", 1, 2, 3))))
    assert pixels(tmp_path / "picture.png") == [[[255, 255, 255], [9, 9, 9]]]


def test_cmyk_jpeg(tmp_path: Path) -> None:
    # Uniform, so that JPEG keeps it: 1 - cyan 0.2 and 1 - black 0.4 give red 255 * 0.8 * 0.6 = 122.4
    Image.new("CMYK", (16, 16), (51, 0, 255, 102)).save(tmp_path / "picture.jpg", quality=100)
    values = np.asarray(read_image(tmp_path / "picture.jpg")).reshape(-1, 3).astype(int)
    assert np.abs(values - [122, 153, 0]).max() <= 2


@pytest.mark.parametrize("name", ["picture.jpg", "picture.png", "picture.bmp", "picture.tif", "picture.webp"])
def test_truncated_files_are_errors(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    path = tmp_path / name
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    assert not ImageFile.LOAD_TRUNCATED_IMAGES
    with pytest.raises(DatasetError, match=name):
        read_image(path)


@pytest.mark.parametrize(
    ("content", "rule"),
    [(b"", "is empty"), (b"hello", "is not an image"), (b"%!PS-Adobe-3.0 EPSF-3.0\n", "is not an image")],
)
def test_files_that_are_no_images_are_named(tmp_path: Path, content: bytes, rule: str) -> None:
    (tmp_path / "a b, é.jpg").write_bytes(content)
    with pytest.raises(DatasetError, match=f"a b, é.jpg {rule}"):
        read_image(tmp_path / "a b, é.jpg")


def test_missing_file_and_folder_are_named(tmp_path: Path) -> None:
    for path in (tmp_path / "gone.png", tmp_path):
        with pytest.raises(DatasetError, match=f"{path.name} is not a file"):
            read_image(path)


def test_a_decompression_bomb_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    (tmp_path / "bomb.png").write_bytes(png(header, b"\0" * 100))
    with pytest.raises(
        DatasetError,
        match=r"bomb\.png: 60000 x 60000 pixels are 3600 million, and 179 million .*several files",
    ):
        read_image(tmp_path / "bomb.png")


def test_image_files_are_sorted_and_hidden_ones_left_out(tmp_path: Path) -> None:
    for name in ("b.PNG", "a/c.jpg", "a/.d.jpg", ".hidden/e.jpg", "notes.txt", "f.jpg/g.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = [path.relative_to(tmp_path).as_posix() for path in image_files(tmp_path)]
    assert found == ["a/c.jpg", "b.PNG", "f.jpg/g.png"]
    with pytest.raises(DatasetError, match="holds no image"):
        image_files(tmp_path / ".hidden" / "nothing")


def test_a_window_spreads_16_bit_grey_over_all_of_8(tmp_path: Path) -> None:
    path = tmp_path / "camera.png"
    Image.fromarray(np.array([[0, 8, 9, 2048, 4095, 5000]], np.uint16)).save(path)
    # By hand: 8 * 255 / 4095 = 0.498, 9 * 255 / 4095 = 0.56, 2048 * 255 / 4095 = 127.53.
    assert np.asarray(read_image(path, (0, 4095)))[0, :, 0].tolist() == [0, 0, 1, 128, 255, 255]
    assert np.asarray(read_image(path, (8, 4095)))[0, :, 0].tolist() == [0, 0, 0, 127, 255, 255]
    # Images of 8 bits have no window.
    Image.fromarray(np.array([[0, 9, 255]], np.uint8)).save(path)
    assert np.asarray(read_image(path, (0, 4095)))[0, :, 0].tolist() == [0, 9, 255]


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("interlaced", [0, 1])
def test_a_window_uses_all_bits_of_16_bit_colors(tmp_path: Path, channels: int, interlaced: int) -> None:
    values = (
        [0, 1023, 512, 300, 2, 1][: 2 * channels]
        if channels == 3
        else [0, 1023, 512, 65535, 300, 2, 1, 65535]
    )
    # One row of two pixels; interlaced, these are two passes of one pixel each.
    packed = struct.pack(f">{len(values)}H", *values)
    half = len(packed) // 2
    rows = b"\0" + packed[:half] + b"\0" + packed[half:] if interlaced else b"\0" + packed
    kind = {3: 2, 4: 6}[channels]
    (tmp_path / "c.png").write_bytes(png(struct.pack(">IIBBBBB", 2, 1, 16, kind, 0, 0, interlaced), rows))
    # By hand: 512 * 255 / 1023 = 127.6, 300 * 255 / 1023 = 74.8, 2 * 255 / 1023 = 0.499.
    found = np.asarray(read_image(tmp_path / "c.png", (0, 1023))).tolist()
    assert found == [[[0, 255, 128], [75, 0, 0]]]


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_window_for_16_bit_color_tiff(tmp_path: Path, order: str) -> None:
    # Width 2, height 1, three channels of 16 bits, no compression; put together by hand.
    data = struct.pack(f"{order}6H", 0, 1023, 512, 300, 2, 1023)
    tags = [
        (256, 3, 1, 2), (257, 3, 1, 1), (258, 3, 3, 8 + len(data)), (259, 3, 1, 1), (262, 3, 1, 2),
        (273, 4, 1, 8), (277, 3, 1, 3), (278, 3, 1, 1), (279, 4, 1, len(data)), (284, 3, 1, 1),
    ]  # fmt: skip
    bits = struct.pack(f"{order}3H", 16, 16, 16)
    directory = struct.pack(f"{order}H", len(tags))
    for tag, kind, count, value in tags:
        packed = f"{order}HH" if kind == 3 and count == 1 else f"{order}I"
        directory += struct.pack(f"{order}HHI", tag, kind, count)
        directory += struct.pack(packed, value, 0) if packed.endswith("HH") else struct.pack(packed, value)
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, 8 + len(data) + len(bits))
    (tmp_path / "c.tif").write_bytes(head + data + bits + directory + bytes(4))
    assert np.asarray(read_image(tmp_path / "c.tif", (0, 1023))).tolist() == [[[0, 255, 128], [75, 0, 255]]]
