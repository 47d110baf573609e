"""Emoji with captions, from a folder laid out as npm's package is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from tao_like.cli.main import main
from tao_like.data.captions.reading import CaptionSource, read_captions
from tao_like.errors import DatasetError, SpecError
from tao_like.samples.catalog import write_sample
from tao_like.samples.emoji import GROUND


def package(folder: Path, style: str = "google", count: int = 40) -> Path:
    """A made-up one: colored squares, transparent around."""
    images = folder / "img" / style / "64"
    images.mkdir(parents=True)
    rows = []
    for number in range(count):
        name = f"1f{number:03x}.png"
        emoji = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
        emoji.paste((6 * number, 40, 200, 255), (16, 16, 48, 48))
        emoji.save(images / name)
        rows.append(
            {
                "name": f"RED THING {number}",
                "image": name,
                "short_names": [f"red_thing_{number}", f"thing-{number}"],
                "category": "Flags" if number == 3 else "Objects" if number % 2 else "Food & Drink",
                "subcategory": "light-video",
            }
        )
    rows.append({**rows[0], "name": "NOT THERE", "image": "../1f000.svg"})
    (folder / "emoji.json").write_text(json.dumps(rows), encoding="utf-8")
    (folder / "package.json").write_text('{"version": "16.0.0"}', encoding="utf-8")
    (folder / "LICENSE").write_text("The MIT License", encoding="utf-8")
    return folder


def test_a_package_becomes_images_with_captions(tmp_path: Path) -> None:
    source, folder = package(tmp_path / "package"), tmp_path / "emoji"
    with pytest.raises(SystemExit) as ended:
        main(["samples", "emoji", str(folder), "--source", str(source)])
    assert ended.value.code == 0
    found = {
        split: read_captions(CaptionSource("key", None, folder / f"{split}.jsonl")).records
        for split in ("train", "val", "test")
    }
    assert {split: len(records) for split, records in found.items()} == {"train": 31, "val": 4, "test": 4}
    records = {record.path.name: record for part in found.values() for record in part}
    assert len(records) == 39
    assert "1f003.png" not in records  # a flag
    one = records["1f005.png"]
    assert one.labels == ("Objects",)
    assert one.captions == ("red thing 5", "thing 5", "red thing 5, light video")
    with Image.open(one.path) as image:
        assert (image.mode, image.size) == ("RGB", (64, 64))
        assert image.getpixel((1, 1)) == GROUND
        assert image.getpixel((30, 30)) == (30, 40, 200)
    readme = (folder / "README.txt").read_text("utf-8")
    assert "package emoji-datasource-google, version 16.0.0" in readme
    assert "Apache License 2.0" in readme
    assert (folder / "LICENSE").read_text("utf-8") == "The MIT License"
    again = write_sample("emoji", tmp_path / "again", source=source)
    assert (again / "train.jsonl").read_text("utf-8") == (folder / "train.jsonl").read_text("utf-8")


def test_the_other_style_keeps_its_own_licence(tmp_path: Path) -> None:
    write_sample("emoji", tmp_path / "emoji", source=package(tmp_path / "package", "twitter", 10))
    assert "CC BY 4.0: name them" in (tmp_path / "emoji" / "README.txt").read_text("utf-8")


def test_what_is_no_such_package_is_refused(tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    with pytest.raises(DatasetError, match=r"there is no emoji\.json; give the unpacked package"):
        write_sample("emoji", tmp_path / "a", source=tmp_path / "none")
    with pytest.raises(DatasetError, match="styles of Apple and Facebook may not be used"):
        write_sample("emoji", tmp_path / "b", source=package(tmp_path / "apple", "apple", 2))
    broken = package(tmp_path / "broken", count=2)
    (broken / "emoji.json").write_text('[{"name": "x"}]', encoding="utf-8")
    with pytest.raises(DatasetError, match="this is no list of emoji"):
        write_sample("emoji", tmp_path / "c", source=broken)
    with pytest.raises(SpecError, match="--source: the sample emoji is read from a folder that you bring"):
        write_sample("emoji", tmp_path / "d")
    with pytest.raises(SpecError, match="--source: the sample digits is made here"):
        write_sample("digits", tmp_path / "e", source=broken)
