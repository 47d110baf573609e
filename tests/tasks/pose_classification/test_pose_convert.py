"""What `dataset_convert` makes of other programs' sequences, and what it refuses."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_pose import run, sequence, write_table

from tao_like.config import load_spec
from tao_like.data.skeletons.formats import read_ntu
from tao_like.errors import DatasetError, SpecError
from tao_like.tasks.pose_classification.spec import Spec


def convert(tmp_path: Path, *words: str) -> Any:
    """Runs the stage with its defaults, which the tiny settings change."""
    words = ("format=deepstream", "num_joints=34", "on_error=stop", *words)
    return run("dataset_convert", tmp_path / "results", *(f"dataset_convert.{word}" for word in words))


def ntu_text(frames: int, bodies: int, joints: int = 25) -> str:
    """A file as NTU writes it: x is the body's number plus frame / 10, y the joint, z 2."""
    lines = [str(frames)]
    for frame in range(frames):
        lines.append(str(bodies))
        for body in range(bodies):
            lines += [f"7200{body} 0 1 1 1 1 0 0.1 0.2 2", str(joints)]
            lines += [f"{body + frame * body / 10} {joint} 2 0 0 0 0 0 0 0 0 2" for joint in range(joints)]
    return "\n".join(lines)


def test_ntu_files_keep_the_two_liveliest_bodies(tmp_path: Path) -> None:
    (tmp_path / "a.skeleton").write_text(ntu_text(4, 3))
    values = read_ntu(tmp_path / "a.skeleton")
    assert values.shape == (3, 4, 25, 2)
    np.testing.assert_allclose(values[0, :, 0, 0], [2, 2.2, 2.4, 2.6], rtol=1e-6)
    np.testing.assert_allclose(values[0, :, 0, 1], [1, 1.1, 1.2, 1.3], rtol=1e-6)
    assert values[1, 0, :, 0].tolist() == list(range(25))


def test_ntu_splits_by_person_and_by_camera_and_names_what_is_wrong(tmp_path: Path) -> None:
    for camera, person, action in ((1, 1, 3), (2, 3, 3), (3, 2, 7)):
        name = f"S001C{camera:03d}P{person:03d}R001A{action:03d}.skeleton"
        (tmp_path / name).write_text(ntu_text(5, 1))
    for split, train in (("cross-subject", ["P001", "P002"]), ("cross-view", ["P003", "P002"])):
        result = convert(tmp_path, f"data={tmp_path}", "format=ntu", f"split={split}")
        labels = json.loads((result.folder / "train_labels.json").read_text())
        assert sorted(name[8:12] for name in labels["names"]) == sorted(train)
        assert labels["classes"] == ["A003", "A007"]
        assert np.load(result.folder / "train_data.npy").shape == (2, 3, 5, 25, 2)
    bad = tmp_path / "S001C001P001R001A009.skeleton"
    bad.write_text(ntu_text(5, 1)[:-300])
    words = (f"data={tmp_path}", "format=ntu", "split=cross-view")
    with pytest.raises(DatasetError, match=bad.name):
        convert(tmp_path, *words)
    result = convert(tmp_path, *words, "on_error=skip")
    assert bad.name in result.report["left_out"][0]


def test_utkinect_clips_are_cut_by_the_labels(tmp_path: Path) -> None:
    for subject in (1, 6):
        rows = [[frame, *np.full(60, frame)] for frame in (100, 100, 102, 104, 106)]
        text = "\n".join("  ".join(map(str, row)) for row in rows)
        (tmp_path / f"joints_s{subject:02d}_e01.txt").write_text(text)
    labels = ["s01_e01", "walk: 100 104", "carry: NaN NaN", "s06_e01", "walk: 102 106"]
    (tmp_path / "actionLabel.txt").write_text("\n".join(labels))
    words = (f"data={tmp_path}", "format=utkinect", "split=cross-subject")
    with pytest.raises(DatasetError, match=r"s01_e01 carry"):
        convert(tmp_path, *words)
    result = convert(tmp_path, *words, "on_error=skip")
    train = np.load(result.folder / "train_data.npy")
    assert train.shape == (1, 3, 3, 20, 1)
    assert train[0, 0, :, 0, 0].tolist() == [100, 102, 104]
    assert np.load(result.folder / "test_data.npy")[0, 0, :, 0, 0].tolist() == [102, 104, 106]
    sources = load_spec(Spec, result.folder / "sources.yaml", ["train.keep=last"]).spec.dataset
    assert sources.train_dataset.data_path == str(result.folder / "train_data.npy")


def test_deepstream_tracks_become_overlapping_cuts(tmp_path: Path) -> None:
    def person(frame: int) -> dict[str, Any]:
        return {"object_id": 5, "pose3d": [10, 20, 30, 1, 10 + 12 * frame, 20, 30, 1, 9, 9, 9, 0]}

    content = [{"num_frames_in_batch": 1, "batches": [{"objects": [person(frame)]}]} for frame in range(10)]
    (tmp_path / "poses.json").write_text(json.dumps(content))
    words = (f"data={tmp_path / 'poses.json'}", "num_joints=3", "sequence_length=6", "sequence_length_min=4")
    result = convert(tmp_path, *words)
    files = sorted((result.folder / "sequences").iterdir())
    # From frame 0, from 3; from 6 there are four left, and the end has been reached.
    assert [np.load(file).shape[1] for file in files] == [6, 6, 4]
    first = np.load(files[1])
    np.testing.assert_allclose(first[0, :, 1, 0], np.arange(3, 9) * 12 / 1200, rtol=1e-6)
    assert not first[:, :, 2].any()
    with pytest.raises(DatasetError, match=r"poses\.json.*num_joints=34"):
        convert(tmp_path, words[0])


# --- annotations of pyskl and mmaction2 ---


def annotation(name: str, **changes: Any) -> dict[str, Any]:
    """Two people, three frames, four joints in an image."""
    points = np.arange(2 * 3 * 4 * 2, dtype=np.float16).reshape(2, 3, 4, 2)
    entry = {"frame_dir": name, "label": np.int64(2), "img_shape": (50, 100), "keypoint": points}
    return {**entry, "keypoint_score": np.ones((2, 3, 4), np.float16), **changes}


def test_annotations_of_pyskl_are_read_without_running_code(tmp_path: Path) -> None:
    scores = np.ones((2, 3, 4), np.float16)
    scores[1, 2, 3] = 0
    entry = annotation("v1", keypoint_score=scores)
    points = entry["keypoint"]
    other = {**entry, "frame_dir": "v2", "label": 0, "keypoint": np.asfortranarray(points)}
    content = {"split": {"xsub_train": ["v1"], "xsub_val": ["v2"]}, "annotations": [entry, other]}
    file = tmp_path / "ntu.pkl"
    for protocol in (2, 4, 5):
        file.write_bytes(pickle.dumps(content, protocol))
        result = convert(tmp_path, f"data={file}", "format=pyskl")
        train = np.load(result.folder / "xsub_train_data.npy")
        assert train.shape == (1, 3, 3, 4, 2)
        x, y = (float(value) for value in points[0, 1, 2])
        assert train[0, :2, 1, 2, 0].tolist() == pytest.approx([x / 50 - 1, y / 25 - 1])
        assert train[0, :, 2, 3, 1].tolist() == [0, 0, 0]
        np.testing.assert_array_equal(np.load(result.folder / "xsub_val_data.npy"), train)
        labels = json.loads((result.folder / "xsub_train_labels.json").read_text())
        assert (labels["classes"], labels["labels"], labels["names"]) == (["0", "2"], [1], ["v1"])


def test_of_several_divisions_one_is_chosen_and_the_spec_names_the_first(tmp_path: Path) -> None:
    lists = {"xview_train": ["a"], "xview_val": ["b"], "xsub_train": ["b"], "xsub_val": ["a"]}
    file = tmp_path / "ntu.pkl"
    entries = [annotation("a"), annotation("b", label=1)]
    file.write_bytes(pickle.dumps({"split": lists, "annotations": entries}))
    words = (f"data={file}", "format=pyskl")
    for split, names in (("none", set(lists)), ("cross-view", {"xview_train", "xview_val"})):
        result = convert(tmp_path, *words, f"split={split}")
        assert set(result.report["splits"]) == names
        spec = load_spec(Spec, result.folder / "sources.yaml").spec.dataset
        beginning = "xsub" if split == "none" else "xview"
        assert Path(spec.train_dataset.data_path).name == f"{beginning}_train_data.npy"
        assert Path(spec.val_dataset.label_path).name == f"{beginning}_val_labels.json"
    file.write_bytes(pickle.dumps({"split": {"train": ["a"]}, "annotations": entries}))
    with pytest.raises(DatasetError, match=r"has no lists xsub_\.\.\.; it has train"):
        convert(tmp_path, *words, "split=cross-subject")
    with pytest.raises(SpecError, match="cross-view is for format=ntu or pyskl"):
        convert(tmp_path, *words, "format=csv", "split=cross-view")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"keypoint": [[1]]}, "keypoint is missing"),
        ({"keypoint": np.zeros((0, 3, 4, 2), np.float16)}, "keypoint has the shape"),
        ({"keypoint": np.array([1], object)}, "keypoint is missing|plain numbers"),
        ({"keypoint_score": None}, "keypoint_score is missing"),
        ({"keypoint_score": np.ones((2, 3, 1))}, "keypoint_score has the shape"),
        ({"img_shape": (50, 0)}, "img_shape"),
        ({"label": ["a"]}, "label must be a text"),
        ({"keypoint": np.full((1, 3, 4, 3), np.inf)}, "NaN or infinite"),
    ],
)
def test_an_annotation_that_is_wrong_is_named_and_left_out(
    changes: dict[str, Any], words: str, tmp_path: Path
) -> None:
    file = tmp_path / "a.pkl"
    content = {
        "split": {"train": ["good", "bad"]},
        "annotations": [annotation("good"), annotation("bad", **changes)],
    }
    file.write_bytes(pickle.dumps(content))
    with pytest.raises(DatasetError, match=f"sequence bad.*({words})"):
        convert(tmp_path, f"data={file}", "format=pyskl")
    result = convert(tmp_path, f"data={file}", "format=pyskl", "on_error=skip")
    assert len(result.report["left_out"]) == 1
    assert len(np.load(result.folder / "train_data.npy")) == 1


def test_annotations_that_are_hostile_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.pkl"
    shared = annotation("a")
    many = [{**shared, "frame_dir": str(number)} for number in range(1000)]
    for content, words in (
        ({"split": {}, "annotations": [np.array([print], object)]}, "can run code"),
        ({"split": {}, "annotations": many}, "its arrays are larger than the file"),
        ({"split": {"../../out": ["a"]}, "annotations": [annotation("a")]}, "leads out of"),
        ({"split": {}, "annotations": [annotation("../../../out", label=None)]}, "leads out of"),
        ({"split": {"train": [["a"]]}, "annotations": []}, "must name lists"),
    ):
        file.write_bytes(pickle.dumps(content))
        with pytest.raises(DatasetError, match=words):
            convert(tmp_path, f"data={file}", "format=pyskl")
    assert not list(tmp_path.parent.glob("out*"))


# --- tables ---


def test_tables_in_folders_called_train_and_val_are_splits(tmp_path: Path) -> None:
    data = tmp_path / "tables"
    for number, (split, action) in enumerate((("train", "jump"), ("train", "walk"), ("val", "walk"))):
        write_table(data / split / action / f"{number}.csv", sequence(number, action))
    words = (f"data={data}", "format=csv", "num_joints=18")
    result = convert(tmp_path, *words)
    labels = json.loads((result.folder / "val_labels.json").read_text())
    assert (labels["classes"], labels["names"]) == (["jump", "walk"], ["val/walk/2"])
    spec = load_spec(Spec, result.folder / "sources.yaml").spec.dataset
    assert Path(spec.val_dataset.data_path) == result.folder / "val_data.npy"
    # Another folder beside them: then all three are classes.
    write_table(data / "run" / "3.csv", sequence(3, "walk"))
    result = convert(tmp_path / "again", *words)
    labels = json.loads((result.folder / "all_labels.json").read_text())
    assert labels["classes"] == ["run", "train", "val"]


def test_splits_have_any_usual_name_and_what_systems_leave_is_passed_over(tmp_path: Path) -> None:
    data = tmp_path / "tables"
    for number, split in enumerate(("Train", "valid")):
        write_table(data / split / "jump" / f"{number}.csv", sequence(number, "jump"))
    (data / "Train" / "jump" / "._0.csv").write_bytes(b"\0\5\26\7")
    (data / "__MACOSX").mkdir()
    (data / "__MACOSX" / "0.csv").write_bytes(b"\0\5\26\7")
    result = convert(tmp_path, f"data={data}", "format=csv", "num_joints=18")
    assert list(result.report["splits"]) == ["train", "val"]
    assert json.loads((result.folder / "val_labels.json").read_text())["classes"] == ["jump"]


def test_what_differs_from_the_others_is_left_out_and_named(tmp_path: Path) -> None:
    data = tmp_path / "tables"
    for number, action in enumerate(("jump", "walk", "walk")):
        write_table(data / action / f"{number}.csv", sequence(number, action))
    # One in the image alone, and one that lies beside the folders of the classes.
    flat = data / "walk" / "flat.csv"
    write_table(flat, sequence(7, "walk"))
    flat.write_text("".join(line.rpartition(",")[0] + "\n" for line in flat.read_text().splitlines()))
    write_table(data / "stray.csv", sequence(8, "walk"))
    words = (f"data={data}", "format=csv", "num_joints=18")
    with pytest.raises(DatasetError, match=r"differ in channels and joints: walk/flat has \(2, 18\)"):
        convert(tmp_path, *words)
    result = convert(tmp_path / "skip", *words, "on_error=skip")
    labels = json.loads((result.folder / "all_labels.json").read_text())
    assert labels["names"] == ["jump/0", "walk/1", "walk/2"]
    assert [text.partition(": ")[2][:20] for text in result.report["left_out"]] == [
        "sequences differ in ",
        "stray has no class, ",
    ]


def test_a_pose_that_is_wrong_is_left_out_of_deepstreams_track(tmp_path: Path) -> None:
    def person(frame: int) -> dict[str, Any]:
        pose = [10, 20, 30, 1, 10 + 12 * frame, 20, 30, 1, 9, 9, 9, 0]
        return {"object_id": 5, "pose3d": pose[:-1] if frame == 4 else pose}

    content = [{"batches": [{"objects": [person(frame)]}]} for frame in range(10)]
    (tmp_path / "poses.json").write_text(json.dumps(content))
    words = (f"data={tmp_path / 'poses.json'}", "num_joints=3", "sequence_length=20", "sequence_length_min=4")
    with pytest.raises(DatasetError, match=r"poses\.json: person 4 is no pose"):
        convert(tmp_path, *words)
    result = convert(tmp_path, *words, "on_error=skip")
    (file,) = (result.folder / "sequences").iterdir()
    assert np.load(file).shape[1] == 9
    assert len(result.report["left_out"]) == 1
