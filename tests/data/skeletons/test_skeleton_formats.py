"""Sequences as NTU, UTKinect and DeepStream write them: read as they are, and named where they are wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tao_like.data.skeletons.formats import (
    DeepStreamForm,
    deepstream_sequences,
    ntu_sequences,
    read_ntu,
    utkinect_sequences,
)
from tao_like.errors import DatasetError


def ntu_text(*frames: list[str], joints: int = 25) -> str:
    """A file of NTU's: in each frame the named bodies, whose joint j stands at (frame, j, 0)."""
    lines = [str(len(frames))]
    for number, bodies in enumerate(frames):
        lines.append(str(len(bodies)))
        for body in bodies:
            lines += [f"{body} 0 1 1 1 1 0 0.1 0.2 2", str(joints)]
            lines += [f"{number} {joint} 0 0 0 0 0 0 0 0 0 2" for joint in range(joints)]
    return "\n".join(lines)


def test_ntu_keeps_the_two_liveliest_bodies_and_divides_by_camera_or_person(tmp_path: Path) -> None:
    moving, still = ["7", "8"], ["7"]
    for name in ("S001C001P001R001A003", "S001C002P003R001A004"):
        (tmp_path / f"{name}.skeleton").write_text(ntu_text(moving, still, still))
    wrong: list[DatasetError] = []
    found = list(ntu_sequences(tmp_path, "cross-view", wrong.append))
    assert [(one.name[-4:], one.label, one.split) for one in found] == [
        ("A003", "A003", "test"),  # camera 1 is for tests, 2 and 3 for training
        ("A004", "A004", "train"),
    ]
    assert found[0].values.shape == (3, 3, 25, 2)
    # The body that is seen throughout moves along x; the other one stands still in its one frame.
    assert found[0].values[0, :, 4, 0].tolist() == [0, 1, 2]
    assert found[0].values[1, :, 4, 1].tolist() == [4, 0, 0]
    assert {one.split for one in ntu_sequences(tmp_path, "none", wrong.append)} == {""}
    by_person = list(ntu_sequences(tmp_path, "cross-subject", wrong.append))
    assert [one.split for one in by_person] == ["train", "test"]  # persons 1 and 3
    assert wrong == []


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("walk", ntu_text(["1"]), "is not named as NTU names its files"),
        ("S001C001P099R001A003", ntu_text(["1"]), "knows persons 1 to 40, not 99"),
        ("S001C001P001R001A003", ntu_text(["1"], joints=20), "a body has 20 joints; NTU's have 25"),
        ("S001C001P001R001A003", ntu_text(["1"])[:200], "it ends too early"),
        ("S001C001P001R001A003", ntu_text([], []), "shows nobody"),
    ],
)
def test_files_that_are_not_ntus_are_named(name: str, text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / f"{name}.skeleton").write_text(text)
    wrong: list[DatasetError] = []
    assert list(ntu_sequences(tmp_path, "cross-subject", wrong.append)) == []
    assert words in str(wrong[0])
    assert name in str(wrong[0])


def test_a_file_that_is_no_text_and_a_folder_without_files(tmp_path: Path) -> None:
    (tmp_path / "a.skeleton").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DatasetError, match=r"a\.skeleton"):
        read_ntu(tmp_path / "a.skeleton")
    with pytest.raises(DatasetError, match="nowhere is not a folder"):
        list(ntu_sequences(tmp_path / "nowhere", "none", print))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match=r"empty holds no file \*\.skeleton"):
        list(ntu_sequences(tmp_path / "empty", "none", print))


def utkinect(folder: Path, labels: str, *, frames: int = 6, values: int = 60) -> list[DatasetError]:
    rows = [f"{frame} " + " ".join(str(frame + n) for n in range(values)) for frame in range(1, frames + 1)]
    (folder / "joints_s01_e01.txt").write_text("\n".join([*rows, rows[-1]]))  # the last frame twice
    (folder / "actionLabel.txt").write_text(labels)
    return []


def test_utkinect_cuts_actions_out_of_a_recording(tmp_path: Path) -> None:
    wrong = utkinect(tmp_path, "s01_e01\nwalk: 2 4\n\nsitDown: 5 6\nwave: NaN NaN\npush: 80 90\npull: 3\n")
    found = list(utkinect_sequences(tmp_path, "cross-subject", wrong.append))
    assert [(one.name, one.label, one.values.shape) for one in found] == [
        ("s01_e01_walk", "walk", (3, 3, 20, 1)),
        ("s01_e01_sitDown", "sitDown", (3, 2, 20, 1)),
    ]
    # Row of frame 2: 2, 3, 4, ...; three numbers a joint.
    assert found[0].values[:, 0, 1, 0].tolist() == [5, 6, 7]
    assert len({one.split for one in found} - {"train", "test"}) == 0
    told = [str(error) for error in wrong]
    assert "wave NaN NaN: the action has no first and last frame" in told[0]
    assert "push: there are no joints of the frames 80 to 90" in told[1]
    assert "pull 3: the action has no first and last frame" in told[2]
    assert {one.split for one in utkinect_sequences(tmp_path, "none", wrong.append)} == {""}


def test_a_mark_at_the_start_of_a_file_hides_no_recording(tmp_path: Path) -> None:
    wrong = utkinect(tmp_path, "\ufeffs01_e01\nwalk: 2 4\n")
    assert [one.label for one in utkinect_sequences(tmp_path, "none", wrong.append)] == ["walk"]
    assert not wrong


def test_recordings_that_are_missing_or_damaged_are_named_and_their_actions_left_out(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"actionLabel\.txt, in which UTKinect names its actions"):
        list(utkinect_sequences(tmp_path, "none", print))
    wrong = utkinect(tmp_path, "s01_e01\nwalk: 2 4\ns02_e01\nwalk: 1 2\n", values=59)
    assert list(utkinect_sequences(tmp_path, "none", wrong.append)) == []
    assert "each row must hold a frame number and 60 values" in str(wrong[0])
    assert "joints_s02_e01.txt" in str(wrong[1])
    (tmp_path / "joints_s02_e01.txt").write_text("1 two three")
    assert list(utkinect_sequences(tmp_path, "none", wrong.append)) == []
    assert "is damaged: could not convert" in str(wrong[-1])


FORM: dict[str, Any] = {"joints": 2, "width": 100, "height": 50, "focal_length": 10.0}


def deepstream(path: Path, frames: int, **changes: Any) -> Path:
    """One person whose two joints stand at (20, 10, 4) and (70, 35, 6), the second unseen in frame 1."""
    objects = []
    for frame in range(frames):
        pose = [20, 10, 4, 1, 70, 35, 6, 0 if frame == 1 else 1]
        objects.append({"object_id": 5, "pose25d": pose, "pose3d": pose} | changes)
    path.write_text(json.dumps([{"batches": [{"objects": objects[:1]}, {"objects": objects[1:]}]}]))
    return path


@pytest.mark.parametrize(
    ("pose_type", "expected"),
    [
        # By the image's size, from its middle; or by the focal length, from the first joint.
        ("25dbp", [[-0.3, 0.2], [-0.3, 0.2], [4, 6]]),
        ("2dbp", [[-0.3, 0.2], [-0.3, 0.2]]),
        ("3dbp", [[0, 5], [0, 2.5], [0, 0.2]]),
    ],
)
def test_deepstreams_poses_by_hand(pose_type: str, expected: list[list[float]], tmp_path: Path) -> None:
    form = DeepStreamForm(pose_type=pose_type, length=4, shortest=2, overlap=0.5, **FORM)
    wrong: list[DatasetError] = []
    found = list(deepstream_sequences(deepstream(tmp_path / "poses.json", 7), form, wrong.append))
    # Cuts of four frames, every two: 0 to 3, 2 to 5, 4 to 6.
    assert [(one.name, one.values.shape[1]) for one in found] == [
        ("object_5_000", 4),
        ("object_5_001", 4),
        ("object_5_002", 3),
    ]
    np.testing.assert_allclose(found[0].values[:, 0, :, 0], expected, atol=1e-6)
    assert found[0].values[:, 1, 1, 0].tolist() == [0] * len(expected)
    assert wrong == []
    longer = DeepStreamForm(pose_type=pose_type, length=4, shortest=4, overlap=0.0, **FORM)
    whole = list(deepstream_sequences(tmp_path / "poses.json", longer, wrong.append))
    assert [one.name for one in whole] == ["object_5_000"]  # the rest of three frames is too short


def test_a_file_that_is_not_deepstreams_and_a_pose_that_is_wrong_are_named(tmp_path: Path) -> None:
    form = DeepStreamForm(pose_type="25dbp", length=4, shortest=1, overlap=0.0, **FORM)
    path = tmp_path / "poses.json"
    path.write_text("{}[")
    with pytest.raises(DatasetError, match=r"poses\.json is no JSON of DeepStream's body pose"):
        list(deepstream_sequences(path, form, print))
    wrong: list[DatasetError] = []
    assert list(deepstream_sequences(deepstream(path, 2, pose25d=[1, 2, 3]), form, wrong.append)) == []
    assert "person 0 is no pose of DeepStream" in str(wrong[0])
    assert "are dataset_convert.pose_type=25dbp and num_joints=2 right?" in str(wrong[0])
