"""Files that are no bundle, or lie about what they hold: one clear error each, nothing written."""

from __future__ import annotations

import hashlib
import json
import random
import re
import shutil
import struct
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from bundle_examples import assert_equal, example, rezip

from tao_like.bundle import read_bundle, read_manifest, write_bundle
from tao_like.errors import BundleError

WEIGHTS = "parts/model/weights.safetensors"
STRUCTURE = "parts/model/structure.json"
OLD = Path(__file__).parent / "files" / "format1" / "pose_classification.tltb"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_bundle(tmp_path / "model.tltb", example())
    return tmp_path / "model.tltb"


def edit_manifest(path: Path, **changes: Any) -> None:
    def change(members: dict[str, bytes]) -> None:
        members["bundle.json"] = json.dumps({**json.loads(members["bundle.json"]), **changes}).encode()

    rezip(path, change)


def replace_member(path: Path, name: str, content: bytes) -> None:
    """Put other content in, with the manifest's hash of it corrected."""

    def change(members: dict[str, bytes]) -> None:
        members[name] = content
        manifest = json.loads(members["bundle.json"])
        manifest["sha256"][name] = hashlib.sha256(content).hexdigest()
        members["bundle.json"] = json.dumps(manifest).encode()

    rezip(path, change)


@pytest.mark.parametrize("reader", [read_bundle, read_manifest])
def test_a_newer_format_says_so_whatever_else_is_new(path: Path, reader: Callable[[Path], Any]) -> None:
    def change(members: dict[str, bytes]) -> None:
        members["news.bin"] = b""
        members["bundle.json"] = b'{"format": "tao_like bundle", "format_version": 3, "news": 1}'

    rezip(path, change)
    with pytest.raises(BundleError, match=r"model\.tltb .*format 3.*up to 2; update tao_like"):
        reader(path)


def test_files_that_are_no_bundle(tmp_path: Path) -> None:
    contents = [b"", b"PK", b"hello" * 100, b"PK\x05\x06" + b"\0" * 18, b"PK\x05\x06" + b"\xff" * 18]
    for content in contents:
        (tmp_path / "odd.tltb").write_bytes(content)
        with pytest.raises(BundleError, match=r"odd\.tltb"):
            read_bundle(tmp_path / "odd.tltb")
    for missing in (tmp_path, tmp_path / "gone.tltb"):
        with pytest.raises(BundleError, match=f"{missing.name} is not a file"):
            read_bundle(missing)


@pytest.mark.parametrize(
    "name",
    [
        "../evil",
        "/evil",
        "a/bundle.json",
        "C:\\evil",
        "weights.safetensors/",
        "weights.safetensors",
        "parts/model/more.bin",
    ],
)
def test_members_that_no_bundle_has(path: Path, name: str) -> None:
    rezip(path, lambda members: members.update({name: b"x"}))
    for reader in (read_bundle, read_manifest):
        with pytest.raises(BundleError, match=re.escape(f"names: {[name]} lacking or too many")):
            reader(path)
    assert [file.name for file in path.parent.iterdir()] == ["model.tltb"]


@pytest.mark.parametrize("name", ["bundle.json", WEIGHTS, STRUCTURE])
def test_missing_and_repeated_members(path: Path, name: str) -> None:
    whole = path.read_bytes()
    rezip(path, lambda members: members.pop(name))
    with pytest.raises(BundleError, match=name):
        read_bundle(path)
    path.write_bytes(whole)
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr(name, b"{}")
    with pytest.raises(BundleError, match=name):
        read_bundle(path)


@pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_bomb_is_refused_without_being_unpacked(path: Path, compression: int) -> None:
    bomb = b"[" + b" " * 50_000_000 + b"]"
    rezip(path, lambda members: members.update({"bundle.json": bomb}), compression=compression)
    assert path.stat().st_size < 1_000_000
    started = time.process_time()
    with pytest.raises(BundleError, match=r"bundle\.json is compressed"):
        read_bundle(path)
    assert time.process_time() - started < 0.2


def directory_entry(content: bytes, name: bytes) -> int:
    """Where the central directory's entry of a member begins."""
    found = content.find(b"PK\x01\x02")
    while content[found + 46 : found + 46 + len(name)] != name:
        found = content.find(b"PK\x01\x02", found + 4)
    return found


@pytest.mark.parametrize("name", [b"bundle.json", b"parts/model/weights.safetensors"])
@pytest.mark.parametrize(
    ("offset", "value"),
    [
        (8, b"\x01\x00"),  # encrypted
        (8, b"\x40\x00"),  # strongly encrypted
        (8, b"\x20\x00"),  # patched data
        (10, b"\x63\x00"),  # a compression method that nobody knows
        (20, b"\xff\xff\xff\x7f" * 2),  # both sizes 2 GB
        (20, b"\xff\xff\xff\xff" * 2),  # both sizes in a zip64 field that is missing
        (20, b"\x04\x00\x00\x00"),  # compressed size below the other
        (24, b"\x00\x00\x00\x00"),  # size 0 of a member that is not
        (42, b"\xf0\xff\xff\x7f"),  # begins beyond the end of the file
    ],
)
def test_lies_in_the_directory(path: Path, name: bytes, offset: int, value: bytes) -> None:
    content = bytearray(path.read_bytes())
    entry = directory_entry(bytes(content), name)
    content[entry + offset : entry + offset + len(value)] = value
    path.write_bytes(content)
    with pytest.raises(BundleError, match=r"model\.tltb"):
        read_bundle(path)


def test_a_directory_of_a_million_entries_is_refused_at_once(tmp_path: Path) -> None:
    entry = struct.pack("<4s6H3L5H2L", b"PK\x01\x02", *[0] * 6, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) + b"x"
    directory = entry * 1_000_000
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 16960, 16960, len(directory), 0, 0)
    (tmp_path / "x.tltb").write_bytes(directory + end)
    started = time.process_time()
    with pytest.raises(BundleError, match="claims to hold 47000000 bytes"):
        read_bundle(tmp_path / "x.tltb")
    assert time.process_time() - started < 0.2


def test_a_member_of_another_bundle_is_noticed(tmp_path: Path, path: Path) -> None:
    write_bundle(tmp_path / "other.tltb", example(weights={"w": torch.ones(3)}))
    with zipfile.ZipFile(tmp_path / "other.tltb") as archive:
        weights = archive.read(WEIGHTS)
    rezip(path, lambda members: members.update({WEIGHTS: weights}))
    with pytest.raises(BundleError, match=r"model/weights\.safetensors is not the one that bundle\.json"):
        read_bundle(path)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        (b"{", "not valid JSON"),
        (b"\xff\xfe", "not valid JSON"),
        (b"[]", "not a JSON object"),
        (b'{"a": ' * 100_000, "not valid JSON"),
        (b'{"a": NaN}', "NaN is not a finite number"),
        (b'{"a": -Infinity}', "-Infinity is not a finite number"),
        (b'{"a": 1e999}', "1e999 is not a finite number"),
        (b'{"a": 1, "a": 2}', "same key twice"),
        (b'{"a": ' + b"9" * 100_000 + b"}", "not valid JSON"),
        (b"{}", "is no bundle"),
    ],
)
def test_json_that_is_none(path: Path, text: bytes, rule: str) -> None:
    rezip(path, lambda members: members.update({"bundle.json": text}))
    with pytest.raises(BundleError, match=rf"bundle\.json .*{rule}|{rule}: bundle\.json"):
        read_manifest(path)


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"format": "another"}, "is no bundle"),
        ({"format_version": 0}, "format_version"),
        ({"format_version": "1"}, "format_version"),
        ({"format_version": True}, "format_version"),
        ({"task": 7}, "task is a int"),
        ({"spec": []}, "spec is a list"),
        ({"classes": {}}, "classes is a dict"),
        ({"classes": [1]}, "classes must be texts"),
        ({"history": [1]}, "history must be"),
        ({"split": "train"}, "split is a str"),
        ({"sha256": []}, "sha256 is a list"),
        ({"sha256": {}}, r"sha256 must name parts/model/weights\.safetensors"),
        ({"sha256": {WEIGHTS: 7}}, "lacking or too many"),
        ({"sha256": {WEIGHTS: "", "../../x": ""}}, "sha256 must name"),
        ({"color": 1}, "misses or adds the keys color"),
        ({"parts": []}, "parts is a list"),
        ({"parts": {}}, "parts must be 1 to 32; there are 0"),
        (
            {"parts": {f"p{number}": {"phase": ""} for number in range(33)}},
            "parts must be 1 to 32; there are 33",
        ),
        ({"parts": {"../model": {"phase": ""}}}, r"parts has the name '\.\./model'"),
        ({"parts": {"model\n": {"phase": ""}}}, "parts has the name"),
        ({"parts": {"m" * 33: {"phase": ""}}}, "parts has the name"),
        ({"parts": {"": {"phase": ""}}}, "parts has the name"),
        ({"parts": {"model": {}}}, r"parts\.model must be an object with the text phase"),
        ({"parts": {"model": {"phase": 1}}}, r"parts\.model must be an object"),
        ({"parts": {"model": {"phase": "", "file": "x"}}}, r"parts\.model must be an object"),
        ({"parts": {"model": {"phase": ""}, "text": {"phase": ""}}}, r"sha256 must name .*text/weights"),
        ({"labels": []}, "labels is a list"),
        ({"labels": {"prompts": {}}}, "labels must be an object with prompts and open_set"),
        ({"labels": {"prompts": {}, "open_set": 1}}, "labels must be an object with prompts and open_set"),
        ({"labels": {"prompts": {"wasp": []}, "open_set": True}}, r"labels\.prompts must be"),
        ({"labels": {"prompts": {"ant": "x"}, "open_set": True}}, r"labels\.prompts\.ant must be a list"),
        ({"format_version": 1}, "misses or adds the keys parts"),
    ],
)
def test_a_manifest_of_wrong_types(path: Path, changes: dict[str, Any], rule: str) -> None:
    edit_manifest(path, **changes)
    with pytest.raises(BundleError, match=rule):
        read_bundle(path)


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"parts": {"model": {"phase": ""}}}, "misses or adds the keys parts"),
        ({"labels": {"prompts": {}, "open_set": True}}, "misses or adds the keys labels"),
        ({"sha256": {}}, r"sha256 must name weights\.safetensors"),
        ({"format_version": 2}, "misses or adds the keys parts"),
        ({"sha256": {WEIGHTS: ""}}, r"sha256 must name weights\.safetensors"),
    ],
)
def test_a_manifest_of_format_1_keeps_its_own_rules(
    tmp_path: Path, changes: dict[str, Any], rule: str
) -> None:
    path = Path(shutil.copy(OLD, tmp_path / "old.tltb"))
    edit_manifest(path, **changes)
    with pytest.raises(BundleError, match=rf"old\.tltb .*{rule}"):
        read_bundle(path)


def safetensors(header: object, data: bytes = b"\0" * 8) -> bytes:
    text = json.dumps(header).encode() if not isinstance(header, bytes) else header
    return struct.pack("<Q", len(text)) + text + data


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 8,
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", 100) + b"{}",
        safetensors(b"not json"),
        safetensors([]),
        safetensors({"w": {"dtype": "F32", "shape": [3], "data_offsets": [0, 8]}}),
        safetensors({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 9]}}),
        safetensors({"w": {"dtype": "F32", "shape": [2], "data_offsets": [8, 0]}}),
        safetensors({"w": {"dtype": "F32", "shape": [-2], "data_offsets": [0, 8]}}),
        safetensors({"w": {"dtype": "F32", "shape": [2**62, 2**62], "data_offsets": [0, 8]}}),
        safetensors({"w": {"dtype": "F32", "shape": [2**63, 0], "data_offsets": [0, 0]}}, b""),
        safetensors({"w": {"dtype": "F99", "shape": [2], "data_offsets": [0, 8]}}),
        safetensors({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}),
        safetensors({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}, b"\0" * 9),
        safetensors(
            {
                "v": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
                "w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
            }
        ),
    ],
)
def test_lies_in_the_weights_header(path: Path, content: bytes) -> None:
    replace_member(path, WEIGHTS, content)
    with pytest.raises(BundleError, match=r"weights\.safetensors is damaged"):
        read_bundle(path)


def test_a_structure_that_is_none(path: Path) -> None:
    replace_member(path, STRUCTURE, b"[1]")
    with pytest.raises(BundleError, match=r"structure\.json is not a JSON object"):
        read_bundle(path)


def test_mutated_structures_are_refused_before_they_reach_a_network(path: Path) -> None:
    """With the hash of the mutated member, so that nothing but its content tells."""
    expected = example()
    with zipfile.ZipFile(path) as archive:
        content = archive.read(STRUCTURE)
    generator = random.Random(0)
    read = 0
    for _ in range(200):
        write_bundle(path, expected)
        replace_member(path, STRUCTURE, mutate(content, content, generator))
        try:
            found = read_bundle(path).structure
        except BundleError:
            continue
        assert isinstance(found, dict)
        json.dumps(found, allow_nan=False)
        read += 1
    assert 0 < read < 100
    assert [file.name for file in path.parent.iterdir()] == ["model.tltb"]


def mutate(content: bytes, other: bytes, generator: random.Random) -> bytes:
    mutated = bytearray(content)
    for _ in range(generator.choice([1, 1, 1, 2, 5, 20])):
        position = generator.randrange(len(mutated) or 1)
        length = generator.choice([1, 2, 4, 8, 50, 500])
        kind = generator.randrange(8)
        if kind <= 2 and mutated:
            mutated[position % len(mutated)] ^= 1 << generator.randrange(8)
        elif kind == 3:
            mutated[position : position + length] = generator.choice([b"\0", b"\xff"]) * length
        elif kind == 4:
            del mutated[position : position + length]
        elif kind == 5:
            mutated[position:position] = generator.randbytes(length)
        elif kind == 6:
            start = generator.randrange(len(other))
            mutated[position : position + length] = other[start : start + length]
        else:
            del mutated[position:]
    return bytes(mutated)


def test_mutated_bundles_are_refused_or_read_as_they_were(tmp_path: Path, path: Path) -> None:
    """Half of the mutations fall on the zip records, where most of the fields are that a reader believes."""
    expected = example()
    content = path.read_bytes()
    write_bundle(tmp_path / "other.tltb", example(task="other", weights={"w": torch.ones(40)}))
    other = (tmp_path / "other.tltb").read_bytes()
    directory = content.find(b"PK\x01\x02")
    (tmp_path / "inside").mkdir()
    target = tmp_path / "inside" / "mutated.tltb"
    generator = random.Random(0)
    read, started = 0, time.process_time()
    for index in range(1000):
        if index % 2:
            mutated = mutate(content, other, generator)
        else:
            mutated = content[:directory] + mutate(content[directory:], other, generator)
        target.write_bytes(mutated)
        try:
            found = read_bundle(target)
        except BundleError:
            continue
        assert_equal(found, expected)
        read += 1
    assert time.process_time() - started < 10
    assert 0 < read < 500
    assert sorted(file.name for file in tmp_path.rglob("*")) == [
        "inside",
        "model.tltb",
        "mutated.tltb",
        "other.tltb",
    ]
