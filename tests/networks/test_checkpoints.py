"""Files of weights: what is read, and what is refused before it can do harm."""

from __future__ import annotations

import argparse
import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tao_like.errors import BundleError, SpecError
from tao_like.networks.weights.checkpoints import read_file, state_dicts

WEIGHT = torch.arange(6.0).reshape(2, 3)


class RunsCode:
    """Makes a file when it is unpickled."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return os.mkdir, (str(self.proof),)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".pt", ".ckpt"])
def test_weights_come_back(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"weights{suffix}"
    if suffix == ".safetensors":
        save_file({"a": WEIGHT}, path)
    else:
        torch.save({"a": WEIGHT}, path)
    assert torch.equal(read_file(path)["a"], WEIGHT)


def test_file_of_timms_training_script_is_read(tmp_path: Path) -> None:
    path = tmp_path / "model_best.pth.tar"
    torch.save({"epoch": 3, "args": argparse.Namespace(lr=0.1), "state_dict": {"a": WEIGHT}}, path)
    assert torch.equal(read_file(path)["state_dict"]["a"], WEIGHT)


@pytest.mark.parametrize("new_format", [True, False])
def test_code_in_a_file_is_named_and_not_run(tmp_path: Path, new_format: bool) -> None:
    path, proof = tmp_path / "weights.pth", tmp_path / "it ran"
    torch.save({"a": WEIGHT, "b": RunsCode(proof)}, path, _use_new_zipfile_serialization=new_format)
    with pytest.raises(BundleError, match=r"weights\.pth.*Python code.*mkdir"):
        read_file(path)
    assert not proof.exists()
    pickle_proof = pickle.dumps(RunsCode(proof))
    pickle.loads(pickle_proof)
    assert proof.exists()  # the same bytes do harm where they are unpickled


def damaged_files() -> dict[str, bytes]:
    return {
        "empty.pth": b"",
        "text.pth": b"no weights here\n" * 20,
        "lfs.pth": b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
        "page.pth": b"<!DOCTYPE html><html><body>Not found</body></html>",
        "zip.pth": b"PK\x03\x04" + bytes(200),
        "pickle.pth": b"\x80\x02" + b"hello" * 10,
        "empty.safetensors": b"",
        "text.safetensors": b"no weights here\n" * 20,
        "bomb.safetensors": (2**62).to_bytes(8, "little") + b"{}",
    }


@pytest.mark.parametrize("name", damaged_files())
def test_damaged_file_is_named(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(damaged_files()[name])
    with pytest.raises(BundleError, match=name):
        read_file(path)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.9, 0.99])
def test_cut_off_file_is_refused(tmp_path: Path, suffix: str, fraction: float) -> None:
    path = tmp_path / f"weights{suffix}"
    weights = {f"layer{number}": torch.rand(100) for number in range(5)}
    save_file(weights, path) if suffix == ".safetensors" else torch.save(weights, path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * fraction)])
    with pytest.raises(BundleError, match="weights"):
        read_file(path)


def test_file_that_holds_no_mapping_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tensor.pth"
    torch.save(WEIGHT, path)
    with pytest.raises(BundleError, match=r"tensor\.pth.*Tensor"):
        read_file(path)


def test_missing_file_and_unknown_suffix_are_errors_of_the_spec(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"pretrained_backbone_path: there is no file .*none\.pth"):
        read_file(tmp_path / "none.pth")
    with pytest.raises(SpecError, match="no file"):
        read_file(tmp_path)
    (tmp_path / "weights.h5").write_bytes(b"x")
    with pytest.raises(SpecError, match=r"'\.h5'.*\.safetensors"):
        read_file(tmp_path / "weights.h5")


def test_readings_of_nested_content() -> None:
    content = {
        "epoch": 1,
        "state_dict": {"module.backbone.a": WEIGHT, "module.head.b": WEIGHT},
        "state_dict_ema": {"a": WEIGHT * 2},
    }
    readings = list(state_dicts(content))
    assert torch.equal(readings[0]["a"], WEIGHT * 2)
    assert {"a"} in [set(reading) for reading in readings[1:]]
    assert {"backbone.a", "head.b"} in [set(reading) for reading in readings]


def test_content_that_holds_itself_ends() -> None:
    content: dict[str, object] = {"a": WEIGHT}
    content["model"] = content
    assert all(set(reading) == {"a"} for reading in state_dicts(content))
