"""The smallest LiDAR detection that learns something: pillars of 0.64 m, a few thousand weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import tao_like
from tao_like.data.lidar.frame import Calibration
from tao_like.data.lidar.kitti import boxes_to_camera, camera_angles, camera_boxes, lidar_line
from tao_like.samples.lidar_scenes import make_frame

TINY = (
    "dataset.point_cloud_range=[0, -20.48, -3, 40.96, 20.48, 1]",
    "dataset.data_processor=[{name: transform_points_to_voxels, voxel_size: [0.64, 0.64, 4]}]",
    "dataset.class_names=[Car, Pedestrian]",
    "dataset.data_split.test=test",
    "dataset.batch_size=1",
    "dataset.data_augmentor.aug_config_list=[{name: random_world_flip}]",
    "dataset.workers=0",
    "model.norm_momentum=0.1",
    "model.vfe.num_filters=[8]",
    "model.backbone_2d.layer_nums=[1, 1]",
    "model.backbone_2d.layer_strides=[1, 2]",
    "model.backbone_2d.num_filters=[8, 16]",
    "model.backbone_2d.upsample_strides=[1, 2]",
    "model.backbone_2d.num_upsample_filters=[8, 8]",
    "model.dense_head.anchor_generator_config=[{class_name: Car, feature_map_stride: 1}, "
    "{class_name: Pedestrian, anchor_sizes: [[0.8, 0.6, 1.73]], anchor_bottom_heights: [-1.6], "
    "matched_threshold: 0.4, unmatched_threshold: 0.25, feature_map_stride: 1}]",
    "model.post_processing.score_thresh=0.02",
    "model.post_processing.nms_config.nms_post_max_size=30",
    "model.post_processing.nms_config.nms_pre_max_size=200",
    "train.optim.lr=2e-2",
    "train.accelerator=cpu",
    "train.tensorboard.enabled=false",
)
COUNTS = {"train": 8, "val": 3, "test": 3}


def write_frames(folder: Path, counts: Mapping[str, int] = COUNTS) -> list[str]:
    """Writes small frames of each split in TAO's layout, and gives the override that names them."""
    for number, (split, count) in enumerate(counts.items()):
        for part in ("lidar", "label"):
            (folder / split / part).mkdir(parents=True, exist_ok=True)
        for frame in range(count):
            points, objects = make_frame(np.random.default_rng([7, number, frame]))
            (folder / split / "lidar" / f"{frame:06d}.bin").write_bytes(points[::2].tobytes())
            lines = "".join(f"{lidar_line(one.label, one.box, one=one)}\n" for one in objects)
            (folder / split / "label" / f"{frame:06d}.txt").write_text(lines)
    return [f"dataset.data_path={folder}"]


def run(stage: str, results: Path, *overrides: str) -> Any:
    """Runs a stage with the tiny settings; what is given last wins."""
    words = [*TINY, f"results_dir={results}", *overrides]
    return tao_like.run("pointpillars", stage, None, words, quiet=True)


def camera() -> Calibration:
    """A camera above the LiDAR that looks along x."""
    rectified = np.array([[0, -1, 0, 0.06], [0, 0, -1, -0.08], [1, 0, 0, -0.27], [0, 0, 0, 1.0]])
    projection = np.array([[720.0, 0, 620, 45], [0, 720, 175, 0.2], [0, 0, 1, 0.003]])
    return Calibration(projection, rectified, (1242, 375))


def write_kitti(folder: Path, counts: Mapping[str, int] = COUNTS) -> list[str]:
    """Writes small frames in KITTI's layout, and gives the overrides that name them."""
    calibration = camera()
    for part in ("velodyne", "label_2", "calib"):
        (folder / "training" / part).mkdir(parents=True, exist_ok=True)
    (folder / "ImageSets").mkdir(exist_ok=True)
    matrices = {
        "P2": calibration.projection,
        "R0_rect": np.eye(3),
        "Tr_velo_to_cam": calibration.rectified[:3],
    }
    number = 0
    for split, count in counts.items():
        names = [f"{number + place:06d}" for place in range(count)]
        (folder / "ImageSets" / f"{split}.txt").write_text("\n".join(names))
        for name in names:
            points, objects = make_frame(np.random.default_rng([8, number]))
            number += 1
            (folder / "training" / "velodyne" / f"{name}.bin").write_bytes(points.tobytes())
            lines = [f"{key}: {' '.join(map(str, value.ravel()))}\n" for key, value in matrices.items()]
            (folder / "training" / "calib" / f"{name}.txt").write_text("".join(lines))
            boxes = np.array([one.box for one in objects]).reshape(-1, 7)
            values, pixels = boxes_to_camera(boxes, calibration), camera_boxes(boxes, calibration)
            text = ""
            for one, numbers, edges in zip(objects, values, pixels, strict=True):
                alpha = camera_angles(numbers)[0]
                words = " ".join(f"{value:.4f}" for value in (alpha, *edges, *numbers))
                text += f"{one.label} 0.00 0 {words}\n"
            text += "DontCare -1 -1 -10 500 150 540 170 -1 -1 -1 -1000 -1000 -1000 -10\n"
            (folder / "training" / "label_2" / f"{name}.txt").write_text(text)
    return ["dataset.type=KittiDataset", f"dataset.data_path={folder}"]
