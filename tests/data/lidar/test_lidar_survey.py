"""`init` of pointpillars recognises each layout, and writes a spec that trains."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from tiny_pointpillars import run, write_frames, write_kitti

import tao_like
from tao_like.bundle import read_bundle
from tao_like.cli.main import cli
from tao_like.config import load_spec
from tao_like.data.lidar.sources import LidarSource, read_general
from tao_like.data.lidar.survey import survey_frames
from tao_like.errors import DatasetError, SpecError
from tao_like.samples.lidar_scenes import GROUND
from tao_like.tasks.pointpillars.init import write_spec
from tao_like.tasks.pointpillars.spec import Spec
from tao_like.tasks.pointpillars.task import PointPillarsTask

BOX = "{} 0 0 0 0 0 0 0 {} {} {} {} {} {} 0.5\n"
"""A line of TAO's label files: height, width, length, x, y, z."""
ONE_STEP = ("train.max_steps=1", "train.accelerator=cpu", "train.tensorboard.enabled=false")


def init(folder: Path, target: Path, *words: str) -> str:
    """What `tao-like pointpillars init` says."""
    done = CliRunner().invoke(cli, ["pointpillars", "init", str(folder), "-o", str(target), *words])
    assert done.exit_code == 0, done.output
    return done.output


def write_by_hand(folder: Path, values: int = 4, *, echo: float = 0.5, frames: int = 4) -> None:
    """Frames of the same three buses and one parcel, in one folder that is not divided."""
    for part in ("lidar", "label"):
        (folder / part).mkdir(parents=True)
    lines = [BOX.format("bus", 3.0, 2.5, 12.0, x, y, 0.5) for x, y in ((30, -10), (60, 4), (20, 20))]
    lines += [BOX.format("parcel", 0.5, 0.4, 0.6, 12, -2, -0.75), BOX.format("DontCare", -1, -1, -1, 0, 0, 0)]
    points = np.random.default_rng(0).uniform(-1, 50, (200, values)).astype("<f4")
    points[:, 3] = np.linspace(0, echo, 200)
    for number in range(frames):
        (folder / "label" / f"{number}.txt").write_text("".join(lines))
        # 199 and 200 points: with one length, other numbers of values might fit as well.
        (folder / "lidar" / f"{number}.bin").write_bytes(points[number % 2 :].tobytes())


def test_the_sample_scenes_in_tao_s_layout(tmp_path: Path) -> None:
    write_frames(tmp_path / "scenes", {"train": 20, "val": 3, "test": 2})
    said = init(tmp_path / "scenes", tmp_path / "s.yaml")
    assert "GeneralPCDataset: 25 frames (train 20, val 3, test 2)" in said
    spec = load_spec(Spec, tmp_path / "s.yaml").spec
    assert set(spec.dataset.class_names) == {"Car", "Pedestrian", "Cyclist"}
    split = spec.dataset.data_split
    assert (split.train, split.val, split.test) == ("train", "val", "test")
    records = read_general(LidarSource(tmp_path / "scenes"), "train")
    boxes = np.array([one.box for record in records for one in record.objects])
    for anchor in spec.model.dense_head.anchor_generator_config:
        own = [one.box for record in records for one in record.objects if one.label == anchor.class_name]
        assert anchor.anchor_sizes[0] == pytest.approx(np.median(own, axis=0)[3:6], abs=0.01)
        # Objects stand on a road 1.73 m below the sensor that rises and falls a little.
        assert anchor.anchor_bottom_heights[0] == pytest.approx(GROUND, abs=0.3)
    low, high = np.split(np.array(spec.dataset.point_cloud_range), 2)
    inside = ((boxes[:, :3] >= low) & (boxes[:, :3] < high)).all(axis=1)
    assert inside.mean() > 0.98
    assert low[1] == -high[1]
    task = PointPillarsTask(spec)
    report = task.data.check(full=True)
    assert not [one for one in report.findings if one.code in ("anchor_size", "anchor_height", "no_points")]


def test_a_kitti_folder_without_lists_trains_and_exports(tmp_path: Path) -> None:
    write_kitti(tmp_path / "kitti", {"all": 6})
    shutil.rmtree(tmp_path / "kitti" / "ImageSets")
    said = init(tmp_path / "kitti" / "training", tmp_path / "k.yaml")
    assert "KittiDataset: 6 frames (train 6)" in said
    assert "Few boxes" in said
    words = [*ONE_STEP, f"results_dir={tmp_path / 'results'}", "dataset.workers=0", "dataset.batch_size=1"]
    trained = tao_like.run("pointpillars", "train", tmp_path / "k.yaml", words, quiet=True)
    bundle = read_bundle(trained.bundle)
    assert "DontCare" not in bundle.classes
    assert bundle.split is not None
    names = [f"training/velodyne/{number:06d}.bin" for number in range(6)]
    assert (bundle.split["train"], bundle.split["val"]) == (names[:5], names[5:])
    tao_like.run("pointpillars", "export", tmp_path / "k.yaml", words, quiet=True)


def test_kitti_s_lists_count_where_their_frames_are_there(tmp_path: Path) -> None:
    write_kitti(tmp_path, {"train": 3, "val": 2})
    (tmp_path / "ImageSets" / "trainval.txt").write_text("000000\n")
    (tmp_path / "ImageSets" / "test.txt").write_text("000000\n007517\n")
    found = survey_frames(tmp_path)
    assert (found.layout, dict(found.frames)) == ("KittiDataset", {"train": 3, "val": 2})
    (tmp_path / "ImageSets" / "train.txt").write_text("900000\n")
    with pytest.raises(DatasetError, match=r"ImageSets has no list of training frames.*take ImageSets away"):
        survey_frames(tmp_path)


def test_openpcdet_s_layout(tmp_path: Path) -> None:
    write_frames(tmp_path / "scenes", {"train": 4, "val": 2})
    words = [f"dataset.data_path={tmp_path / 'scenes'}", "dataset.data_split.test=null"]
    run("dataset_convert", tmp_path, *words, "dataset_convert.format=CustomDataset")
    found = survey_frames(tmp_path / "dataset_convert" / "data")
    assert (found.layout, dict(found.parts)) == ("CustomDataset", {"train": "train", "val": "val"})
    # Frames of both splits were called 000000: none may have taken the place of another.
    whole = survey_frames(tmp_path / "scenes")
    assert {name: one.count for name, one in found.classes.items()} == {
        name: one.count for name, one in whole.classes.items()
    }
    assert (found.values_per_point, found.points) == (4, whole.points)


def test_one_folder_of_long_objects_five_numbers_a_point_and_bytes(tmp_path: Path) -> None:
    write_by_hand(tmp_path / "mine", 5, echo=254)
    said = init(tmp_path / "mine", tmp_path / "m.yaml")
    assert "bus 12 (12.0 x 2.5 x 3.0 m), parcel 4 (0.6 x 0.4 x 0.5 m)" in said
    spec = load_spec(Spec, tmp_path / "m.yaml").spec
    assert spec.dataset.class_names == ["bus", "parcel"]
    bus, parcel = spec.model.dense_head.anchor_generator_config
    assert (bus.anchor_sizes, bus.anchor_bottom_heights) == ([[12.0, 2.5, 3.0]], [-1.0])
    assert (parcel.anchor_sizes, parcel.anchor_bottom_heights) == ([[0.6, 0.4, 0.5]], [-1.0])
    assert parcel.matched_threshold < bus.matched_threshold
    encoding = spec.dataset.point_feature_encoding
    assert encoding.src_feature_list == ["x", "y", "z", "intensity", "ring"]
    assert encoding.intensity_scale == 255
    assert len(spec.model.backbone_2d.layer_nums) == 3
    low_x, low_y, low_z, high_x, high_y, high_z = spec.dataset.point_cloud_range
    assert low_x == 0
    assert high_x >= 66
    assert -low_y == high_y >= 26
    assert low_z <= -1.5
    assert high_z >= 2.5
    task = PointPillarsTask(spec)
    assert (task.data.count("train"), task.data.count("val")) == (3, 1)
    assert len(task.data.dataset("train")[0].boxes) == 4


@pytest.mark.parametrize(
    "fault", ["nowhere", "a file", "empty", "only test", "nothing labelled", "no size", "cut off"]
)
def test_what_cannot_be_read_is_named(fault: str, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    if fault == "a file":
        folder.write_text("")
    elif fault == "empty":
        folder.mkdir()
    elif fault == "only test":
        write_frames(folder, {"test": 1})
    elif fault != "nowhere":
        write_by_hand(folder)
    if fault == "nothing labelled":
        for path in (folder / "label").iterdir():
            path.write_text("")
    elif fault == "no size":
        for path in (folder / "label").iterdir():
            path.write_text(BOX.format("bus", 0, 0, 0, 9, 9, 0))
    elif fault == "cut off":
        path = folder / "lidar" / "2.bin"
        path.write_bytes(path.read_bytes()[:-3])
    words = {
        "nowhere": "does not exist",
        "a file": "is a file",
        "empty": "no LiDAR frames with labels.*\nLayouts that are understood",
        "only test": "no LiDAR frames with labels to train on",
        "nothing labelled": "none of 4 training frames has a labelled object",
        "no size": r"has a labelled object with a length, width and height above 0, as in .*0\.txt",
        "cut off": r"1 of the 4 files hold no whole number of points.*\n  2\.bin \(3197 bytes\)",
    }
    with pytest.raises(DatasetError, match=f"mine.*{words[fault]}"):
        survey_frames(folder)


def test_a_spec_that_is_there_is_kept(tmp_path: Path) -> None:
    write_by_hand(tmp_path / "mine")
    target = tmp_path / "m.yaml"
    target.write_text("mine")
    with pytest.raises(SpecError, match=r"m\.yaml is there already.*--force"):
        write_spec(tmp_path / "mine", target, force=False)
    assert target.read_text() == "mine"
    init(tmp_path / "mine", target, "--force")
    assert target.read_text() != "mine"
