"""Images with captions in .tar shards: read in place, named when damaged, never unpacked."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from sample_images import shape
from tiny_clip import run

from tao_like.bundle import read_bundle
from tao_like.data.captions.reading import CaptionSource, read_captions
from tao_like.data.images.files import content_sha1, read_header
from tao_like.data.inference_files import image_sources
from tao_like.errors import DatasetError
from tao_like.runtime.inputs import packed as packed_file
from tao_like.runtime.inputs import shards
from tao_like.runtime.inputs.image import read_image
from tao_like.runtime.inputs.shards import shard_members


def png(name: str, number: int) -> bytes:
    """A small image as a file."""
    buffer = io.BytesIO()
    shape([name], number).save(buffer, "PNG")
    return buffer.getvalue()


def write_shard(path: Path, files: dict[str, bytes]) -> Path:
    """A shard with these files."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


def samples(first: int, count: int) -> dict[str, bytes]:
    """Images with a text each; every other one has JSON with a label instead."""
    files: dict[str, bytes] = {}
    for number in range(first, first + count):
        color = ("red", "green", "blue")[number % 3]
        files[f"./{number:04}.png"] = png(color, number)
        if number % 2:
            files[f"{number:04}.txt"] = f"a {color} thing\nsomething {color}\n".encode()
        else:
            row = {"caption": f"a {color} thing", "label": color, "url": "http://x"}
            files[f"{number:04}.json"] = json.dumps(row).encode()
    return files


def read(folder: Path, **changes: Any) -> Any:
    """The captions below a path."""
    return read_captions(CaptionSource("dataset.train_dataset", folder, **changes))


def test_samples_are_found_by_their_keys_and_read_in_place(tmp_path: Path) -> None:
    write_shard(tmp_path / "a-000.tar", {**samples(0, 4), "._junk.png": b"x", "alone.txt": b"no image"})
    write_shard(tmp_path / "a-001.tar", {**samples(4, 2), "sub/x.y.PNG": png("red", 9), "bare.png": b"x"})
    found = read(tmp_path)
    assert [record.key for record in found.records] == [
        *(f"a-000.tar/{number:04}.png" for number in range(4)),
        *(f"a-001.tar/{number:04}.png" for number in (4, 5)),
    ]
    assert found.records[1].captions == ("a green thing", "something green")
    assert (found.records[0].labels, found.records[1].labels) == (("red",), ())
    assert found.findings[0].code == "no_caption"
    path = found.records[0].path
    assert read_image(path).tobytes() == shape(["red"], 0).convert("RGB").tobytes()
    assert read_header(path)[:2] == shape(["red"], 0).size
    loose = tmp_path / "loose.bin"
    loose.write_bytes(png("red", 0))
    assert content_sha1(path) == content_sha1(loose)
    alone = read(tmp_path / "a-000.tar")
    assert [record.key for record in alone.records] == [f"{number:04}.png" for number in range(4)]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"../out.png": b"x"}, "points out of it"),
        ({"/etc/out.png": b"x"}, "points out of it"),
        ({"a.png": b"x", "./a.png": b"y"}, "a.png twice"),
        ({"a.png": b"x", "a.jpg": b"y"}, "several images"),
        ({"a.png": b"x", "a.json": b"{"}, "cannot be read"),
        ({"a.png": b"x", "a.json": b"[1]"}, "no object"),
        ({"a.png": b"x", "a.json": b'{"url": "x"}'}, "needs `caption`"),
        ({"a.png": b"x", "a.txt": b"\xff\xfe"}, "not UTF-8"),
    ],
)
def test_what_is_wrong_in_a_shard_is_named(files: dict[str, bytes], message: str, tmp_path: Path) -> None:
    write_shard(tmp_path / "a.tar", files)
    with pytest.raises(DatasetError, match=rf"a\.tar.*{message}"):
        read(tmp_path)


def test_shards_that_are_cut_off_compressed_or_none_are_refused(tmp_path: Path) -> None:
    whole = write_shard(tmp_path / "whole.tar", samples(0, 6)).read_bytes()
    for place in (len(whole) // 2, 512 * 3, whole.rindex(b".json") // 512 * 512):
        short = tmp_path / f"{place}.tar"
        short.write_bytes(whole[:place])
        with pytest.raises(DatasetError, match=r"cut off|no tar archive"):
            shard_members(short)
    packed = tmp_path / "packed.tar"
    with tarfile.open(packed, "w:gz") as archive:
        archive.add(tmp_path / "whole.tar", "whole.tar")
    with pytest.raises(DatasetError, match=r"packed\.tar: this is no tar archive"):
        shard_members(packed)
    links = tmp_path / "links.tar"
    with tarfile.open(links, "w") as archive:
        for kind, name in ((tarfile.SYMTYPE, "link.png"), (tarfile.FIFOTYPE, "pipe.png")):
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = kind, "/etc/passwd"
            archive.addfile(entry)
    assert not shard_members(links)


def test_shards_are_checked_trained_on_and_divided(tmp_path: Path) -> None:
    write_shard(tmp_path / "pairs" / "000.tar", samples(0, 24))
    twin = samples(0, 1)["./0000.png"]
    write_shard(tmp_path / "pairs" / "001.tar", {**samples(24, 12), "twin.png": twin, "twin.txt": b"again"})
    words = [
        f"dataset.train_dataset.images_dir={tmp_path / 'pairs'}",
        "dataset.split={val: 0.25, test: 0.25}",
    ]
    check = run("dataset_check", tmp_path / "out", *words)
    assert check.errors == 0
    assert "001.tar/twin.png" in json.dumps(check.report["findings"])
    assert (check.folder / "contact_sheet.png").is_file()
    trained = run("train", tmp_path / "out", *words, "train.num_epochs=1", "dataset.cache=ram")
    files = [entry["file"] for part in read_bundle(trained.bundle).split.values() for entry in part]
    assert len(files) == 37
    assert all(file.startswith(("000.tar/", "001.tar/")) for file in files)
    scored = run("evaluate", tmp_path / "out", *words, f"evaluate.checkpoint={trained.bundle}")
    assert 0 < len(scored.predictions.read_text().splitlines()) - 1 < 37
    write_shard(
        tmp_path / "bad" / "0.tar", {**samples(0, 6), "corrupt.png": b"no image", "corrupt.txt": b"x"}
    )
    with pytest.raises(DatasetError, match=r"0\.tar.corrupt\.png"):
        run("dataset_check", tmp_path / "bad_out", f"dataset.train_dataset.images_dir={tmp_path / 'bad'}",
            "train.keep=last")  # fmt: skip


def test_several_folders_are_one_split_as_tao_has_them(tmp_path: Path) -> None:
    write_shard(tmp_path / "pairs" / "000.tar", samples(0, 9))
    for name in ("one", "two"):
        (tmp_path / name / "captions").mkdir(parents=True)
        for number in range(6):
            shape(["red"], number + 50 * (name == "two")).save(tmp_path / name / f"{number}.png")
            (tmp_path / name / "captions" / f"{number}.cap").write_text(f"the {name} number {number}")
    listed = tmp_path / "listed.txt"
    listed.write_text("0.png\n3\n5.png\n")
    two = f"{{image_dir: {tmp_path}/two, caption_dir: {tmp_path}/two/captions, caption_file_suffix: .cap"
    words = [
        f"dataset.train.datasets=[{{image_dir: {tmp_path}/pairs}}, {two.replace('two', 'one')}}}, "
        f"{two}, image_list_file: {listed}}}]",
        "dataset.split={val: 0.3, test: 0.3}",
    ]
    check = run("dataset_check", tmp_path / "out", *words)
    counts = check.report["data"]["captions"]
    assert sum(part["pictures"] for part in counts.values()) == 9 + 6 + 3
    trained = run("train", tmp_path / "out", *words, "train.num_epochs=1")
    scored = run("evaluate", tmp_path / "out", *words, f"evaluate.checkpoint={trained.bundle}")
    rows = scored.predictions.read_text().splitlines()[1:]
    assert len({row.split(",")[0] for row in rows}) == len(rows) > 3
    listed.write_text("0.png\nnone.png\n")
    with pytest.raises(DatasetError, match=r"datasets\[2\]\.image_list_file.*\n.*none\.png"):
        run("dataset_check", tmp_path / "again", *words)


def packed(shard: Path, *, suffix: str = ".tar.gz", parts: int = 1) -> Path:
    """The shard compressed, in one or several members."""
    content, target = shard.read_bytes(), shard.with_name(shard.stem + suffix)
    cuts = [len(content) * number // parts for number in range(parts + 1)]
    target.write_bytes(b"".join(gzip.compress(content[a:b]) for a, b in pairwise(cuts)))
    shard.unlink()
    return target


@pytest.mark.parametrize(("suffix", "parts"), [(".tar.gz", 1), (".tgz", 3)])
def test_compressed_shards_are_read_as_plain_ones_are(
    suffix: str, parts: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packed_file, "_STEP", 3000)
    monkeypatch.setattr(packed_file, "_PIECE", 500)
    plain = write_shard(tmp_path / "plain" / "a.tar", samples(0, 40))
    copy = write_shard(tmp_path / "packed" / "a.tar", samples(0, 40))
    shard = packed(copy, suffix=suffix, parts=parts)
    expected, found = read(plain.parent).records, read(shard.parent).records
    assert [one.captions for one in found] == [one.captions for one in expected]
    for number in (39, 0, 20, 21, 3):  # back and forth
        assert content_sha1(found[number].path) == content_sha1(expected[number].path)
    # Reading begins at many places, not at the first one alone.
    marks = shards._marks(shard, shard.stat().st_size, shard.stat().st_mtime_ns)
    assert len(marks) >= plain.stat().st_size // 3000 // 2
    assert sorted(tmp_path.rglob("*.*")) == sorted([plain, shard])


def test_a_damaged_compressed_shard_is_named(tmp_path: Path) -> None:
    shard = packed(write_shard(tmp_path / "a.tar", samples(0, 8)))
    whole = shard.read_bytes()
    shard.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DatasetError, match=r"a\.tar\.gz: the archive is cut off"):
        read(tmp_path)
    shard.write_bytes(b"\x1f\x8b" + bytes(100))
    with pytest.raises(DatasetError, match=r"a\.tar\.gz: this is no tar archive"):
        read(tmp_path)


def test_shards_are_a_source_of_inference(tmp_path: Path) -> None:
    first = write_shard(tmp_path / "a.tar", samples(0, 2))
    second = packed(write_shard(tmp_path / "b.tar", samples(2, 1)))
    names = [first / "0000.png", first / "0001.png", second / "0002.png"]
    assert image_sources(str(tmp_path)) == names
    assert image_sources(str(first)) == names[:2]
    assert image_sources(str(tmp_path / "*.gz")) == names[2:]
    assert image_sources(str(names[1])) == [names[1]]
    empty = write_shard(tmp_path / "none" / "c.tar", {"a.txt": b"x"})
    with pytest.raises(DatasetError, match=r"inference\.source: there are no images in the shard"):
        image_sources(str(empty))
