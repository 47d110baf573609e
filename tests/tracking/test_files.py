from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from tao_like.errors import SpecError, TaoLikeError
from tao_like.tracking.files import (
    Artefact,
    atomic_folder,
    atomic_path,
    make_folder,
    remove_partial_files,
    to_plain,
)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_complete_file_takes_the_final_name(tmp_path: Path) -> None:
    final = tmp_path / "deep" / "er" / "model.onnx"
    with atomic_path(final) as path:
        assert path.parent == final.parent  # a rename is atomic on one disk only
        assert path.suffix == ".onnx"  # writers choose the format by it
        path.write_text("new")
        assert not final.exists()
    assert final.read_text() == "new"
    assert names(final.parent) == ["model.onnx"]


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt(), SystemExit(3), MemoryError()])
def test_after_an_error_the_old_file_is_untouched(tmp_path: Path, error: BaseException) -> None:
    final = tmp_path / "model.tltb"
    final.write_text("old")

    def write_half() -> None:
        with atomic_path(final) as path:
            path.write_text("half")
            raise error

    with pytest.raises(type(error)):
        write_half()
    assert final.read_text() == "old"
    assert names(tmp_path) == ["model.tltb"]


def test_permissions_are_those_of_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("")
    with atomic_path(tmp_path / "atomic") as path:
        path.write_text("")
    assert (tmp_path / "atomic").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_block_that_writes_nothing_is_an_error(tmp_path: Path) -> None:
    with (
        pytest.raises(TaoLikeError, match=r"nothing was written for .*model\.onnx"),
        atomic_path(tmp_path / "model.onnx"),
    ):
        pass
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        # as safetensors says it
        RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"),
    ],
)
def test_a_full_disk_is_named(tmp_path: Path, error: Exception) -> None:
    def write() -> None:
        with atomic_path(tmp_path / "model.onnx"):
            raise error

    with pytest.raises(TaoLikeError) as caught:
        write()
    assert f"no space left on the disk that holds {tmp_path}" in str(caught.value)
    assert caught.value.exit_code == 1


def test_an_error_about_another_file_stays_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="photo"), atomic_path(tmp_path / "model.onnx"):
        (tmp_path / "photo.jpg").open()


def test_a_file_in_the_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("I am a file")
    with (
        pytest.raises(SpecError, match=r"results.*a file has this name.*results_dir"),
        atomic_path(tmp_path / "results" / "model.onnx"),
    ):
        pass
    with (
        pytest.raises(SpecError, match="a file has this name"),
        atomic_path(tmp_path / "results" / "train" / "x"),
    ):
        pass


def test_what_a_killed_process_leaves_is_recognised(tmp_path: Path) -> None:
    script = (
        "import os, sys; from pathlib import Path; from tao_like.tracking import atomic_path\n"
        "with atomic_path(Path(sys.argv[1])) as path: path.write_text('half'); os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "model.v1.onnx")], check=False)
    (tmp_path / ".notes.partial.txt").write_text("somebody else's")
    left = names(tmp_path)
    assert len(left) == 2
    assert "model.v1.onnx" not in left
    remove_partial_files(tmp_path)
    assert names(tmp_path) == [".notes.partial.txt"]


def test_a_folder_that_cannot_be_put_in_place_leaves_the_former_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    final = tmp_path / "model"
    with atomic_folder(final, "marker") as folder:
        (folder / "marker").write_text("first")
    rename = Path.rename

    def failing(path: Path, target: Path) -> Path:
        if path.name.startswith(".model.") and (path / "new").exists():
            raise OSError(errno.EIO, "the disk has a fault")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(TaoLikeError, match="the disk has a fault"), atomic_folder(final, "marker") as folder:
        (folder / "new").write_text("second")
    assert names(tmp_path) == ["model"]
    assert (final / "marker").read_text() == "first"


def test_an_artefact_that_is_not_kept_leaves_nothing(tmp_path: Path) -> None:
    artefact = Artefact(tmp_path / "model.onnx", keep=False)
    with artefact as path:
        path.write_text("x")
    assert artefact.final == tmp_path / "model.onnx"
    assert names(tmp_path) == []


def test_plain_values_survive_json() -> None:
    @dataclass
    class Finding:
        file: Path
        share: float

    value = {
        "array": np.arange(4, dtype=np.float32).reshape(2, 2),
        "count": np.int64(7),
        "top1": np.float32(0.5),
        "loss": float("nan"),
        "worst": np.array([np.inf, 1.0]),
        "findings": (Finding(Path("a/b.jpg"), 0.25),),
        "classes": {"bee", "ant"},
        3: True,
        "none": None,
    }
    expected = {
        "array": [[0.0, 1.0], [2.0, 3.0]],
        "count": 7,
        "top1": 0.5,
        "loss": None,
        "worst": [None, 1.0],
        "findings": [{"file": "a/b.jpg", "share": 0.25}],
        "classes": ["ant", "bee"],
        "3": True,
        "none": None,
    }
    assert json.loads(json.dumps(to_plain(value), allow_nan=False)) == expected


def test_a_value_without_a_plain_form_is_refused() -> None:
    with pytest.raises(TypeError, match="object"):
        to_plain({"a": [object()]})


def test_what_cannot_be_written_asks_for_another_place(tmp_path: Path) -> None:
    with (
        pytest.raises(SpecError, match=rf"{tmp_path} is a folder; name a file"),
        atomic_path(tmp_path),
    ):
        raise AssertionError
    with pytest.raises(SpecError, match=r"too long for the disk; choose another results_dir"):
        make_folder(tmp_path / ("x" * 300))
    # /proc is there, and nothing can be made in it.
    if Path("/proc/self").is_dir():
        with pytest.raises(SpecError, match=r"/proc/x/evaluate cannot be made where it should lie"):
            make_folder(Path("/proc/x/evaluate"))
