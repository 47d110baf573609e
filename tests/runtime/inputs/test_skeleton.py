"""Skeletons as the runtime reads and preprocesses them: cases worked out by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tao_like.errors import BundleError, DatasetError
from tao_like.runtime.inputs.skeleton import (
    SkeletonPreprocessing,
    normalize_skeleton,
    preprocess_skeleton,
    read_skeleton,
    uniform_frames,
)


def track(frames: int, joints: int = 2, persons: int = 1) -> np.ndarray:
    """(3, T, V, M): x is the number of the frame from 1, y the joint's, z 1."""
    values = np.ones((3, frames, joints, persons), np.float32)
    values[0] = np.arange(1, frames + 1)[:, None, None]
    values[1] = np.arange(joints)[None, :, None]
    return values


def plain(frames: int, sampling: str, joints: int = 2, persons: int = 1) -> SkeletonPreprocessing:
    return SkeletonPreprocessing(3, frames, joints, persons, sampling=sampling)


@pytest.mark.parametrize(
    ("available", "wanted", "expected"),
    [(8, 4, [1, 3, 5, 7]), (3, 6, [0, 0, 1, 1, 2, 2]), (5, 2, [1, 3]), (1, 3, [0, 0, 0])],
)
def test_frames_are_the_middles_of_equal_parts(available: int, wanted: int, expected: list[int]) -> None:
    assert uniform_frames(available, wanted).tolist() == expected


def test_uniform_sampling_leaves_out_frames_in_which_nobody_is_seen() -> None:
    padded = np.concatenate([np.zeros((3, 2, 2, 1)), track(4), np.zeros((3, 6, 2, 1))], axis=1)
    assert preprocess_skeleton(padded.astype(np.float32), plain(2, "uniform"))[0, :, 0, 0].tolist() == [2, 4]


def test_a_window_is_the_middle_or_is_filled_up_behind() -> None:
    assert preprocess_skeleton(track(7), plain(3, "pad"))[0, :, 0, 0].tolist() == [3, 4, 5]
    assert preprocess_skeleton(track(2), plain(4, "pad"))[0, :, 0, 0].tolist() == [1, 2, 0, 0]


def test_persons_are_added_as_zeros_and_those_seen_least_are_left_out() -> None:
    two = preprocess_skeleton(track(3), plain(3, "pad", persons=2))
    assert two.shape == (3, 3, 2, 2)
    assert not two[..., 1].any()
    three = track(3, persons=3)
    three[0] += np.array([0, 10, 20])
    three[:, 1:, :, 1] = 0
    kept = preprocess_skeleton(three, plain(3, "pad", persons=2))
    assert kept[0, 0, 0].tolist() == [1, 21]


def test_the_body_is_moved_scaled_and_turned_and_what_was_not_seen_stays_zero() -> None:
    # Joints: hip, neck, left shoulder, right shoulder. The back lies along x, 2 long; shoulders along -y.
    pose = np.array([[1, 1, 1], [3, 1, 1], [3, 2, 1], [3, 0, 1]], np.float32)
    values = np.stack([pose, pose + np.array([0, 0, 4]), pose]).transpose(2, 0, 1)[..., None]
    values[:, 2, 3] = 0
    preprocessing = SkeletonPreprocessing(
        3, 3, 4, sampling="pad", center=0, spine=((0,), (1,)), scale=True, shoulders=(2, 3)
    )
    body = normalize_skeleton(values.astype(np.float32), preprocessing)[..., 0].transpose(1, 2, 0)
    expected = np.array([[0, 0, 0], [0, 0, 1], [-0.5, 0, 1], [0.5, 0, 1]])
    np.testing.assert_allclose(body[0], expected, atol=1e-6)
    # Up is now z and across x, so z of the camera lies along y: up x across.
    np.testing.assert_allclose(body[1] - expected, np.tile([0, -2, 0], (4, 1)), atol=1e-6)
    assert not body[2, 3].any()
    np.testing.assert_allclose(body[2, :3], expected[:3], atol=1e-6)


def test_the_pose_that_decides_shows_the_joints_that_it_needs() -> None:
    """Another pose with more joints, without the center, would leave the body where it is."""
    values = track(3, joints=5)
    values[:, 0, 1] = 0
    values[:, 1:, 0] = 0
    values[:, 1, 3:] = 0
    preprocessing = SkeletonPreprocessing(3, 3, 5, sampling="pad", center=0)
    moved = preprocess_skeleton(values, preprocessing)
    # The center is seen in the first frame alone, at x 1, y 0.
    assert moved[0, :, 2, 0].tolist() == [0, 1, 2]
    values[:, :, 0] = 0
    middle = preprocess_skeleton(values, preprocessing)
    # Never seen: the middle of the pose of the last frame, x 3 and y from 1 to 4.
    assert middle[:2, 2, 2, 0].tolist() == [0, -0.5]


def test_a_body_without_a_shoulder_is_not_turned() -> None:
    values = np.random.default_rng(0).normal(0, 1, (3, 2, 4, 1)).astype(np.float32)
    values[:, :, 3] = 0
    preprocessing = SkeletonPreprocessing(3, 2, 4, sampling="pad", spine=((0,), (1,)), shoulders=(2, 3))
    np.testing.assert_array_equal(preprocess_skeleton(values, preprocessing), values)


def test_frames_that_only_a_person_left_out_is_in_are_left_out() -> None:
    values = track(6, persons=2)
    values[:, :2, :, 0] = 0
    values[:, 3:, :, 1] = 0
    preprocessed = preprocess_skeleton(values, plain(4, "uniform", persons=1))
    assert preprocessed[0, :, 0, 0].tolist() == [3, 4, 5, 6]


def test_a_score_is_not_moved() -> None:
    values = track(2)
    values[2] = 0.7
    preprocessing = SkeletonPreprocessing(3, 2, 2, confidence=True, sampling="pad", center=1)
    moved = preprocess_skeleton(values, preprocessing)
    assert moved[2].min() == moved[2].max() == np.float32(0.7)
    assert moved[:2, 0, 1, 0].tolist() == [0, 0]


def test_a_table_gives_the_sequence_of_its_rows(tmp_path: Path) -> None:
    lines = ["frame,person,joint,x,y,z", "11,7,1,1,2,3", "10,7,0,4,5,6", "10,9,1,7,8,9"]
    (tmp_path / "a.csv").write_text("\n".join(lines))
    values = read_skeleton(tmp_path / "a.csv", plain(4, "uniform"))
    expected = np.zeros((3, 2, 2, 2))
    expected[:, 1, 1, 0], expected[:, 0, 0, 0], expected[:, 0, 1, 1] = (1, 2, 3), (4, 5, 6), (7, 8, 9)
    np.testing.assert_array_equal(values, expected)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("frame,joint,x,y\n", "lacks the columns person"),
        ("frame,person,joint,x,y,z\n1,1,2,0,0,0\n", "joint 2"),
        ("frame,person,joint,x,y,z\n1,1,0,0,zero,0\n", "no number"),
        ("frame,person,joint,x,y,z\n1,1,0,0\n", "no number"),
        ("frame,person,joint,x,y,z\n1,1,0,0,nan,0\n", "NaN"),
        ("frame,person,joint,x,y,z\n1.5,1,0,0,0,0\n", "whole numbers"),
        ("frame,person,joint,x,y,z\n1,1,0,0,0,0\n9000000,1,0,0,0,0\n", "frames"),
        ("frame,person,joint,x,y,z\n", "no joint"),
    ],
)
def test_a_table_that_is_wrong_is_named(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(DatasetError, match=rf"a\.csv.*{words}"):
        read_skeleton(tmp_path / "a.csv", plain(4, "uniform"))


def test_an_array_of_another_form_is_named(tmp_path: Path) -> None:
    for name, values in {
        "joints": np.zeros((3, 5, 7, 1)),
        "axes": np.zeros((5, 2)),
        "text": np.array(["a"]),
        "objects": np.array([{}], object),
    }.items():
        np.save(tmp_path / f"{name}.npy", values)
        with pytest.raises(DatasetError, match=rf"{name}\.npy"):
            read_skeleton(tmp_path / f"{name}.npy", plain(4, "uniform"))


@pytest.mark.parametrize(
    "wrong",
    [
        {"frames": 0},
        {"channels": 4},
        {"sampling": "random"},
        {"centre": 20},
        {"spine": [0, 1]},
        {"shoulders": [0, 1]},
        {"unknown": 1},
    ],
)
def test_a_preprocessing_without_meaning_is_refused(wrong: dict[str, object]) -> None:
    good = plain(4, "uniform").to_dict()
    assert SkeletonPreprocessing.from_dict(good).to_dict() == good
    with pytest.raises(BundleError, match="preprocessing"):
        SkeletonPreprocessing.from_dict({**good, **wrong})
