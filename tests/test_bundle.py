"""The bundle: it gives back what it was given, in equal bytes, or leaves what was there."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bundle_examples import assert_equal, example, example_of_parts

from tao_like.bundle import FORMAT_VERSION, Part, file_sha256, read_bundle, read_manifest, write_bundle
from tao_like.errors import BundleError, TaoLikeError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_bundle(tmp_path / "model.tltb", example())
    return tmp_path / "model.tltb"


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
        assert archive.namelist() == ["bundle.json", "parts/model/weights.safetensors"]


def test_parts_prompts_and_an_open_set_come_back(tmp_path: Path) -> None:
    expected = example_of_parts()
    write_bundle(tmp_path / "x.tltb", expected)
    found = read_bundle(tmp_path / "x.tltb")
    assert_equal(found, expected)
    assert list(found.parts) == ["decoder_2", "image", "text"]
    with zipfile.ZipFile(tmp_path / "x.tltb") as archive:
        assert archive.namelist() == [
            "bundle.json",
            "parts/decoder_2/weights.safetensors",
            "parts/decoder_2/graph.onnx",
            "parts/image/weights.safetensors",
            "parts/image/structure.json",
            "parts/text/weights.safetensors",
        ]
    manifest = read_manifest(tmp_path / "x.tltb")
    assert manifest["parts"]["text"] == {"phase": "contrastive"}
    assert manifest["labels"] == {"prompts": {"ant": ["a photo of an ant", "an ant ✿"]}, "open_set": True}
    other = example_of_parts(parts=dict(reversed(expected.parts.items())))
    write_bundle(tmp_path / "y.tltb", other)
    assert (tmp_path / "y.tltb").read_bytes() == (tmp_path / "x.tltb").read_bytes()


def test_the_only_part_can_be_changed_without_its_name() -> None:
    bundle = example()
    shared = copy.copy(bundle)
    shared.weights = {"w": torch.ones(1)}
    shared.structure, shared.graph = {"b": 1}, None
    assert (list(shared.weights), shared.structure, shared.graph) == (["w"], {"b": 1}, None)
    assert_equal(bundle, example())
    replaced = dataclasses.replace(bundle, graph=b"other", task="x")
    assert (replaced.graph, replaced.task, replaced.structure) == (b"other", "x", bundle.structure)
    several = example_of_parts()
    with pytest.raises(BundleError, match=r"3 parts \(text, image, decoder_2\), and one is needed"):
        _ = several.weights
    with pytest.raises(BundleError, match="3 parts"):
        several.graph = None


def test_other_tools_can_read_it(path: Path) -> None:
    from safetensors.torch import load

    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert sorted(archive.namelist()) == [
            "bundle.json",
            "parts/model/graph.onnx",
            "parts/model/structure.json",
            "parts/model/weights.safetensors",
        ]
        weights = load(archive.read("parts/model/weights.safetensors"))
        assert torch.equal(weights["mask"], torch.tensor([True, False]))
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
    assert set(manifest["sha256"]) == {
        f"parts/model/{name}" for name in ("weights.safetensors", "structure.json", "graph.onnx")
    }
    assert manifest["parts"] == {"model": {"phase": ""}}
    assert "labels" not in manifest
    assert "weights" not in manifest


def test_another_task_is_refused(path: Path) -> None:
    with pytest.raises(BundleError, match=r"model\.tltb .*task 'classification'; one of 'detection'"):
        read_bundle(path, expect_task="detection")


def test_writing_does_not_change_the_bundle(tmp_path: Path) -> None:
    bundle = example()
    before = copy.deepcopy(bundle)
    write_bundle(tmp_path / "x.tltb", bundle)
    assert_equal(bundle, before)


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
        ({"parts": {}}, "parts must be 1 to 32"),
        ({"parts": {"../x": Part({})}}, r"parts has the name '\.\./x'"),
        ({"parts": {"Text": Part({})}}, "parts has the name 'Text'"),
        ({"parts": {"a": Part({}, phase=1)}}, r"parts\.a must be an object with the text phase"),
        ({"prompts": {"wasp": []}}, r"labels\.prompts must be an object whose keys are classes"),
        ({"prompts": {"ant": [1]}}, r"labels\.prompts\.ant must be a list of texts"),
        ({"open_set": 1}, "labels must be an object with prompts and open_set"),
        ({"weights": {"w": [1.0]}}, r"weights\['w'\] is not a dense tensor"),
        ({"weights": {"w": torch.zeros(2, 2).to_sparse()}}, r"weights\['w'\] is not a dense tensor"),
        ({"weights": {"w": torch.zeros(2, device="meta")}}, r"weights\['w'\] is not a dense tensor"),
    ],
)
def test_what_a_bundle_cannot_hold(tmp_path: Path, changes: dict[str, Any], place: str) -> None:
    with pytest.raises(BundleError, match=place):
        write_bundle(tmp_path / "x.tltb", dataclasses.replace(example(), **changes))
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
