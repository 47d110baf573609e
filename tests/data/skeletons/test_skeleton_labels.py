"""Labels of skeletons, and pickles that may hold data alone."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tao_like.data.skeletons.arrays import read_labels, read_skeleton_data
from tao_like.data.skeletons.safe_pickle import read_data_pickle
from tao_like.errors import DatasetError
from tao_like.runtime.inputs.points import PointsPreprocessing, read_points
from tao_like.runtime.inputs.skeleton import SkeletonPreprocessing, read_skeleton
from tao_like.tasks.pose_classification.init import write_spec

KEY = "dataset.train_dataset.label_path"


class Harm:
    """Makes a pickle that runs a command when it is read the usual way."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def test_labels_are_read_from_json_numbers_and_a_pickle(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(
        json.dumps({"names": ["x", "y"], "labels": [1, 0], "classes": ["sit", "go"]})
    )
    (tmp_path / "b.json").write_text(json.dumps([["x", "y"], [1, 0]]))
    np.save(tmp_path / "c.npy", np.array([1, 0]))
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        (tmp_path / f"d{protocol}.pkl").write_bytes(pickle.dumps((["x", "y"], [1, 0]), protocol))
    for path in sorted(tmp_path.iterdir()):
        labels = read_labels(path, KEY)
        assert labels.labels == (1, 0)
        assert labels.names == (() if path.suffix == ".npy" else ("x", "y"))
        assert labels.classes == (("sit", "go") if path.name == "a.json" else ())


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
    "harm",
    [
        Harm(os.system, "touch {}"),
        Harm(eval, "open({!r}, 'w')"),
        Harm(exec, "open({!r}, 'w')"),
        Harm(open, "{}", "w"),
        Harm(np.load, "{}"),
        Harm(getattr, os, "system"),
    ],
    ids=["system", "eval", "exec", "open", "numpy", "getattr"],
)
def test_a_pickle_that_wants_to_run_code_is_refused_and_runs_nothing(
    harm: Harm, protocol: int, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    function, arguments = harm.call
    if function is getattr:
        harm = Harm(os.getcwd)
    else:
        first = arguments[0].replace("{!r}", repr(str(mark))).replace("{}", str(mark))
        harm = Harm(function, first, *arguments[1:])
    path = tmp_path / "labels.pkl"
    path.write_bytes(pickle.dumps((["x"], [harm]), protocol))
    with pytest.raises(DatasetError, match=r"labels\.pkl is not read: a pickle can run code.*asks for"):
        read_labels(path, KEY)
    assert not mark.exists()


def test_a_damaged_pickle_and_one_of_outside_objects_are_named(tmp_path: Path) -> None:
    whole = pickle.dumps((["x"] * 50, [1] * 50))
    path = tmp_path / "labels.pkl"
    for content in (b"", whole[:-20], b"hello", b"Pfar away\n.", b"\x80\x04\x95" + b"\xff" * 8):
        path.write_bytes(content)
        with pytest.raises(DatasetError, match=r"labels\.pkl"):
            read_labels(path, KEY)
    path.write_bytes(pickle.dumps({"a": np.zeros(2)}))
    with pytest.raises(DatasetError, match="numpy"):
        read_data_pickle(path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"labels": ["sit"]}, "class numbers"),
        ({"labels": [0, -1]}, "class numbers"),
        ({"labels": [True]}, "class numbers"),
        ({"labels": [0, 1], "names": ["x"]}, "1 names and 2 labels"),
        ({"labels": [2], "classes": ["a", "b"]}, "label 2"),
        ({"labels": [0], "classes": ["a", "a"]}, "twice"),
        ({"labels": [0], "classes": "ab"}, "list of texts"),
        ([0, 1, 1], "two lists"),
        ("labels", "two lists"),
    ],
)
def test_labels_that_are_wrong_are_named(content: Any, words: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(content))
    with pytest.raises(DatasetError, match=rf"{KEY}.*a\.json.*{words}"):
        read_labels(tmp_path / "a.json", KEY)


@pytest.mark.parametrize("content", [b"", b"PK\3\4 cut off", b"\x93NUMPY\1\0", b"text", "npz"])
def test_a_file_that_holds_no_array_is_named(content: bytes | str, tmp_path: Path) -> None:
    file = tmp_path / "train_data.npy"
    if isinstance(content, str):
        np.savez(tmp_path / "a.npz", a=np.zeros(2))
        content = (tmp_path / "a.npz").read_bytes()
    file.write_bytes(content)
    (tmp_path / "train_labels.json").write_text('{"labels": [0]}')
    with pytest.raises(DatasetError, match=r"init: .*train_data\.npy is no array that can be read"):
        write_spec(tmp_path, tmp_path / "spec.yaml", force=False)
    for read in (
        lambda: read_labels(file, KEY),
        lambda: read_skeleton(file, SkeletonPreprocessing(3, 4, 5)),
        lambda: read_points(file, PointsPreprocessing((0, 0, 0, 1, 1, 1), 4)),
    ):
        with pytest.raises(DatasetError, match=r"train_data\.npy.* cannot be read"):
            read()


def test_labels_may_begin_with_a_mark(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('\ufeff{"labels": [0, 1]}', encoding="utf-8")
    assert read_labels(tmp_path / "a.json", KEY).labels == (0, 1)


def test_data_that_does_not_fit_is_named_and_the_rest_is_read_from_the_disk(tmp_path: Path) -> None:
    np.save(tmp_path / "data.npy", np.zeros((2, 3, 4, 5, 1), np.float32))
    np.save(tmp_path / "labels.npy", np.array([0, 1]))
    np.save(tmp_path / "more.npy", np.array([0, 1, 1]))

    def read(labels: str, **changes: int) -> Any:
        sizes = {"channels": 3, "joints": 5, **changes}
        return read_skeleton_data(tmp_path / "data.npy", tmp_path / labels, key="dataset.x", **sizes)

    data = read("labels.npy")
    assert isinstance(data.values, np.memmap)
    assert (len(data), data.name(1)) == (2, "data_00001")
    for labels, changes, words in (
        ("more.npy", {}, "3 labels.*2 sequences"),
        ("labels.npy", {"joints": 6}, "5 joints.*has 6 joints"),
        ("labels.npy", {"channels": 2}, "3 channels"),
        ("none.npy", {}, "no file"),
    ):
        with pytest.raises(DatasetError, match=words):
            read(labels, **changes)
