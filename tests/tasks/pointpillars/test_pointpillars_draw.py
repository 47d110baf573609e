"""Images of frames: boxes and points where they belong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from tiny_pointpillars import TINY, camera, write_kitti

from tao_like.config import load_spec
from tao_like.data.lidar.kitti import camera_boxes
from tao_like.runtime.predictions.detections import Detections
from tao_like.tasks.common.boxes.box_predictions import DrawnBox
from tao_like.tasks.pointpillars.draw import LONGEST_SIDE, draw_frame, draw_on_camera
from tao_like.tasks.pointpillars.spec import Spec
from tao_like.tasks.pointpillars.task import PointPillarsTask

LIMITS = (0.0, -20.0, -3.0, 40.0, 20.0, 1.0)
RED = "#ff0000"
CAR = (20.0, 5.0, -1.0, 4.0, 1.6, 1.5, 0.0)


def red(image: Image.Image) -> tuple[int, int, int, int]:
    """First and last column and row with red in them."""
    values = np.asarray(image.convert("RGB")).astype(int)
    rows, columns = np.nonzero((values[..., 0] > 200) & (values[..., 1] < 60))
    return int(columns.min()), int(columns.max()), int(rows.min()), int(rows.max())


def test_x_points_up_and_y_to_the_left() -> None:
    image = draw_frame(np.array([[39, -19, 0, 1]], np.float32), LIMITS, [DrawnBox(CAR, "", RED)])
    assert image.size == (LONGEST_SIDE, LONGEST_SIDE)
    scale = LONGEST_SIDE / 40
    left, right, top, bottom = red(image)
    assert abs(left - (20 - 5.8) * scale) < 3
    assert abs(right - (20 - 4.2) * scale) < 3
    assert abs(top - (40 - 22) * scale) < 3
    assert abs(bottom - (40 - 18) * scale) < 3
    # The point, far ahead and to the right.
    assert max(image.getpixel((int(39 * scale), int(1 * scale)))) > 100  # type: ignore[arg-type]


def test_a_box_on_the_cameras_image_fills_its_2d_box() -> None:
    image = draw_on_camera(Image.new("RGB", (1242, 375)), camera(), [DrawnBox(CAR, "", RED)])
    (edges,) = camera_boxes([CAR], camera())
    left, right, top, bottom = red(image)
    assert np.abs(np.array([left, top, right, bottom]) - edges).max() < 3
    behind = (-20.0, *CAR[1:])
    assert (
        not np.asarray(draw_on_camera(image.copy(), camera(), [], [behind])).sum() - np.asarray(image).sum()
    )


def test_where_there_is_a_photo_it_stands_above(tmp_path: Path) -> None:
    words = write_kitti(tmp_path, {"train": 1})
    task = PointPillarsTask(load_spec(Spec, None, [*TINY, *words]).spec)
    nothing = Detections(np.empty((0, 7), np.float32), np.empty(0, np.float32), np.empty(0, np.int64))
    plain = task.predictions.draw(task.data.dataset("train").sample(0), nothing)
    (tmp_path / "training" / "image_2").mkdir()
    Image.new("RGB", (1242, 375), "navy").save(tmp_path / "training" / "image_2" / "000000.png")
    task = PointPillarsTask(task.spec)
    both = task.predictions.draw(task.data.dataset("train").sample(0), nothing)
    assert both.width == plain.width
    assert both.height == plain.height + round(375 * plain.width / 1242)
