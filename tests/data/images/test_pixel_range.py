"""Images of 10, 12 and 14 bits in files of 16."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tao_like.data.checks.pixel_values import pixel_value_findings
from tao_like.data.images.cache import DiskStore, MemoryStore
from tao_like.data.images.pixel_range import chosen_window, found_pixel_range
from tao_like.data.images.sample import ImageRecord


def write(folder: Path, name: str, values: list[int] | np.ndarray) -> Path:
    folder.mkdir(exist_ok=True, parents=True)
    pixels = np.resize(np.array(values, np.uint16), (20, 20))
    Image.fromarray(pixels).save(folder / name)
    return folder / name


@pytest.mark.parametrize(
    ("largest", "window"),
    [
        (200, (0, 255)),
        (900, (0, 1023)),
        (1023, (0, 1023)),
        (4039, (0, 4095)),
        (8500, (0, 16383)),
        (16384, None),
        (65535, None),
    ],
)
def test_auto_takes_the_bits_that_the_images_need(
    tmp_path: Path, largest: int, window: tuple[float, float] | None
) -> None:
    paths = [write(tmp_path, f"{number}.png", [5, 20, largest // 2]) for number in range(5)]
    paths.append(write(tmp_path, "bright.png", [5, 20, largest]))
    assert chosen_window("auto", paths) == window


def test_the_other_settings(tmp_path: Path) -> None:
    # 400 values, 0 to 399 times 10: the 0.5th percentile is 0.005 * 399 * 10 = 19.95.
    paths = [write(tmp_path, "ramp.png", np.arange(400) * 10)]
    assert chosen_window("full", paths) is None
    assert chosen_window("0-65535", paths) is None
    assert chosen_window("7000-8500", paths) == (7000, 8500)
    assert chosen_window("percentile", paths) == pytest.approx((19.95, 3970.05))


def test_eight_bits_and_damaged_files_say_nothing(tmp_path: Path) -> None:
    Image.new("L", (20, 20), 100).save(tmp_path / "grey.png")
    Image.new("RGB", (20, 20), "red").save(tmp_path / "red.jpg")
    (tmp_path / "none.png").write_bytes(b"no picture")
    paths = sorted(tmp_path.iterdir())
    assert found_pixel_range(paths) is None
    assert chosen_window("auto", paths) is None
    assert chosen_window("percentile", [*paths, tmp_path / "lost.png"]) is None


def findings(paths: list[Path], setting: str) -> dict[str, str]:
    records = {"train": [ImageRecord(path, ("a",)) for path in paths]}
    found = pixel_value_findings(records, setting, chosen_window(setting, paths))
    return {finding.code: f"{finding.level}: {finding.message}" for finding in found}


def test_the_check_says_what_becomes_of_them(tmp_path: Path) -> None:
    paths = [write(tmp_path, "a.png", [25, 4039])]
    assert "warning: 16-bit images use values up to 4095 only" in findings(paths, "auto")["pixel_range"]
    told = findings(paths, "full")
    assert "with auto it would be 0 to 4095" in told["pixel_range"]
    assert "nearly black" in told["dark_pictures"]
    assert "values up to 4039" in findings(paths, "0-1000")["pixel_range_exceeded"]
    # One hot pixel hides from `auto` that all others are dark.
    hot = np.full(40_000, 900)
    hot[0] = 65535
    Image.fromarray(hot.reshape(200, 200).astype(np.uint16)).save(tmp_path / "hot.png")
    assert "lie below 900" in findings([tmp_path / "hot.png"], "auto")["dark_pictures"]
    assert findings([write(tmp_path, "whole.png", [0, 40_000, 65535])], "auto") == {}


def test_a_split_with_greater_values_than_the_training_data_is_told(tmp_path: Path) -> None:
    train, val = write(tmp_path, "t.png", [25, 1000]), write(tmp_path, "v.png", [25, 3000])
    records = {name: [ImageRecord(path, ("a",))] for name, path in (("train", train), ("val", val))}
    found = {one.code: one.message for one in pixel_value_findings(records, "auto", (0, 1023))}
    assert "of val have values up to 3000" in found["pixel_range_exceeded"]


def test_caches_keep_images_by_their_window(tmp_path: Path) -> None:
    path = write(tmp_path, "a.png", [4095])
    for window, value in (((0, 4095), 255), (None, 16), ((0, 8190), 128)):
        for store in (DiskStore(tmp_path / "cache", window), MemoryStore([path], window=window)):
            for _ in range(2):
                assert np.asarray(store.read(path)).max() == value
