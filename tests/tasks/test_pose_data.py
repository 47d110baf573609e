"""Training sequences that are changed at random, the sample data, and what the converters make."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_pose import TINY, data_overrides, run, tiny_spec, write_actions

from tao_like.datasets.samples_skeletons import ACTIONS, action_sequence
from tao_like.datasets.skeleton_formats import read_ntu
from tao_like.datasets.skeleton_layouts import LAYOUTS
from tao_like.errors import DatasetError, SpecError
from tao_like.runtime.skeleton import SkeletonPreparation
from tao_like.spec import load_spec
from tao_like.tasks.pose_classification.augmentation import Augmentation, random_move, rotation
from tao_like.tasks.pose_classification.spec import Spec

LAYOUT = LAYOUTS["kinect_v1"]
PREPARATION = SkeletonPreparation(3, 16, len(LAYOUT.joints), 2, sampling="pad")


def sequence() -> np.ndarray:
    """24 frames of one person among two, some joints not seen."""
    values = np.zeros((3, 24, 20, 2), np.float32)
    values[..., 0] = action_sequence("walk", "kinect_v1", np.random.default_rng(3))[:, :24, :, 0]
    values[:, 5, 7] = 0
    return values


def changed(*overrides: str, seed: int = 0, preparation: SkeletonPreparation = PREPARATION) -> np.ndarray:
    torch.manual_seed(seed)
    return Augmentation(tiny_spec(*overrides).dataset, preparation, LAYOUT)(sequence())


EVERYTHING = (
    "dataset.random_choose=true",
    "dataset.random_move=true",
    "dataset.augmentation={rotation: 20, scale: 0.2, mirror_prob: 1, noise: 0.01, joint_dropout: 0.2}",
)


@pytest.mark.parametrize("sampling", ["pad", "uniform"])
def test_noughts_stay_noughts_whatever_is_changed(sampling: str) -> None:
    preparation = SkeletonPreparation(3, 16, 20, 2, sampling=sampling, centre=0)
    for seed in range(5):
        values = changed(*EVERYTHING, seed=seed, preparation=preparation)
        assert values.shape == (3, 16, 20, 2)
        assert values.dtype == np.float32
        assert values[..., 0].any()
        assert not values[..., 1].any()


def test_a_seed_gives_the_same_sequence_and_another_another() -> None:
    first = changed(*EVERYTHING)
    np.testing.assert_array_equal(first, changed(*EVERYTHING))
    assert np.abs(first - changed(*EVERYTHING, seed=1)).max() > 0.01


def test_a_mirror_image_swaps_left_and_right() -> None:
    as_it_is = changed()
    mirrored = changed("dataset.augmentation.mirror_prob=1")
    left, right = (LAYOUT.joints.index(f"{side} knee") for side in ("left", "right"))
    np.testing.assert_allclose(mirrored[0, :, left], -as_it_is[0, :, right])
    np.testing.assert_allclose(mirrored[1:, :, left], as_it_is[1:, :, right])


def test_rotation_keeps_lengths_and_turns_as_by_hand() -> None:
    matrix = rotation(0.3, -0.7, 1.1)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(rotation(0, 0, np.pi / 2) @ [1, 0, 0], [0, 1, 0], atol=1e-12)


def test_random_move_leaves_depth_and_moves_in_a_straight_line(monkeypatch: pytest.MonkeyPatch) -> None:
    values = sequence()
    moved = random_move(values, np.random.default_rng(0))
    np.testing.assert_array_equal(moved[2], values[2])
    module = "tao_like.tasks.pose_classification.augmentation"
    monkeypatch.setattr(f"{module}.ANGLES", (0.0,))
    monkeypatch.setattr(f"{module}.FACTORS", (2.0,))
    monkeypatch.setattr(f"{module}.SHIFTS", (0.1,))
    np.testing.assert_allclose(
        random_move(values, np.random.default_rng(0))[:2], 2 * values[:2] + 0.1, rtol=1e-5
    )


# --- sample data ---


@pytest.mark.parametrize("layout", LAYOUTS)
def test_stick_figures_fit_every_layout(layout: str) -> None:
    for action in ACTIONS:
        values = action_sequence(action, layout, np.random.default_rng(0))
        assert values.shape[0] == 3
        assert values.shape[2:] == (len(LAYOUTS[layout].joints), 1)
        assert 32 <= values.shape[1] <= 64
        seen = values[:, values.any(axis=0)]
        assert np.ptp(seen, axis=1).max() < 6


def test_sitting_down_backwards_is_standing_up() -> None:
    """So a single frame cannot tell them apart."""
    down, up = (
        action_sequence(action, "kinect_v1", np.random.default_rng(5))[1, :, 3, 0]
        for action in ("sit_down", "stand_up")
    )
    assert down[down != 0][0] - down[down != 0][-1] > 0.25
    assert up[up != 0][-1] - up[up != 0][0] > 0.25


# --- the check ---


def test_the_check_names_empty_sequences_unseen_joints_and_copies(tmp_path: Path) -> None:
    folder = write_actions(tmp_path / "data")
    train, val = (np.load(folder / f"{split}_data.npy") for split in ("train", "val"))
    train[3] = 0
    train[:, :, :, 7] = 0
    val[2] = train[5]
    np.save(folder / "train_data.npy", train)
    np.save(folder / "val_data.npy", val)
    findings = run("dataset_check", tmp_path, *data_overrides(folder)).report["findings"]
    by_code = {finding["code"]: finding for finding in findings}
    assert by_code["empty"]["files"] == ["train 3"]
    assert by_code["missing_joints"]["files"] == [LAYOUTS["openpose"].joints[7]]
    assert by_code["same_sequence_in_splits"]["groups"] == [["train: train 5", "val: val 2"]]
    assert "few_samples" in by_code


# --- a layout of one's own ---


def test_a_layout_of_ones_own_trains(tmp_path: Path) -> None:
    layout = LAYOUTS["openpose"]
    own = ["model.graph_layout=custom", f"model.layout.joints={json.dumps(list(layout.joints))}"]
    own += [f"model.layout.edges={json.dumps(layout.edges)}", "model.layout.center=1"]
    data = data_overrides(write_actions(tmp_path / "data"))
    result = run(
        "train", tmp_path, *data, *own, "train.max_steps=1", "model.model_type=ST-GCN", "model.num_blocks=1"
    )
    assert set(result.metrics) >= {"accuracy", "mean_class_accuracy"}
    with pytest.raises(SpecError, match=r"model\.layout.*joint"):
        tiny_spec(*own[:2], "model.layout.edges=[[0,1]]")


def test_keys_of_tao_are_taken() -> None:
    words = {
        "train.optim.lr_steps": "[3]",
        "train.optim.lr_decay": "0.2",
        "train.optim.lr_scheduler": "multistep",
        "train.grad_clip": "1.0",
        "dataset.num_workers": "1",
        "evaluate.test_dataset.data_path": "x.npy",
    }
    loaded = load_spec(Spec, None, [*TINY, *(f"{key}={value}" for key, value in words.items())]).spec
    assert loaded.train.optim.policy_params.milestones == [3]
    assert loaded.train.optim.policy_params.gamma == 0.2
    assert loaded.dataset.workers == 1
    assert loaded.dataset.test_dataset.data_path == "x.npy"


# --- converters ---


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


def test_annotations_of_pyskl_are_read_without_running_code(tmp_path: Path) -> None:
    points = np.arange(2 * 3 * 4 * 2, dtype=np.float16).reshape(2, 3, 4, 2)
    scores = np.ones((2, 3, 4), np.float16)
    scores[1, 2, 3] = 0
    entry = {
        "frame_dir": "v1",
        "label": np.int64(2),
        "img_shape": (50, 100),
        "keypoint": points,
        "keypoint_score": scores,
    }
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
    file.write_bytes(pickle.dumps({"split": {}, "annotations": [np.array([print], object)]}))
    with pytest.raises(DatasetError, match="can run code"):
        convert(tmp_path, f"data={file}", "format=pyskl")
