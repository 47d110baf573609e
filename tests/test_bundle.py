"""The bundle: it gives back what it was given, and anything that is no bundle is one clear error."""

from __future__ import annotations

import copy
import hashlib
import json
import random
import re
import struct
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tao_like.bundle import (
    FORMAT_VERSION,
    Bundle,
    file_sha256,
    read_bundle,
    read_manifest,
    write_bundle,
)
from tao_like.errors import BundleError, TaoLikeError


def example(**changes: Any) -> Bundle:
    values: dict[str, Any] = {
        "task": "classification",
        "spec": {"model": {"backbone": {"type": "resnet18"}}, "results_dir": "/data/my run, é [1]"},
        "classes": ["ant", "bee ✿", "10"],
        "preparation": {"height": 32, "width": 48},
        "metrics": {"top_1": 0.1 + 0.2, "per_class": {"ant": {"f1": None}}},
        "thresholds": {"kind": "reject", "value": 0.4},
        "split": {"train": [{"file": "a\udcff.jpg", "sha1": "00", "labels": ["ant"]}], "val": [], "test": []},
        "history": [{"stage": "train", "time": "2025-01-01T00:00:00Z"}],
        "weights": {
            "layer.weight": torch.arange(6, dtype=torch.float32).reshape(2, 3),
            "layer.half": torch.tensor([1.5, -2.0], dtype=torch.bfloat16),
            "bn.num_batches_tracked": torch.tensor(7),
            "mask": torch.tensor([True, False]),
            "empty": torch.zeros(0, 4),
        },
        "structure": {"layer": {"out_features": 2, "shapes": [[2, 3]]}},
        "graph": b"\x08\x07onnx",
        "extra": {"note": ""},
    }
    return Bundle(**{**values, **changes})


def assert_equal(found: Bundle, expected: Bundle) -> None:
    for name in vars(expected):
        if name != "weights":
            assert getattr(found, name) == getattr(expected, name), name
    assert set(found.weights) == set(expected.weights)
    for name, value in expected.weights.items():
        assert found.weights[name].dtype == value.dtype
        assert found.weights[name].shape == value.shape
        assert torch.equal(found.weights[name], value.cpu())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_bundle(tmp_path / "model.tltb", example())
    return tmp_path / "model.tltb"


def rezip(path: Path, change: Callable[[dict[str, bytes]], None], **options: Any) -> None:
    """Write the archive anew with other members, so that all of zip's own checks hold."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


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


def test_it_gives_back_what_it_was_given(tmp_path: Path) -> None:
    expected = example()
    digest = write_bundle(tmp_path / "a b, é.tltb", expected)
    assert_equal(read_bundle(tmp_path / "a b, é.tltb", expect_task="classification"), expected)
    assert digest == hashlib.sha256((tmp_path / "a b, é.tltb").read_bytes()).hexdigest()
    assert digest == file_sha256(tmp_path / "a b, é.tltb")
    assert [file.name for file in tmp_path.iterdir()] == ["a b, é.tltb"]


def test_the_least_bundle(tmp_path: Path) -> None:
    expected = example(structure=None, graph=None, split=None, extra={}, weights={})
    write_bundle(tmp_path / "x.tltb", expected)
    assert_equal(read_bundle(tmp_path / "x.tltb"), expected)
    with zipfile.ZipFile(tmp_path / "x.tltb") as archive:
        assert archive.namelist() == ["bundle.json", "weights.safetensors"]


def test_other_tools_can_read_it(path: Path) -> None:
    from safetensors.torch import load

    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert sorted(archive.namelist()) == [
            "bundle.json",
            "graph.onnx",
            "structure.json",
            "weights.safetensors",
        ]
        assert torch.equal(load(archive.read("weights.safetensors"))["mask"], torch.tensor([True, False]))
        assert json.loads(archive.read("bundle.json"))["format_version"] == FORMAT_VERSION


def test_equal_content_is_equal_bytes(tmp_path: Path, path: Path) -> None:
    other = example()
    other.weights = dict(reversed(list(other.weights.items())))
    other.spec = dict(reversed(list(other.spec.items())))
    write_bundle(tmp_path / "other.tltb", other)
    assert (tmp_path / "other.tltb").read_bytes() == path.read_bytes()
    other.weights["mask"][0] = False
    write_bundle(tmp_path / "other.tltb", other)
    assert (tmp_path / "other.tltb").read_bytes() != path.read_bytes()


def test_weights_are_stored_as_they_look(tmp_path: Path) -> None:
    table = torch.arange(24.0).reshape(2, 3, 4)
    weights = {
        "transposed": table.transpose(0, 2),
        "tied": table,
        "tied_too": table,
        "view": table[1],
        "channels_last": torch.arange(120.0).reshape(2, 3, 4, 5).to(memory_format=torch.channels_last),
        "expanded": torch.ones(1, 3).expand(4, 3),
        "parameter": torch.nn.Parameter(table[:, 0]),
    }
    write_bundle(tmp_path / "x.tltb", example(weights=weights))
    found = read_bundle(tmp_path / "x.tltb").weights
    for name, value in weights.items():
        assert torch.equal(found[name], value.detach()), name
        assert found[name].is_contiguous()
        assert not found[name].requires_grad
    found["tied"].zero_()  # its own memory, and writable
    assert torch.equal(found["tied_too"], table)


def test_an_archive_beyond_4_gb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """zipfile is told that its limit is 300 bytes, so that it writes the records of a large archive."""
    with monkeypatch.context() as patch:
        patch.setattr(zipfile, "ZIP64_LIMIT", 300)
        write_bundle(tmp_path / "large.tltb", example())
    assert b"PK\x06\x06" in (tmp_path / "large.tltb").read_bytes()
    assert_equal(read_bundle(tmp_path / "large.tltb"), example())


def test_numbers_of_numpy_are_numbers(tmp_path: Path) -> None:
    write_bundle(tmp_path / "x.tltb", example(metrics={"top_1": np.float64(0.1)}))
    assert read_manifest(tmp_path / "x.tltb")["metrics"] == {"top_1": 0.1}
    with pytest.raises(BundleError, match=r"metrics\.top_1 is a float32"):
        write_bundle(tmp_path / "x.tltb", example(metrics={"top_1": np.float32(0.1)}))


def test_the_manifest_is_read_without_torch(path: Path) -> None:
    script = (
        "import sys; from tao_like.bundle import read_manifest\n"
        "manifest = read_manifest(sys.argv[1])\n"
        "assert manifest['task'] == 'classification' and manifest['classes'][1] == 'bee ✿'\n"
        "assert not {'torch', 'safetensors', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script, str(path)], check=True, cwd=Path(__file__).parents[1])
    manifest = read_manifest(path)
    assert set(manifest["sha256"]) == {"weights.safetensors", "structure.json", "graph.onnx"}
    assert "weights" not in manifest


def test_another_task_is_refused(path: Path) -> None:
    with pytest.raises(BundleError, match=r"model\.tltb .*task 'classification'; one of 'detection'"):
        read_bundle(path, expect_task="detection")


@pytest.mark.parametrize("reader", [read_bundle, read_manifest])
def test_a_newer_format_says_so_whatever_else_is_new(path: Path, reader: Callable[[Path], Any]) -> None:
    def change(members: dict[str, bytes]) -> None:
        members["news.bin"] = b""
        members["bundle.json"] = b'{"format": "tao_like bundle", "format_version": 2, "news": 1}'

    rezip(path, change)
    with pytest.raises(BundleError, match=r"model\.tltb .*format 2.*up to 1; update tao_like"):
        reader(path)


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"metrics": {"a": {"b": [0.0, float("nan")]}}}, r"metrics\.a\.b\[1\] is nan"),
        ({"extra": {"x": float("inf")}}, r"extra\.x is inf"),
        ({"spec": {"path": Path("x")}}, r"spec\.path is a PosixPath"),
        ({"history": [{"figures": {1: 2}}]}, r"history\[0\]\.figures has the key 1"),
        ({"structure": {"a": {2, 3}}}, r"structure\.a is a set"),
        ({"classes": ["a", "a"]}, "classes"),
        ({"classes": "ab"}, "classes is a str"),
        ({"split": []}, "split is a list"),
        ({"task": None}, "task is a NoneType"),
        ({"weights": {"w": [1.0]}}, r"weights\['w'\] is not a dense tensor"),
        ({"weights": {"w": torch.zeros(2, 2).to_sparse()}}, r"weights\['w'\] is not a dense tensor"),
        ({"weights": {"w": torch.zeros(2, device="meta")}}, r"weights\['w'\] is not a dense tensor"),
    ],
)
def test_what_a_bundle_cannot_hold(tmp_path: Path, changes: dict[str, Any], place: str) -> None:
    with pytest.raises(BundleError, match=place):
        write_bundle(tmp_path / "x.tltb", example(**changes))
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_the_old_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(TaoLikeError, match=r"model\.tltb could not be written: No space left"):
        write_bundle(path, example(task="other"))
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        write_bundle(path, example(task="other"))
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == ["model.tltb"]


def test_a_folder_that_is_missing_or_a_name_that_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "x.tltb").mkdir()
    for target in (tmp_path / "gone" / "x.tltb", tmp_path / "x.tltb"):
        with pytest.raises(TaoLikeError, match="could not be written"):
            write_bundle(target, example())
    assert [file.name for file in tmp_path.iterdir()] == ["x.tltb"]


def test_files_that_are_no_bundle(tmp_path: Path) -> None:
    contents = [b"", b"PK", b"hello" * 100, b"PK\x05\x06" + b"\0" * 18, b"PK\x05\x06" + b"\xff" * 18]
    for content in contents:
        (tmp_path / "odd.tltb").write_bytes(content)
        with pytest.raises(BundleError, match=r"odd\.tltb"):
            read_bundle(tmp_path / "odd.tltb")
    for missing in (tmp_path, tmp_path / "gone.tltb"):
        with pytest.raises(BundleError, match=f"{missing.name} is not a file"):
            read_bundle(missing)


@pytest.mark.parametrize("name", ["../evil", "/evil", "a/bundle.json", "C:\\evil", "weights.safetensors/"])
def test_members_that_no_bundle_has(path: Path, name: str) -> None:
    rezip(path, lambda members: members.update({name: b"x"}))
    for reader in (read_bundle, read_manifest):
        with pytest.raises(BundleError, match=re.escape(f"names: {[name]} lacking or too many")):
            reader(path)
    assert [file.name for file in path.parent.iterdir()] == ["model.tltb"]


@pytest.mark.parametrize("name", ["bundle.json", "weights.safetensors", "structure.json"])
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


@pytest.mark.parametrize("name", [b"bundle.json", b"weights.safetensors"])
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
        weights = archive.read("weights.safetensors")
    rezip(path, lambda members: members.update({"weights.safetensors": weights}))
    with pytest.raises(BundleError, match=r"weights\.safetensors is not the one that bundle\.json"):
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
        ({"sha256": {}}, r"sha256 must name weights\.safetensors"),
        ({"sha256": {"weights.safetensors": 7}}, "lacking or too many"),
        ({"sha256": {"weights.safetensors": "", "../../x": ""}}, "sha256 must name"),
        ({"colour": 1}, "misses or adds the keys colour"),
    ],
)
def test_a_manifest_of_wrong_types(path: Path, changes: dict[str, Any], rule: str) -> None:
    edit_manifest(path, **changes)
    with pytest.raises(BundleError, match=rule):
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
    replace_member(path, "weights.safetensors", content)
    with pytest.raises(BundleError, match=r"weights\.safetensors is damaged"):
        read_bundle(path)


def test_a_structure_that_is_none(path: Path) -> None:
    replace_member(path, "structure.json", b"[1]")
    with pytest.raises(BundleError, match=r"structure\.json is not a JSON object"):
        read_bundle(path)


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


def test_writing_does_not_change_the_bundle(tmp_path: Path) -> None:
    bundle = example()
    before = copy.deepcopy(bundle)
    write_bundle(tmp_path / "x.tltb", bundle)
    assert_equal(bundle, before)
