"""Images beyond Pillow's limit: read where they are seen tile by tile, and refused in words elsewhere."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tao_like.errors import DatasetError
from tao_like.runtime.inputs.image import ImagePreprocessing, big_images, preprocess, read_image
from tao_like.runtime.inputs.image.big_images import BigImages, most_pixels
from tao_like.runtime.predictions.mask import merged_map, scaled_channel
from tao_like.runtime.predictions.tiles import Tiling
from tao_like.runtime.tiled import TiledImages

LIMIT = 5_000
FORMATS = [
    ("a.png", {}),
    ("a.jpg", {}),
    ("a.webp", {"lossless": True}),
    ("a.tif", {}),
    ("b.tif", {"compression": "tiff_lzw"}),
    ("a.bmp", {}),
]


@pytest.fixture
def limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow refuses images of more than ``LIMIT`` pixels."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", LIMIT // 2)


def noise(width: int, height: int) -> Image.Image:
    pixels = np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.mark.parametrize(("name", "options"), FORMATS)
@pytest.mark.usefixtures("limit")
def test_a_big_image_is_read_where_it_is_cut_and_refused_elsewhere(
    name: str, options: dict[str, Any], tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    noise(100, 80).save(tmp_path / name, **options)
    plain = tmp_path / f"small_{name}"
    noise(100, 50).save(plain, **options)
    assert read_image(plain).size == (100, 50)
    for big, remedy in (
        (BigImages.REFUSED, "make it smaller"),
        (BigImages.BY_KEY, r"dataset\.tiling\.enable=true"),
        (BigImages.OF_MODEL, "export the model"),
    ):
        with pytest.raises(DatasetError, match=rf"{name}: 100 x 80 pixels .*{remedy}"):
            read_image(tmp_path / name, big=big)
    found = np.asarray(read_image(tmp_path / name, big=BigImages.READ)).astype(int)
    assert np.abs(found - np.asarray(noise(100, 80))).mean() < (60 if name.endswith("jpg") else 1e-9)
    # For that file alone: the next one is refused, by Pillow itself too.
    assert most_pixels() == LIMIT
    with pytest.raises(Image.DecompressionBombError):
        Image.open(tmp_path / name)
    assert not recwarn.list


@pytest.mark.usefixtures("limit")
def test_memory_bounds_what_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noise(100, 80).save(tmp_path / "a.png")
    noise(100, 50).save(tmp_path / "b.png")
    monkeypatch.setattr(big_images, "free_memory", lambda: 10_000)
    with pytest.raises(DatasetError, match=r"a\.png: 100 x 80 pixels take .* GiB while they are read"):
        read_image(tmp_path / "a.png", big=BigImages.READ)
    assert read_image(tmp_path / "b.png").size == (100, 50)


def seen_tile_by_tile(batch_size: int, skip: bool = True) -> tuple[TiledImages, list[int]]:
    """Images whose tiles have a mean brightness as output; how many tiles each call of the network had."""
    preprocessing = ImagePreprocessing(16, 16, resize="letterbox")
    sizes: list[int] = []

    def whole(given: Any) -> Image.Image:
        if isinstance(given, str):
            raise DatasetError(f"{given} is damaged")
        return given

    def run(batch: np.ndarray) -> dict[str, np.ndarray]:
        sizes.append(len(batch))
        return {"mean": batch.reshape(len(batch), -1).mean(axis=1)}

    def read_tiles(outputs: Any, metadata: Any, source: str | None, size: tuple[int, int]) -> Any:
        return [float(part["mean"][0]) for part in outputs], source, size

    images: Any = SimpleNamespace(
        tiling=Tiling(32, 32, 0.25, 0.5),
        preprocessing=preprocessing,
        whole=whole,
        pixels=lambda given: 0 if isinstance(given, str) else given.width * given.height,
        batch=np.stack,
    )
    reader: Any = SimpleNamespace(read_tiles=read_tiles, failed=lambda source, error: (error, source))
    source = lambda given: given if isinstance(given, str) else None  # noqa: E731
    return TiledImages(images, reader, run, source, batch_size, 2, skip), sizes


def test_tiles_of_all_images_go_through_in_batches_and_come_back_to_their_image() -> None:
    given = [noise(70, 40), "x.png", noise(20, 20), noise(33, 65), "y.png"]
    tiled, sizes = seen_tile_by_tile(4)
    found: list[Any] = list(tiled.predict(given, SimpleNamespace()))  # type: ignore[arg-type]
    assert found[1] == ("x.png is damaged", "x.png")
    assert found[4] == ("y.png is damaged", "y.png")
    for number in (0, 2, 3):
        image: Any = given[number]
        means, _, size = found[number]
        tiles = Tiling(32, 32, 0.25, 0.5).tiles(*image.size)
        expected = [
            preprocess(image.crop(tile), ImagePreprocessing(16, 16, resize="letterbox")).mean()
            for tile in tiles
        ]
        assert means == pytest.approx(expected)
        assert size == image.size
    assert max(sizes) <= 4
    assert sum(sizes) == sum(len(found[number][0]) for number in (0, 2, 3))
    strict, _ = seen_tile_by_tile(4, skip=False)
    with pytest.raises(DatasetError, match=r"x\.png"):
        list(strict.predict(given, SimpleNamespace()))  # type: ignore[arg-type]


def test_no_more_is_read_and_cut_than_is_needed() -> None:
    tiled, sizes = seen_tile_by_tile(4)
    big = noise(1000, 1000)
    read: list[int] = []
    given = (read.append(number) or big for number in range(50))  # type: ignore[func-returns-value]
    tiled.images.pixels = lambda given: 2**25  # type: ignore[method-assign]
    found = tiled.predict(given, SimpleNamespace())  # type: ignore[arg-type]
    next(found)
    # The last batch of the first image reaches into the second; the third has been named to see its size.
    assert max(read) <= 2
    assert set(sizes) == {4}


@pytest.mark.parametrize("size", [(100, 90), (33, 200), (200, 33), (20, 20), (32, 32)])
def test_masks_merged_row_by_row_are_those_of_the_whole(size: tuple[int, int]) -> None:
    tiling, preprocessing = Tiling(32, 32, 0.3, 1.0), ImagePreprocessing(32, 32, resize="squash")
    draw = np.random.default_rng(0)
    tiles = tiling.tiles(*size)
    values = [draw.random((3, 32, 32), np.float32) for _ in tiles]
    total, count = np.zeros((3, size[1], size[0]), np.float32), np.zeros(size[::-1], np.float32)
    for tile, one in zip(tiles, values, strict=True):
        extent = (tile.right - tile.left, tile.bottom - tile.top)
        area = (slice(tile.top, tile.bottom), slice(tile.left, tile.right))
        for number in range(3):
            total[number][area] += scaled_channel(one[number], extent)
        count[area] += 1
    expected = (total / count).argmax(axis=0)
    assert (merged_map(iter(values), size, preprocessing, tiling) == expected).all()
