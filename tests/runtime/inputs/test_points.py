"""Frames of points: read, chosen, cut to the range, or named."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tao_like.errors import BundleError, DatasetError
from tao_like.runtime.inputs.points import (
    PointsPreprocessing,
    WrongEchoes,
    chosen_columns,
    other_period,
    point_files,
    preprocess_points,
    read_frame,
    read_points,
)

KITTI = PointsPreprocessing((0.0, -40.0, -3.0, 70.0, 40.0, 1.0))
NUSCENES = replace(KITTI, values_per_point=5, intensity_scale=255.0, largest_echo=1.0)
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
    swapped = replace(NUSCENES, columns=(1, 0, 2, 3), intensity_scale=1.0, largest_echo=255.0)
    assert read_points(tmp_path / "sweep.bin", swapped)[0].tolist() == [2, 1, 3, 51]


def test_what_did_not_come_back_is_left_out_and_what_is_too_far_cut_off() -> None:
    broken = np.concatenate([FRAME, [[np.nan, 0, 0, 0], [1, 1, np.inf, 0]]]).astype(np.float32)
    points = chosen_columns(broken, KITTI, "frame")
    assert np.array_equal(points, FRAME)
    assert np.array_equal(preprocess_points(points, KITTI), FRAME[[0, 2]])
    # The lower edge belongs to the range, the upper one to what is behind it.
    edges = np.array([[0, 0, 0, 0], [70, 0, 0, 0]], np.float32)
    assert np.array_equal(preprocess_points(edges, KITTI), edges[:1])
    assert preprocess_points(edges[1:], KITTI).shape == (0, 4)


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


def test_an_empty_file_is_called_so(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"")
    with pytest.raises(DatasetError, match=r"a\.bin: the file is empty \(0 bytes\)"):
        read_points(tmp_path / "a.bin", KITTI)


def test_a_preprocessing_comes_back_from_json_or_is_refused() -> None:
    values = NUSCENES.to_dict()
    assert PointsPreprocessing.from_dict(values) == NUSCENES
    for key, wrong, words in (
        ("point_cloud_range", [0, 0, 0, 0, 1, 1], "point_cloud_range"),
        ("point_cloud_range", "far", "lists"),
        ("columns", [0, 1, 2, 5], "columns"),
        ("intensity_scale", 0.0, "intensity_scale"),
        ("intensity_scale", None, "numbers"),
    ):
        with pytest.raises(BundleError, match=words):
            PointsPreprocessing.from_dict({**values, key: wrong})
    with pytest.raises(BundleError, match="adds the keys height"):
        PointsPreprocessing.from_dict({**values, "height": 3})


PCD_HEAD = """# .PCD v0.7 - Point Cloud Data file format
VERSION 0.7
FIELDS x y z ring intensity
SIZE 4 4 4 2 4
TYPE F F F U F
COUNT 1 1 1 1 1
WIDTH 3
HEIGHT 1
VIEWPOINT 0 0 0 1 0 0 0
POINTS 3
DATA """
RINGS = (7, 8, 9)


def pcd_rows() -> bytes:
    """The points of FRAME with a ring between z and the echo, as they stand in a binary file."""
    return b"".join(
        struct.pack("<3fHf", *point[:3].tolist(), ring, float(point[3]))
        for point, ring in zip(FRAME, RINGS, strict=True)
    )


def pcd_columns() -> bytes:
    """The same, each field on its own, as before compression."""
    columns = [FRAME[:, column].astype("<f4").tobytes() for column in range(3)]
    return b"".join([*columns, struct.pack("<3H", *RINGS), FRAME[:, 3].astype("<f4").tobytes()])


def literals(data: bytes) -> bytes:
    """LZF without any copies: runs of at most 32 bytes, each with its length less one in front."""
    runs = [data[start : start + 32] for start in range(0, len(data), 32)]
    return b"".join(bytes([len(run) - 1]) + run for run in runs)


def write_pcd(path: Path, form: str, body: bytes) -> Path:
    path.write_bytes(f"{PCD_HEAD}{form}\n".encode() + body)
    return path


def test_pcd_in_its_three_forms(tmp_path: Path) -> None:
    text = "".join(f"{p[0]} {p[1]} {p[2]} {r} {p[3]}\n" for p, r in zip(FRAME, RINGS, strict=True))
    packed = literals(pcd_columns())
    sizes = struct.pack("<II", len(packed), len(pcd_columns()))
    for number, (form, body) in enumerate(
        [("ascii", text.encode()), ("binary", pcd_rows()), ("binary_compressed", sizes + packed)]
    ):
        path = write_pcd(tmp_path / f"{number}.pcd", form, body)
        # The preprocessing of a sensor with five numbers does not count: the header names them.
        for preprocessing in (KITTI, replace(NUSCENES, intensity_scale=1.0)):
            assert np.array_equal(read_points(path, preprocessing), FRAME)
    assert len(point_files(tmp_path)) == 3
    for form, body in (
        ("binary", pcd_rows()[:-1]),
        ("ascii", b"1 2 3\n"),
        ("binary_compressed", sizes + packed[:9]),
    ):
        with pytest.raises(DatasetError, match=r"cut\.pcd.*(cut off|damaged)"):
            read_points(write_pcd(tmp_path / "cut.pcd", form, body), KITTI)


def test_copies_in_a_compressed_pcd_by_hand(tmp_path: Path) -> None:
    # Ten points whose numbers are all zero, of one field: 4 * 10 bytes. One zero as it is (0, 0), then a
    # copy of 39 bytes from one byte back: length less two is 37, in three bits 7 and 30 more, and 0 back.
    head = "VERSION .7\nFIELDS x y z intensity\nSIZE 4 4 4 4\nTYPE F F F F\nWIDTH 10\nHEIGHT 1\nDATA "
    packed = bytes([0, 0, (7 << 5), 37 - 7, 0])
    # The copy of 16 x 10 bytes takes more than one: 160 = 1 + 39 + 60 + 60, where 60 - 2 = 7 + 51.
    packed += bytes([(7 << 5), 51, 0]) * 2
    body = struct.pack("<II", len(packed), 160) + packed
    (tmp_path / "a.pcd").write_bytes(f"{head}binary_compressed\n".encode() + body)
    assert read_points(tmp_path / "a.pcd", KITTI).tolist() == [[0, 0, 0, 0]] * 10
    # A copy from before the beginning is damage.
    (tmp_path / "b.pcd").write_bytes(f"{head}binary_compressed\n".encode() + body[:10] + bytes([255]) * 5)
    with pytest.raises(DatasetError, match=r"b\.pcd"):
        read_points(tmp_path / "b.pcd", KITTI)


@pytest.mark.parametrize("form", ["ascii", "binary_little_endian", "binary_big_endian"])
def test_ply_in_its_three_forms(tmp_path: Path, form: str) -> None:
    head = (
        f"ply\nformat {form} 1.0\ncomment by hand\nelement vertex 3\nproperty double x\nproperty double y\n"
        "property double z\nproperty uchar red\nproperty float scalar_Intensity\nelement face 1\n"
        "property list uchar int vertex_indices\nend_header\n"
    )
    if form == "ascii":
        body = "".join(f"{p[0]} {p[1]} {p[2]} 5 {p[3]}\n" for p in FRAME).encode() + b"3 0 1 2\n"
    else:
        order = "<" if "little" in form else ">"
        body = b"".join(struct.pack(f"{order}3dBf", *p[:3].tolist(), 5, float(p[3])) for p in FRAME)
        body += struct.pack(f"{order}B3i", 3, 0, 1, 2)
    (tmp_path / "a.ply").write_bytes(head.encode() + body)
    assert np.array_equal(read_points(tmp_path / "a.ply", KITTI), FRAME)
    (tmp_path / "b.ply").write_bytes(head.replace("scalar_Intensity", "nx").encode() + body)
    with pytest.raises(DatasetError, match=r"b\.ply.*strength of the echo"):
        read_points(tmp_path / "b.ply", KITTI)


PLY = "ply\nformat ascii 1.0\nelement vertex 1\nproperty float x\nproperty float y\nproperty float z\n"
FIELDS = "VERSION .7\nFIELDS x y z intensity\nSIZE 4 4 4 4\nTYPE F F F F\n"


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.pcd", b"VERSION .7\n", "a.pcd"),
        ("a.pcd", f"{FIELDS}WIDTH 1\nHEIGHT 1\nDATA zipped\n".encode(), "DATA zipped is not read"),
        ("a.pcd", f"{FIELDS}WIDTH -1\nHEIGHT 1\nDATA ascii\n".encode(), "no number of points"),
        ("a.pcd", f"{FIELDS}WIDTH 99999999999\nHEIGHT 1\nDATA binary\n".encode(), "promises 99999999999"),
        ("a.pcd", f"{FIELDS}WIDTH 1\nHEIGHT 1\nDATA binary_compressed\n1234".encode(), "cut off"),
        (
            "a.pcd",
            f"{FIELDS}WIDTH 1\nHEIGHT 1\nDATA ascii\n1 2 three 4\n".encode(),
            "something that is no number",
        ),
        (
            "a.pcd",
            FIELDS.replace("z", "t").encode() + b"WIDTH 1\nHEIGHT 1\nDATA ascii\n1 2 3 4\n",
            "has no z among",
        ),
        ("a.ply", b"plx\n", "no PLY header"),
        ("a.ply", PLY.encode(), "no PLY header"),
        ("a.ply", PLY.replace("float x", "list uchar int x").encode() + b"end_header\n", "have a list, x"),
        (
            "a.ply",
            PLY.replace("element vertex", "element face 2\nelement vertex").encode() + b"end_header\n",
            "face stands before vertex",
        ),
        ("a.ply", PLY.replace("float x", "real x").encode() + b"end_header\n", "PLY header is damaged"),
        ("a.ply", PLY.replace("vertex 1", "vertex many").encode() + b"end_header\n", "PLY header is damaged"),
        ("a.ply", b"ply\nformat ascii 1.0\nend_header\n", "no number of points"),
        ("a.ply", PLY.encode() + b"end_header\n1 2 3\n", "strength of the echo"),
    ],
)
def test_headers_that_are_damaged_are_named(name: str, content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DatasetError, match=words) as caught:
        read_points(tmp_path / name, KITTI)
    assert str(tmp_path / name) in str(caught.value)


def test_what_is_not_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.las").write_bytes(b"LASF" + bytes(300))
    with pytest.raises(DatasetError, match=r"1 \.las.*convert"):
        point_files(tmp_path)
    with pytest.raises(DatasetError, match=r"a\.las: \.las is not read.*pdal"):
        read_points(tmp_path / "a.las", KITTI)
    (tmp_path / "b.bin").write_bytes(b"LASF" + bytes(300))
    with pytest.raises(DatasetError, match=r"b\.bin: it is a LAS file"):
        read_points(tmp_path / "b.bin", KITTI)
    # Text whose length divides by 16 would be read as numbers, each of four letters.
    (tmp_path / "c.bin").write_text("0.1 0.2 0.3 0.4\n" * 100)
    with pytest.raises(DatasetError, match=r"c\.bin: it is text.*np\.loadtxt"):
        read_points(tmp_path / "c.bin", KITTI)


def sweep(count: int) -> np.ndarray:
    """Points as a sensor sees them: x ahead, y to both sides, z near the ground, echoes from 0 to 1."""
    draw = np.random.default_rng(3)
    return np.stack(
        [
            draw.uniform(2, 60, count),
            draw.normal(0, 12, count),
            draw.normal(-1.5, 0.4, count),
            draw.random(count),
        ],
        axis=1,
    ).astype(np.float32)


def test_points_of_another_length_are_refused(tmp_path: Path) -> None:
    points = sweep(2000)
    ring = np.arange(2000, dtype=np.float32)[:, None] % 32
    five = np.concatenate([points[:, :3], points[:, 3:] * 255, ring], axis=1)
    for columns, values in (
        (3, points[:, :3]),
        (4, points),
        (5, five),
        (6, np.concatenate([five, ring], axis=1)),
    ):
        numbers = np.ascontiguousarray(values).ravel()
        assert other_period(numbers, columns) is None
        for expected in (4, 5):
            if expected != columns:
                assert other_period(numbers[: 840 * (len(numbers) // 840)], expected) == columns
    # 2000 points of five numbers are 2500 of four.
    (tmp_path / "five.bin").write_bytes(five.tobytes())
    with pytest.raises(DatasetError, match=r"five\.bin.*a point has 5 numbers.*src_feature_list"):
        read_points(tmp_path / "five.bin", KITTI)
    assert len(read_points(tmp_path / "five.bin", NUSCENES)) == 2000
    # Noise has no columns, and nothing is said.
    assert other_period(np.random.default_rng(0).random(8400).astype(np.float32), 4) is None


def test_echoes_on_another_scale_are_refused() -> None:
    known = replace(KITTI, largest_echo=1.0)
    points = sweep(500)
    bytes_ = points * (1, 1, 1, 255)
    assert len(chosen_columns(points, known, "a")) == 500
    with pytest.raises(WrongEchoes, match=r"a: its echoes are as strong as 24\d.*0 to 1.*intensity_scale"):
        chosen_columns(bytes_, known, "a")
    assert chosen_columns(bytes_, replace(known, largest_echo=255.0), "a")[:, 3].max() > 200
    scaled = replace(known, intensity_scale=255.0)
    assert chosen_columns(bytes_, scaled, "a")[:, 3] == pytest.approx(points[:, 3], abs=1e-6)
    with pytest.raises(WrongEchoes, match="Multiply them by 255"):
        chosen_columns(points, scaled, "a")
    # A few mirrors are no other scale.
    mirrors = points.copy()
    mirrors[:5, 3] = 90
    assert len(chosen_columns(mirrors, known, "a")) == 500
    # Files of earlier releases say nothing of the training, so it is a warning.
    with pytest.warns(UserWarning, match=r"as strong as 24\d"):
        chosen_columns(bytes_, KITTI, "a")


def test_points_that_are_left_out_are_counted(tmp_path: Path) -> None:
    broken = np.concatenate([FRAME, [[np.nan, 0, 0, 0], [1, 1, np.inf, 0]]]).astype(np.float32)
    np.save(tmp_path / "a.npy", broken)
    frame = read_frame(tmp_path / "a.npy", KITTI)
    assert (len(frame.points), frame.left_out) == (3, 2)


def test_files_of_earlier_releases_have_no_largest_echo() -> None:
    assert "largest_echo" not in KITTI.to_dict()
    assert PointsPreprocessing.from_dict(KITTI.to_dict()) == KITTI
    with pytest.raises(BundleError, match="largest_echo"):
        PointsPreprocessing.from_dict({**KITTI.to_dict(), "largest_echo": "much"})
