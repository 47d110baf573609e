"""LiDAR data: KITTI's frames and the LiDAR's, three layouts, and the scenes that the project makes."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from tiny_pointpillars import camera, write_frames, write_kitti

from tao_like.data.lidar.frame import IGNORED_LABEL, frame_objects, points_of
from tao_like.data.lidar.kitti import (
    boxes_to_camera,
    boxes_to_lidar,
    camera_angles,
    camera_boxes,
    kitti_lines,
    label_lines,
    read_calibration,
    read_lidar_labels,
)
from tao_like.data.lidar.sources import LidarSource, read_custom, read_general, read_kitti
from tao_like.errors import DatasetError
from tao_like.runtime.geometry.boxes3d import points_inside
from tao_like.runtime.inputs.points import PointsPreprocessing, read_points
from tao_like.samples.lidar_scenes import GROUND, make_frame, write_lidar_scenes

PREPROCESSING = PointsPreprocessing((0.0, -40.0, -3.0, 70.0, 40.0, 1.0))


def test_a_box_of_the_camera_by_hand() -> None:
    """1.5 m high, its underside 1.65 m below a camera that looks along x and hangs 0.08 m above the LiDAR."""
    (box,) = boxes_to_lidar([[1.5, 1.6, 4.0, 2.0, 1.65, 10.0, -math.pi / 2]], camera())
    # x forward 10 + 0.27, y left -(2 - 0.06), z up -(1.65 + 0.08) + half the height; heading along x.
    assert box == pytest.approx([10.27, -1.94, -0.98, 4.0, 1.6, 1.5, 0.0], abs=1e-9)


def test_boxes_come_back_from_the_camera() -> None:
    random = np.random.default_rng(0)
    boxes = random.uniform([5, -20, -2, 0.5, 0.5, 1, -math.pi], [60, 20, 0, 5, 3, 2, math.pi], (50, 7))
    again = boxes_to_lidar(boxes_to_camera(boxes, camera()), camera())
    assert again == pytest.approx(boxes, abs=1e-9)


def test_a_point_ahead_is_in_the_middle_of_the_image_and_one_behind_is_not_seen() -> None:
    calibration = camera()
    (pixel,) = calibration.to_pixels([[0.0, 0.0, 20.0]])
    assert pixel == pytest.approx([(620 * 20 + 45) / 20.003, (175 * 20 + 0.2) / 20.003, 20.003])
    seen = calibration.is_seen([[20, 0, 0], [-20, 0, 0], [20, 30, 0]])
    assert seen.tolist() == [True, False, False]
    inner, behind = camera_boxes([[20, 0, -1, 4, 1.6, 1.5, 0], [-20, 0, -1, 4, 1.6, 1.5, 0]], calibration)
    assert 550 < inner[0] < 620 < inner[2] < 690
    # 1.5 m at 17.7 m, the nearest face: 720 * 1.5 / 17.73.
    assert inner[3] - inner[1] == pytest.approx(720 * 1.5 / 17.73, rel=0.06)
    assert behind.tolist() == [0] * 4


def test_alpha_is_the_turn_seen_along_the_ray() -> None:
    # 45 degrees to the right of the camera, so that rotation_y = alpha + 45 degrees.
    assert camera_angles([[1.5, 1.6, 4, 10, 1.6, 10, 1.0]])[0] == pytest.approx(1.0 - math.pi / 4)


def test_results_are_lines_that_kitti_takes(tmp_path: Path) -> None:
    boxes = [[20, 2, -1, 4, 1.6, 1.5, 0.3]]
    (line,) = kitti_lines(["Car"], boxes, [0.75], camera())
    (tmp_path / "result.txt").write_text(line)
    ((label, values),) = label_lines(tmp_path / "result.txt")
    assert (label, len(values), values[-1]) == ("Car", 15, 0.75)
    assert boxes_to_lidar([values[7:14]], camera())[0] == pytest.approx(boxes[0], abs=1e-3)


# --- layouts ---


def test_taos_layout_has_boxes_in_the_lidars_frame(tmp_path: Path) -> None:
    write_frames(tmp_path, {"train": 2})
    label = tmp_path / "train" / "label" / "000000.txt"
    label.write_text(
        "Car 0.1 1 0.5 1 2 3 4 1.5 1.6 4.0 10 5 -1 0.3\nDontCare 0 0 0 0 0 0 0 1 1 1 0 0 0 0\n\n"
    )
    (tmp_path / "train" / "label" / "000001.txt").write_text("")
    first, second = read_general(LidarSource(tmp_path), "train")
    (one,) = first.objects
    assert (one.label, one.truncated, one.occluded, one.alpha, one.bbox) == ("Car", 0.1, 1, 0.5, (1, 2, 3, 4))
    assert one.box == (10, 5, -1, 4.0, 1.6, 1.5, 0.3)
    assert second.objects == ()
    assert first.name == "train/lidar/000000.bin"


def test_kittis_layout_is_read_in_the_order_of_its_lists_and_cropped(tmp_path: Path) -> None:
    write_kitti(tmp_path, {"train": 3, "val": 2})
    (tmp_path / "ImageSets" / "train.txt").write_text("000002\n000000\n")
    records = read_kitti(LidarSource(tmp_path), "train")
    assert [record.path.stem for record in records] == ["000002", "000000"]
    record = records[0]
    assert record.ignored_boxes == ((500, 150, 540, 170),)
    points = read_points(record.path, PREPROCESSING)
    seen = points_of(record, points)
    assert 0 < len(seen) < len(points)
    # Labels are where the points are: every object was seen by five at least.
    boxes = frame_objects(record.objects, ["Car"], {}).boxes
    assert (points_inside(points, boxes).sum(axis=1) >= 5).all()
    whole = read_kitti(LidarSource(tmp_path, crop=False), "train")[0]
    assert len(points_of(whole, points)) == len(points)


def test_openpcdets_layout(tmp_path: Path) -> None:
    for part in ("points", "labels", "ImageSets"):
        (tmp_path / part).mkdir()
    np.save(tmp_path / "points" / "a.npy", np.ones((5, 4), np.float32))
    (tmp_path / "labels" / "a.txt").write_text("1 2 3 4 5 6 0.5 Car\n")
    (tmp_path / "ImageSets" / "train.txt").write_text("a\n")
    (record,) = read_custom(LidarSource(tmp_path), "train")
    assert record.objects[0].box == (1, 2, 3, 4, 5, 6, 0.5)
    (tmp_path / "labels" / "a.txt").write_text("1 2 3 4 5 6 Car\n")
    with pytest.raises(DatasetError, match=r"a\.txt:1.*x y z dx dy dz yaw"):
        read_custom(LidarSource(tmp_path), "train")


def test_labels_are_classes_by_name_and_by_another_name() -> None:
    _, objects = make_frame(np.random.default_rng(4))
    arrays = frame_objects(objects, ["Car", "Pedestrian"], {"Cyclist": "Pedestrian"})
    wanted = [{"Car": 0, "Pedestrian": 1, "Cyclist": 1}[one.label] for one in objects]
    assert arrays.labels.tolist() == wanted
    none = frame_objects(objects, ["Tram"], {})
    assert (none.labels == IGNORED_LABEL).all()
    assert not none.learnt.any()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("Car 0 0 0 1 2 3 4 1.5 1.6 4.0 10 5 -1", "14 values"),
        ("Car 0 0 0 1 2 3 4 1.5 wide 4.0 10 5 -1 0.3", "'wide'"),
        ("Car 0 0 0 1 2 3 4 1.5 nan 4.0 10 5 -1 0.3", "finite"),
    ],
)
def test_a_damaged_label_is_named_with_its_line(line: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "000007.txt"
    path.write_text(f"Car 0 0 0 1 2 3 4 1.5 1.6 4.0 10 5 -1 0.3\n{line}\n")
    with pytest.raises(DatasetError, match=rf"000007\.txt:2.*{words}"):
        read_lidar_labels(path)


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    write_kitti(tmp_path, {"train": 2})
    source = LidarSource(tmp_path)
    (tmp_path / "ImageSets" / "val.txt").write_text("000000\n000009\n")
    with pytest.raises(DatasetError, match=r"1 frames of the list are not there.*\n.*000009"):
        read_kitti(source, "val")
    (tmp_path / "training" / "calib" / "000001.txt").write_text("P2: 1 2 3\n")
    with pytest.raises(DatasetError, match=r"000001\.txt: P2"):
        read_kitti(source, "train")
    (tmp_path / "training" / "label_2" / "000001.txt").unlink()
    with pytest.raises(DatasetError, match="1 frames have no label file"):
        read_kitti(source, "train")
    with pytest.raises(DatasetError, match=r"dataset\.data_path.*lidar.*dataset\.type"):
        read_general(source, "train")
    with pytest.raises(DatasetError, match="P2 is missing"):
        read_calibration(tmp_path / "ImageSets" / "train.txt", (10, 10))


# --- the sample ---


def test_scenes_are_what_a_sensor_would_see(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tao_like.samples.lidar_scenes.COUNTS", {"train": 3, "val": 1})
    write_lidar_scenes(tmp_path / "one", 5)
    write_lidar_scenes(tmp_path / "two", 5)
    frames = read_general(LidarSource(tmp_path / "one"), "train")
    for record in frames:
        again = tmp_path / "two" / record.name
        assert record.path.read_bytes() == again.read_bytes()
        points = read_points(record.path, PREPROCESSING)
        away = np.linalg.norm(points[:, :3], axis=1)
        assert 3000 < len(points) < 12000
        assert away.min() > 3
        assert ((points[:, 3] >= 0) & (points[:, 3] <= 1)).all()
        boxes = frame_objects(record.objects, ["Car"], {}).boxes
        assert (points_inside(points, boxes).sum(axis=1) >= 5).all()
        # Objects stand on the road.
        assert boxes[:, 2] - boxes[:, 5] / 2 == pytest.approx(GROUND, abs=0.6)
        assert not (np.abs(points[:, 2] - GROUND) < 0.2).all()


def test_near_things_hide_far_ones() -> None:
    """No ray comes back twice: echoes of one direction are one."""
    points, _ = make_frame(np.random.default_rng(3))
    turn = np.round(np.rad2deg(np.arctan2(points[:, 1], points[:, 0])) / 0.35 * 2)
    rise = np.round(np.rad2deg(np.arcsin(points[:, 2] / np.linalg.norm(points[:, :3], axis=1))) * 10)
    assert len(np.unique(np.stack([turn, rise]), axis=1).T) > 0.99 * len(points)
