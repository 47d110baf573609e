"""Frames of points: read, chosen, cut to the range, or named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tao_like.errors import BundleError, DatasetError
from tao_like.runtime.inputs.points import (
    PointsPreparation,
    chosen_columns,
    point_files,
    prepare_points,
    read_points,
)

KITTI = PointsPreparation((0.0, -40.0, -3.0, 70.0, 40.0, 1.0))
NUSCENES = replace(KITTI, values_per_point=5, intensity_scale=255.0)
FRAME = np.array([[1, 2, 0, 0.5], [80, 0, 0, 0.1], [3, -4, -1, 0.9]], np.float32)


def test_a_frame_is_read_from_both_formats(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(FRAME.astype("<f4").tobytes())
    np.save(tmp_path / "b.npy", FRAME.astype(np.float64))
    for name in ("a.bin", "b.npy"):
        points = read_points(tmp_path / name, KITTI)
        assert points.dtype == np.float32
        assert np.array_equal(points, FRAME)
    assert [path.name for path in point_files(tmp_path)] == ["a.bin", "b.npy"]


def test_columns_are_chosen_and_echoes_scaled(tmp_path: Path) -> None:
    ring = np.array([[1, 2, 3, 51, 7], [4, 5, 6, 255, 8]], np.float32)
    (tmp_path / "sweep.bin").write_bytes(ring.tobytes())
    points = read_points(tmp_path / "sweep.bin", NUSCENES)
    assert points == pytest.approx(np.array([[1, 2, 3, 0.2], [4, 5, 6, 1.0]]))
    swapped = replace(NUSCENES, columns=(1, 0, 2, 3), intensity_scale=1.0)
    assert read_points(tmp_path / "sweep.bin", swapped)[0].tolist() == [2, 1, 3, 51]


def test_what_did_not_come_back_is_left_out_and_what_is_too_far_cut_off() -> None:
    broken = np.concatenate([FRAME, [[np.nan, 0, 0, 0], [1, 1, np.inf, 0]]]).astype(np.float32)
    points = chosen_columns(broken, KITTI, "frame")
    assert np.array_equal(points, FRAME)
    assert np.array_equal(prepare_points(points, KITTI), FRAME[[0, 2]])
    # The lower edge belongs to the range, the upper one to what is behind it.
    edges = np.array([[0, 0, 0, 0], [70, 0, 0, 0]], np.float32)
    assert np.array_equal(prepare_points(edges, KITTI), edges[:1])
    assert prepare_points(edges[1:], KITTI).shape == (0, 4)


def test_bad_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "cut.bin").write_bytes(FRAME.tobytes()[:-3])
    (tmp_path / "empty.bin").write_bytes(b"")
    (tmp_path / "other.bin").write_bytes(np.full(8, 3e20, "<f4").tobytes())
    np.save(tmp_path / "flat.npy", np.zeros(7))
    np.save(tmp_path / "objects.npy", np.array([{}, {}], object), allow_pickle=True)
    np.save(tmp_path / "nothing.npy", np.full((3, 4), np.nan))
    for name in ("cut.bin", "empty.bin", "other.bin", "flat.npy", "objects.npy", "nothing.npy", "none.bin"):
        with pytest.raises(DatasetError, match=name):
            read_points(tmp_path / name, KITTI)


def test_a_preparation_comes_back_from_json_or_is_refused() -> None:
    values = NUSCENES.to_dict()
    assert PointsPreparation.from_dict(values) == NUSCENES
    for key, wrong, words in (
        ("point_cloud_range", [0, 0, 0, 0, 1, 1], "point_cloud_range"),
        ("point_cloud_range", "far", "lists"),
        ("columns", [0, 1, 2, 5], "columns"),
        ("intensity_scale", 0.0, "intensity_scale"),
        ("intensity_scale", None, "numbers"),
    ):
        with pytest.raises(BundleError, match=words):
            PointsPreparation.from_dict({**values, key: wrong})
    with pytest.raises(BundleError, match="adds the keys height"):
        PointsPreparation.from_dict({**values, "height": 3})
