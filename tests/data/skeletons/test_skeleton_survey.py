"""What skeleton sequences tell of themselves: the order of joints, sides, lengths."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tiny_pose import ACTIONS, sequence

from tao_like.config import load_spec
from tao_like.data.skeletons.arrays import read_skeleton_data
from tao_like.data.skeletons.bones import check_bones, middle_joint, shortest_tree
from tao_like.data.skeletons.layouts import LAYOUTS
from tao_like.data.skeletons.sides import sided_classes, swapped_classes
from tao_like.data.skeletons.survey import shown_lengths, side_classes
from tao_like.tasks.pose_classification.init import write_spec
from tao_like.tasks.pose_classification.spec import Spec

MSR_ACTION3D = (
    *("left shoulder", "right shoulder", "thorax", "spine", "left hip", "right hip", "pelvis", "left elbow"),
    *("right elbow", "left wrist", "right wrist", "left hand", "right hand", "left knee", "right knee"),
    *("left ankle", "right ankle", "left foot", "right foot", "head"),
)
"""The order of another data set that has 20 joints as Kinect has."""


def as_msr(values: np.ndarray) -> np.ndarray:
    names = LAYOUTS["kinect_v1"].joints
    return values[:, :, [names.index(name) for name in MSR_ACTION3D]]


def write(folder: Path, sequences: list[np.ndarray], labels: list[int], classes: list[str]) -> Path:
    folder.mkdir()
    frames = max(one.shape[1] for one in sequences)
    padded = [np.pad(one, ((0, 0), (0, frames - one.shape[1]), (0, 0), (0, 0))) for one in sequences]
    np.save(folder / "train_data.npy", np.stack(padded).astype(np.float32))
    content = {"names": [str(n) for n in range(len(labels))], "labels": labels, "classes": classes}
    (folder / "train_labels.json").write_text(json.dumps(content))
    return folder


def test_the_shortest_tree_by_hand() -> None:
    # Four places on a line at 0, 1, 3 and 7, out of order.
    places = np.array([3.0, 0.0, 7.0, 1.0])
    lengths = np.abs(places[:, None] - places)
    edges = shortest_tree(lengths)
    assert edges == ((0, 2), (0, 3), (1, 3))
    assert middle_joint(4, edges) in (0, 3)


@pytest.mark.parametrize("name", sorted(LAYOUTS))
def test_the_right_order_has_short_bones_and_a_wrong_one_long_ones(name: str) -> None:
    layout = LAYOUTS[name]
    sequences = [sequence(number, ACTIONS[number % 3], name)[:3] for number in range(6)]
    right = check_bones(layout, sequences)
    assert right is not None
    assert right.ratio < 1.25
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(len(layout.joints))
        wrong = check_bones(layout, [one[:, :, order] for one in sequences])
        assert wrong is not None
        assert not wrong.is_plausible


def test_too_few_frames_tell_nothing() -> None:
    layout = LAYOUTS["kinect_v1"]
    one = sequence(0, "walk", "kinect_v1")
    assert check_bones(layout, [one[:, :10]]) is None
    unseen = one.copy()
    unseen[:, :, 3] = 0
    assert check_bones(layout, [unseen]) is None


def test_init_does_not_take_another_order_for_kinects(tmp_path: Path) -> None:
    sequences = [as_msr(sequence(number, ACTIONS[number % 3], "kinect_v1")) for number in range(9)]
    folder = write(tmp_path / "msr", sequences, [number % 3 for number in range(9)], list(ACTIONS))
    said = write_spec(folder, tmp_path / "s.yaml", force=False)
    assert any("not kinect_v1, though it has 20 joints" in line for line in said)
    spec = load_spec(Spec, tmp_path / "s.yaml").spec
    assert spec.model.graph_layout == "custom"
    names = MSR_ACTION3D
    edges = {frozenset((names[one], names[other])) for one, other in spec.model.layout.edges}
    for bone in (("left elbow", "left wrist"), ("right knee", "right ankle"), ("spine", "pelvis")):
        assert frozenset(bone) in edges
    # Without names nobody knows left and right, nor where the back is.
    assert not spec.dataset.scale_by_body
    assert not spec.dataset.align_axes
    assert spec.dataset.augmentation.mirror_prob == 0


def test_init_takes_the_length_that_most_sequences_have(tmp_path: Path) -> None:
    action = [sequence(number, ACTIONS[number % 3], "kinect_v1") for number in range(12)]
    # Eleven of 24 frames, and one in which nothing happens for a long time.
    long = np.concatenate([action[-1]] * 50, axis=1)
    folder = write(tmp_path / "d", [*action[:-1], long], [n % 3 for n in range(12)], list(ACTIONS))
    write_spec(folder, tmp_path / "s.yaml", force=False)
    dataset = load_spec(Spec, tmp_path / "s.yaml").spec.dataset
    assert dataset.window_size == 24
    assert dataset.augmentation.mirror_prob == 0.5
    data = read_skeleton_data(
        folder / "train_data.npy", folder / "train_labels.json", channels=3, joints=20, key="d"
    )
    assert sorted(shown_lengths(data)) == [24] * 11 + [1200]


def test_names_that_speak_of_a_side() -> None:
    names = ["wave_left", "turnRight", "RIGHT_KICK", "kick l", "kick r", "roll r", "counterclockwise circle"]
    assert sided_classes([*names, "clap", "bright", "A001"]) == [
        *("wave_left", "turnRight", "RIGHT_KICK", "kick l", "kick r", "counterclockwise circle"),
    ]


def test_classes_that_are_each_others_mirror_image_are_found_in_the_sequences() -> None:
    draw = np.random.default_rng(0)
    left = np.array([5.0, 0.0]) + draw.normal(0, 0.3, (10, 2))
    right = np.array([0.0, 5.0]) + draw.normal(0, 0.3, (10, 2))
    both = np.array([5.0, 5.0]) + draw.normal(0, 0.3, (10, 2))
    features = np.concatenate([left, right, both])
    labels = np.repeat([0, 1, 2], 10)
    assert swapped_classes(features, features[:, ::-1], labels) == [(0, 1)]


def test_init_does_not_mirror_where_classes_have_sides(tmp_path: Path) -> None:
    layout = LAYOUTS["kinect_v1"]
    order = np.arange(20)
    for one, other in layout.pairs:
        order[[one, other]] = other, one
    # Standing still with one arm up: the same as seen in a mirror makes the other class, by numbers alone.
    still = sequence(3, "clap", "kinect_v1")[:, :1].repeat(24, axis=1)
    sequences = []
    for number in range(16):
        one = still + np.random.default_rng(number).normal(0, 0.01, still.shape)
        arm = [layout.joints.index(f"left {name}") for name in ("elbow", "wrist", "hand")]
        up = int(np.ptp(still[:, 0, :, 0], axis=1).argmax())
        one[up, :, arm] += np.array([0.5, 1.0, 1.2])[:, None, None]
        if number % 2:
            one = one[:, :, order]
            across = layout.shoulders
            assert across is not None
            axis = int(np.abs(still[:, 0, across[0], 0] - still[:, 0, across[1], 0]).argmax())
            one[axis] *= -1
        sequences.append(one)
    folder = write(tmp_path / "d", sequences, [n % 2 for n in range(16)], ["0", "1"])
    data = read_skeleton_data(
        folder / "train_data.npy", folder / "train_labels.json", channels=3, joints=20, key="d"
    )
    assert side_classes(data, ["0", "1"], layout, 3) == ["0", "1"]
    write_spec(folder, tmp_path / "s.yaml", force=False)
    assert load_spec(Spec, tmp_path / "s.yaml").spec.dataset.augmentation.mirror_prob == 0
