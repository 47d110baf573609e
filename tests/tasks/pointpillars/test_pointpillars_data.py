"""Frames as a dataset: random changes keep points in their boxes; checks name what will go wrong."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_pointpillars import TINY, run, write_frames, write_kitti

from tao_like.config import load_spec
from tao_like.data.lidar.frame import LidarRecord, Object3d
from tao_like.errors import DatasetError
from tao_like.runtime import load
from tao_like.runtime.geometry.boxes3d import ground_intersections, points_inside
from tao_like.tasks.pointpillars.data.augmentation import (
    CHANGES,
    Scene,
    flipped,
    group_counts,
    make_database,
    rotated,
    sampled,
)
from tao_like.tasks.pointpillars.data.balancing import balanced
from tao_like.tasks.pointpillars.data.dataset import collate_frames
from tao_like.tasks.pointpillars.points_input import split_frames
from tao_like.tasks.pointpillars.spec import Spec
from tao_like.tasks.pointpillars.spec_blocks.data import AugmentorSpec
from tao_like.tasks.pointpillars.task import PointPillarsTask

CLASSES = ["Car", "Pedestrian"]


def task_of(words: list[str], *overrides: str) -> PointPillarsTask:
    return PointPillarsTask(load_spec(Spec, None, [*TINY, *words, *overrides]).spec)


def scene(seed: int = 0) -> Scene:
    """Two cars and a pedestrian with forty points each, inside of their boxes, over a flat ground."""
    random = np.random.default_rng(seed)
    boxes = np.array(
        [[10, 3, -1, 4, 1.6, 1.5, 0.4], [20, -8, -1, 4, 1.6, 1.5, -2.0], [15, 8, -0.9, 0.8, 0.6, 1.7, 1.0]]
    )
    parts = [random.uniform((0, -20, -1.8, 0), (40, 20, -1.78, 1), (200, 4))]
    for x, y, z, length, width, height, yaw in boxes:
        local = random.uniform(-0.49, 0.49, (40, 3)) * (length, width, height)
        cosine, sine = math.cos(yaw), math.sin(yaw)
        place = (x + local[:, 0] * cosine - local[:, 1] * sine, y + local[:, 0] * sine + local[:, 1] * cosine)
        parts.append(np.stack([*place, z + local[:, 2], np.full(40, 0.5)], axis=1))
    return Scene(np.concatenate(parts).astype(np.float32), boxes, np.array([0, 0, 1]))


@pytest.mark.parametrize("name", CHANGES)
def test_points_stay_in_the_boxes_of_their_objects(name: str) -> None:
    before = scene()
    step = AugmentorSpec(name=name, along_axis_list=["x", "y"])
    inside = points_inside(before.points, before.boxes)
    for seed in range(6):
        after = CHANGES[name](before, step, np.random.default_rng(seed))
        assert (points_inside(after.points, after.boxes * [1, 1, 1, 1.001, 1.001, 1.001, 1]) >= inside).all()
        assert after.points.dtype == np.float32
        assert (np.abs(after.boxes[:, 6]) <= math.pi).all()
    assert not np.allclose(after.boxes, before.boxes)
    assert before.boxes[0, 0] == 10


def test_a_quarter_turn_and_a_flip_by_hand() -> None:
    step = AugmentorSpec(name="random_world_rotation", world_rot_angle=[math.pi / 2, math.pi / 2])
    assert rotated(scene(), step, np.random.default_rng(0)).boxes[0] == pytest.approx(
        [-3, 10, -1, 4, 1.6, 1.5, 0.4 + math.pi / 2]
    )
    always: Callable[[], float] = lambda: 0.9  # noqa: E731

    class Heads(np.random.Generator):
        random = staticmethod(always)

    heads = Heads(np.random.PCG64(0))
    for axis, wanted in (("x", [10, -3, -0.4]), ("y", [-10, 3, math.pi - 0.4])):
        box = flipped(scene(), AugmentorSpec(along_axis_list=[axis]), heads).boxes[0]
        assert box[[0, 1, 6]] == pytest.approx(wanted)


def test_sampled_objects_stand_free_and_bring_their_points() -> None:
    others = [scene(seed) for seed in range(3)]
    for number, one in enumerate(others):
        one.boxes[:, :2] += (0, 4.0 * number)
        one.points[200:, 1] += 4.0 * number
    step = AugmentorSpec(
        name="gt_sampling", sample_groups=["Car:9", "Tram:3"], remove_extra_width=[0, 0, 0.2]
    )
    database = make_database([lambda one=one: one for one in others], step, CLASSES)
    assert {label: len(stored) for label, stored in database.items()} == {0: 6, 1: 3}
    assert all(len(stored.points) >= 40 for stored in database[0])
    before = scene()
    after = sampled(before, step, CLASSES, database, np.random.default_rng(0))
    assert len(after.boxes) > len(before.boxes)
    assert (after.labels[3:] == 0).all()
    common = ground_intersections(after.boxes, after.boxes)
    assert common[~np.eye(len(after.boxes), dtype=bool)].max() == 0
    assert (points_inside(after.points, after.boxes).sum(axis=1) >= 40).all()
    # The road below is gone where they stand.
    road = after.points[after.points[:, 2] < -1.77]
    assert not points_inside(road, after.boxes[3:] + np.array([0, 0, 0, 0, 0, 0.2, 0])).any()


def test_objects_with_few_points_are_not_sampled() -> None:
    step = AugmentorSpec(name="gt_sampling")
    step.preface.filter_by_min_points = ["Car:60", "Pedestrian:5"]
    assert set(make_database([scene], step, CLASSES)) == {1}
    assert group_counts(["Car:15", "Person: 3", "a:b:2"], ["a:b", "Car"]) == {1: 15, 0: 2}


def test_the_same_seed_changes_a_frame_alike(tmp_path: Path) -> None:
    words = write_frames(tmp_path, {"train": 3})
    changes = "dataset.data_augmentor.aug_config_list=[{name: gt_sampling}, {name: random_world_rotation}]"
    task = task_of(words, "dataset.data_split.val=null", "train.keep=last", changes)
    data = task.data.dataset("train", augment=True)
    items = []
    for _ in range(2):
        torch.manual_seed(3)
        items.append(data[1])
    assert np.array_equal(items[0].points, items[1].points)
    assert not np.array_equal(items[0].points, data[1].points)
    assert len(items[0].boxes) > len(task.data.dataset("train")[1].boxes)


def test_a_batch_gives_its_frames_back(tmp_path: Path) -> None:
    task = task_of(write_frames(tmp_path, {"train": 3}))
    data = task.data.dataset("train")
    items = [data[index] for index in range(3)]
    empty = type(items[0])(**{**vars(items[0]), "points": items[0].points[:0]})
    batch = collate_frames([items[0], empty, *items[1:]])
    assert batch.input.shape == (sum(len(item.points) for item in items), 5)
    frames = split_frames(batch.input, 4)
    assert [len(frame) for frame in frames] == [
        len(items[0].points),
        0,
        *(len(one.points) for one in items[1:]),
    ]
    assert np.array_equal(frames[3], items[2].points)


def test_boxes_outside_of_the_range_are_scored_but_not_learnt(tmp_path: Path) -> None:
    words = write_frames(tmp_path, {"train": 1})
    label = tmp_path / "train" / "label" / "000000.txt"
    label.write_text(label.read_text() + "Car 0 0 0 0 0 0 0 1.5 1.6 4 60 0 -1 0\n")
    for keep in (True, False):
        processor = (
            "dataset.data_processor=[{name: mask_points_and_boxes_outside_range, remove_outside_boxes: "
            f"{str(keep).lower()}}}, {{name: transform_points_to_voxels, voxel_size: [0.64, 0.64, 4]}}]"
        )
        item = task_of(words, processor).data.dataset("train")[0]
        far = (item.boxes[:, 0] > 50).any()
        assert far == (not keep)
        assert item.target.objects.boxes[-1, 0] == 60


# --- the check ---


def findings(folder: Path, words: list[str], *overrides: str) -> dict[str, str]:
    """What the check found, by its code; data with errors fails it once the report is written."""
    written = folder / "dataset_check" / "report.json"
    try:
        run("dataset_check", folder, *words, *overrides)
    except DatasetError:
        if not written.exists():
            raise
    report = json.loads(written.read_text("utf-8"))
    return {finding["code"]: finding["message"] for finding in report["findings"]}


def test_the_check_counts_boxes_and_their_points(tmp_path: Path) -> None:
    words = write_frames(tmp_path / "data")
    result = run("dataset_check", tmp_path / "results", *words)
    cars = result.report["data"]["train"]["classes"]["Car"]
    assert cars["boxes"] == sum(part["boxes"] for part in cars["by_distance"].values()) > 5
    assert cars["median_size"] == pytest.approx([3.9, 1.6, 1.56], abs=0.3)
    assert cars["without_points"] == 0
    assert (result.folder / "train_from_above.png").stat().st_size > 10000


def test_the_check_names_what_makes_ap_zero(tmp_path: Path) -> None:
    words = write_frames(tmp_path / "data")
    for path in (tmp_path / "data" / "train" / "label").iterdir():
        path.write_text(path.read_text().replace("Pedestrian", "pedestrian"))
    for path in (tmp_path / "data" / "val" / "lidar").iterdir():
        frame = np.frombuffer(path.read_bytes(), np.float32).reshape(-1, 4) * (1, 1, 1, 255)
        path.write_bytes(frame.astype(np.float32).tobytes())
    higher = (
        "model.dense_head.anchor_generator_config=[{class_name: Car, feature_map_stride: 1, "
        "anchor_bottom_heights: [0.3], anchor_sizes: [[8, 2.5, 3]]}, {class_name: Pedestrian, "
        "anchor_sizes: [[0.8, 0.6, 1.73]], anchor_bottom_heights: [-1.6], feature_map_stride: 1}]"
    )
    found = findings(tmp_path / "results", words, higher)
    assert "map_class_to={pedestrian: Pedestrian}" in found["class_case"]
    assert "intensity_scale" in found["strong_echo"]
    assert "anchor_bottom_heights=[-1." in found["anchor_height"]
    assert "anchor_sizes=[[" in found["anchor_size"]


def test_the_check_names_labels_of_another_frame_and_ranges_without_points(tmp_path: Path) -> None:
    words = write_frames(tmp_path / "data", {"train": 2, "val": 2, "test": 1})
    for path in (tmp_path / "data" / "train" / "label").iterdir():
        lines = [line.split() for line in path.read_text().splitlines()]
        # x and y changed, as where labels are in another frame.
        moved = [[*words[:11], words[12], words[11], *words[13:]] for words in lines]
        path.write_text("".join(" ".join(line) + "\n" for line in moved))
    assert "no points in their box" in findings(tmp_path / "one", words)["without_points"]
    behind = "dataset.point_cloud_range=[-40.96, -20.48, -3, 0, 20.48, 1]"
    assert "does the range suit the sensor" in findings(tmp_path / "two", words, behind)["no_points"]


# --- KITTI ---


def test_kittis_layout_trains_scores_and_is_answered_in_its_own_form(tmp_path: Path) -> None:
    words = write_kitti(tmp_path / "data", {"train": 2, "val": 2})
    words += ["dataset.data_split.test=null"]
    run("train", tmp_path, *words, "train.num_epochs=1")
    result = run("evaluate", tmp_path, *words)
    assert result.report["details"]["rules"] == "kitti"
    assert 0 <= result.metrics["kitti_bbox_moderate"] <= 1
    run("inference", tmp_path, *words, "inference.viz_conf_thresh=0.001")
    lines = (tmp_path / "inference" / "labels" / "000002.txt").read_text().splitlines()
    assert all(len(line.split()) == 16 for line in lines)


@pytest.mark.parametrize("kind", ["GeneralPCDataset", "CustomDataset", "KittiDataset"])
def test_converted_data_holds_the_same_frames(kind: str, tmp_path: Path) -> None:
    words = write_kitti(tmp_path / "data", {"train": 2, "val": 1})
    words += ["dataset.data_split.test=null"]
    run("dataset_convert", tmp_path, *words, f"dataset_convert.format={kind}")
    folder = tmp_path / "dataset_convert" / "data"
    again = task_of([f"dataset.type={kind}", f"dataset.data_path={folder}"], "dataset.data_split.test=null")
    for split in ("train", "val"):
        before, after = task_of(words).data.dataset(split), again.data.dataset(split)  # type: ignore[arg-type]
        assert len(before) == len(after)
        for index in range(len(before)):
            one, other = before[index], after[index]
            assert other.points == pytest.approx(one.points)
            assert other.labels.tolist() == one.labels.tolist()
            assert other.boxes == pytest.approx(one.boxes, abs=1e-3)


def test_balanced_frames_give_every_class_the_same_chance() -> None:
    """Ten frames with cars, one of them with a pedestrian too, and two of nothing: (10 + 1) / 2 for each."""
    box = (10.0, 0.0, -1.0, 4.0, 1.6, 1.5, 0.0)
    shown = [("Car",)] * 9 + [("Car", "walker")] + [()] * 2
    records = [
        LidarRecord(Path(f"{number}.bin"), str(number), tuple(Object3d(name, box) for name in names))
        for number, names in enumerate(shown)
    ]
    drawn = [record.name for record in balanced(records, CLASSES, {"walker": "Pedestrian"})]
    assert drawn == [record.name for record in balanced(records, CLASSES, {"walker": "Pedestrian"})]
    assert len(drawn) == 12
    assert drawn.count("9") in (6, 7)
    assert len(set(drawn)) in (6, 7)
    assert not {"10", "11"} & set(drawn)
    assert balanced(records[10:], CLASSES, {}) == records[10:]


def test_only_training_frames_are_resampled(tmp_path: Path) -> None:
    task = task_of([*write_frames(tmp_path), "dataset.balanced_resampling=true"])
    names = [record.name for record in task.data.source.records("train")]
    assert [record.name for record in task.data.dataset("train").records] == names
    drawn = [record.name for record in task.data.dataset("train", augment=True).records]
    assert drawn != names
    assert set(drawn) <= set(names)


def test_the_check_names_copies_points_without_numbers_and_what_is_passed_over(tmp_path: Path) -> None:
    words = write_frames(tmp_path / "data")
    lidar = {split: tmp_path / "data" / split / "lidar" for split in ("train", "val")}
    (lidar["val"] / "000000.bin").write_bytes((lidar["train"] / "000003.bin").read_bytes())
    frame = np.fromfile(lidar["train"] / "000001.bin", "<f4").reshape(-1, 4)
    frame[:7, 2] = np.nan
    (lidar["train"] / "000001.bin").write_bytes(frame.tobytes())
    (lidar["train"] / "more.las").write_bytes(b"LASF")
    result = run("dataset_check", tmp_path / "results", *words)
    found = {finding["code"]: finding for finding in result.report["findings"]}
    copies = found["same_frame_in_splits"]
    assert (copies["level"], copies["groups"]) == (
        "warning",
        [["train: train/lidar/000003.bin", "val: val/lidar/000000.bin"]],
    )
    assert found["not_finite"]["message"].startswith("7 of ")
    assert found["not_finite"]["files"] == ["train/lidar/000001.bin (7)"]
    assert result.report["data"]["train"]["points_left_out"] == 7
    assert found["passed_over"]["files"] == [str(lidar["train"] / "more.las")]


def test_two_frames_of_one_name_are_refused(tmp_path: Path) -> None:
    words = write_frames(tmp_path / "data")
    lidar = tmp_path / "data" / "train" / "lidar"
    np.save(lidar / "000001.npy", np.zeros((3, 4), np.float32))
    with pytest.raises(DatasetError, match=r"000001\.bin and 000001\.npy are two frames of one name"):
        findings(tmp_path / "results", words)


def test_the_bundle_keeps_the_scale_of_the_echoes(tmp_path: Path) -> None:
    words = write_frames(tmp_path / "data")
    run("train", tmp_path, *words, "train.num_epochs=1", "train.max_steps=1", "train.keep=last")
    model = load(run("export", tmp_path, *words).onnx_file)
    assert model.metadata.preprocessing["largest_echo"] == 1.0
    frame = np.fromfile(tmp_path / "data" / "val" / "lidar" / "000000.bin", "<f4").reshape(-1, 4)
    model.predict(frame)
    with pytest.raises(DatasetError, match="echoes are as strong"):
        model.predict(frame * np.float32([1, 1, 1, 255]))
