"""Training sequences that are changed at random, the sample data, the check, and layouts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_pose import TINY, data_overrides, run, tiny_spec, write_actions

import tao_like
from tao_like.bundle import read_bundle
from tao_like.config import load_spec
from tao_like.data.skeletons.layouts import LAYOUTS
from tao_like.errors import DatasetError, SpecError
from tao_like.runtime.inputs.skeleton import SkeletonPreprocessing
from tao_like.samples import skeleton_actions
from tao_like.samples.catalog import write_sample
from tao_like.samples.skeleton_actions import ACTIONS, action_sequence
from tao_like.tasks.pose_classification.data.augmentation import Augmentation, random_move, rotation
from tao_like.tasks.pose_classification.init import write_spec
from tao_like.tasks.pose_classification.spec import Spec

LAYOUT = LAYOUTS["kinect_v1"]
SHIPPED = Path(__file__).parents[3] / "specs" / "pose_classification" / "skeleton_actions.yaml"
PREPROCESSING = SkeletonPreprocessing(3, 16, len(LAYOUT.joints), 2, sampling="pad")


def sequence() -> np.ndarray:
    """24 frames of one person among two, some joints not seen."""
    values = np.zeros((3, 24, 20, 2), np.float32)
    values[..., 0] = action_sequence("walk", "kinect_v1", np.random.default_rng(3))[:, :24, :, 0]
    values[:, 5, 7] = 0
    return values


def changed(
    *overrides: str, seed: int = 0, preprocessing: SkeletonPreprocessing = PREPROCESSING
) -> np.ndarray:
    torch.manual_seed(seed)
    return Augmentation(tiny_spec(*overrides).dataset, preprocessing, LAYOUT)(sequence())


EVERYTHING = (
    "dataset.random_choose=true",
    "dataset.random_move=true",
    "dataset.augmentation={rotation: 20, scale: 0.2, mirror_prob: 1, noise: 0.01, joint_dropout: 0.2}",
)


@pytest.mark.parametrize("sampling", ["pad", "uniform"])
def test_zeros_stay_zeros_whatever_is_changed(sampling: str) -> None:
    preprocessing = SkeletonPreprocessing(3, 16, 20, 2, sampling=sampling, center=0)
    for seed in range(5):
        values = changed(*EVERYTHING, seed=seed, preprocessing=preprocessing)
        assert values.shape == (3, 16, 20, 2)
        assert values.dtype == np.float32
        assert values[..., 0].any()
        assert not values[..., 1].any()


def test_the_center_is_seen_where_it_is_the_origin() -> None:
    """It moves with the others, though all its coordinates are zeros then."""
    preprocessing = SkeletonPreprocessing(3, 16, 20, 2, sampling="pad", center=0)
    values = changed("dataset.augmentation.noise=0.01", preprocessing=preprocessing)
    assert values[:, :, 0, 0].any(axis=0).all()


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
    module = "tao_like.tasks.pose_classification.data.augmentation"
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


@pytest.mark.parametrize("layout", ["coco", "openpose", "ntu-rgb+d"])
def test_the_keys_that_a_sample_names_go_with_it(
    layout: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for split in skeleton_actions.SEQUENCES:
        monkeypatch.setitem(skeleton_actions.SEQUENCES, split, 1)
    monkeypatch.chdir(tmp_path)
    write_sample("skeleton_actions", "actions", layout=layout)
    lines = Path("actions/README.txt").read_text("utf-8").splitlines()
    keys = next(line.split() for line in lines if line.strip().startswith("model.graph_layout="))
    small = ["model.base_channels=6", "model.num_blocks=1", "train.max_steps=1", "train.accelerator=cpu"]
    words = [*keys, *small, "train.tensorboard.enabled=false"]
    result = tao_like.run("pose_classification", "train", SHIPPED, words, quiet=True)
    assert read_bundle(result.bundle).classes == sorted(ACTIONS)
    assert write_spec(Path("actions"), Path("own.yaml"), force=False)
    found = load_spec(Spec, Path("own.yaml")).spec
    assert [f"model.graph_layout={found.model.graph_layout}"] == keys[:1]
    assert found.model.confidence == ("model.confidence=true" in keys)
    assert found.dataset.align_axes == ("dataset.align_axes=false" not in keys)


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


def test_data_that_shows_nobody_is_an_error(tmp_path: Path) -> None:
    folder = write_actions(tmp_path / "data")
    np.save(folder / "train_data.npy", np.zeros_like(np.load(folder / "train_data.npy")))
    with pytest.raises(DatasetError, match=r"sequences in .*in which nobody is seen"):
        run("dataset_check", tmp_path, *data_overrides(folder))


@pytest.mark.parametrize("channels", [1, 4])
def test_init_names_an_array_of_other_channels(channels: int, tmp_path: Path) -> None:
    np.save(tmp_path / "train_data.npy", np.ones((2, channels, 4, 18, 1), np.float32))
    (tmp_path / "train_labels.json").write_text('{"labels": [0, 1]}')
    with pytest.raises(DatasetError, match=rf"train_data\.npy has {channels} channels .* 2 or 3"):
        write_spec(tmp_path, tmp_path / "spec.yaml", force=False)


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


def test_the_check_names_another_order_of_joints_and_mirrored_sides(tmp_path: Path) -> None:
    folder = write_actions(tmp_path / "data")
    order = np.random.default_rng(0).permutation(18)
    for split in ("train", "val", "test"):
        values = np.load(folder / f"{split}_data.npy")
        np.save(folder / f"{split}_data.npy", values[:, :, :, order])
        labels = json.loads((folder / f"{split}_label.json").read_text())
        labels["classes"] = ["kick_left", "kick_right", "walk"]
        (folder / f"{split}_label.json").write_text(json.dumps(labels))
    words = (*data_overrides(folder), "dataset.augmentation.mirror_prob=0.5")
    result = run("dataset_check", tmp_path / "results", *words)
    found = {finding["code"]: finding["message"] for finding in result.report["findings"]}
    assert "model.graph_layout=openpose" in found["joint_order"]
    assert "kick_left, kick_right" in found["mirrored_sides"]
    assert "mirror_prob=0.5" in found["mirrored_sides"]
