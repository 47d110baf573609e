"""Checkpoints that are damaged or hostile: one clear error, and no code of theirs is run."""

from __future__ import annotations

import os
import random
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from tao_like.errors import BundleError
from tao_like.stages.train.checkpoints.checkpoint_file import read_best, read_checkpoint, write_checkpoint


def example() -> dict[str, Any]:
    """A checkpoint with all that one must have."""
    record = {
        "format": "tao_like checkpoint",
        "format_version": 2,
        "task": "classification",
        "phase": "",
        "done": [],
        "spec": {"train": {"seed": 1}},
        "classes": ["ant", "bee"],
        "data": {"train": "00"},
        "batch_size": 4,
        "processes": 1,
        "epoch": 1,
        "batch": 2,
        "step": 4,
        "validated": True,
        "ended": False,
        "history": [{"epoch": 1, "train_loss": 0.5}],
    }
    weights = {"network.w": torch.arange(300, dtype=torch.float32), "network.n": torch.tensor(3)}
    return {"tao_like": record, "state_dict": weights}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The file of the example."""
    write_checkpoint(example(), tmp_path / "last.ckpt")
    return tmp_path / "last.ckpt"


def test_what_is_written_is_read(path: Path) -> None:
    found = read_checkpoint(path)
    assert found["tao_like"] == example()["tao_like"]
    assert found["state_dict"]["network.w"].equal(torch.arange(300.0))
    assert read_best(path).keys() == {"network.w", "network.n"}


def test_mutated_checkpoints_are_refused_or_read_as_they_were(path: Path) -> None:
    """torch itself reads on over bits that are flipped in the weights."""
    content = path.read_bytes()
    generator = random.Random(0)
    read, started = 0, time.process_time()
    for _ in range(100):
        mutated = bytearray(content)
        place = generator.randrange(len(content))
        kind = generator.randrange(4)
        if kind == 0:
            del mutated[place:]
        elif kind == 1:
            mutated[place : place + 8] = generator.randbytes(8)
        else:
            mutated[place] ^= 1 << generator.randrange(8)
        path.write_bytes(mutated)
        try:
            found = read_checkpoint(path)
        except BundleError:
            continue
        assert found["tao_like"] == example()["tao_like"]
        assert found["state_dict"]["network.w"].equal(torch.arange(300.0))
        read += 1
    assert time.process_time() - started < 20
    # torch fills its archives up, so that a change may hit nothing.
    assert read < 80


class _Code:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("run by a checkpoint",)


def test_code_in_a_checkpoint_is_not_run(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    torch.save({**example(), "more": _Code()}, path)
    with pytest.raises(BundleError, match=r"last\.ckpt is damaged, or no checkpoint"):
        read_checkpoint(path)
    assert [file.name for file in path.parent.iterdir()] == ["last.ckpt"]


def test_a_compressed_archive_is_not_unpacked(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\0" * 50_000_000)
    started = time.process_time()
    with pytest.raises(BundleError, match="its parts are compressed"):
        read_checkpoint(path)
    assert time.process_time() - started < 0.2


@pytest.mark.parametrize(
    ("key", "value", "rule"),
    [
        ("epoch", "1", "epoch of its record"),
        ("batch", -1, "batch of its record"),
        ("spec", None, "spec of its record"),
        ("format_version", 0, "format_version"),
        ("format", "other", "no checkpoint of a tao_like training"),
    ],
)
def test_a_record_of_wrong_types(key: str, value: object, rule: str, path: Path) -> None:
    content = example()
    content["tao_like"][key] = value
    torch.save(content, path)
    with pytest.raises(BundleError, match=rule):
        read_checkpoint(path)


@pytest.mark.parametrize("weights", [None, [], {"w": 1}])
def test_weights_that_are_none(weights: object, path: Path) -> None:
    torch.save({**example(), "state_dict": weights}, path)
    for reader in (read_checkpoint, read_best):
        with pytest.raises(BundleError, match="holds no weights"):
            reader(path)
