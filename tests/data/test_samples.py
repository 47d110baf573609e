"""Sample data."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tao_like.data.checks.images import check_images
from tao_like.data.images.class_folders import read_class_folders
from tao_like.data.images.readers import class_names
from tao_like.data.masks.reading import read_class_map
from tao_like.data.masks.sources import MaskSource, read_masks
from tao_like.data.masks.values import coding_of_names
from tao_like.data.skeletons.layouts import LAYOUTS
from tao_like.errors import DatasetError, SpecError
from tao_like.samples import shapes_captions, shapes_scenes, skeleton_actions
from tao_like.samples.catalog import SAMPLES, write_sample
from tao_like.samples.digits import write_digits


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("sklearn")
    return write_sample("digits", tmp_path_factory.mktemp("samples") / "digits")


def contents(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files
    }


def test_the_digits_are_complete_and_stratified(digits: Path) -> None:
    from sklearn.datasets import load_digits

    target = load_digits().target
    seen = []
    for split, fraction in (("train", 0.6), ("val", 0.15), ("test", 0.25)):
        records = read_class_folders(digits / split)
        assert class_names(records) == list("0123456789")
        numbers = [int(record.path.stem) for record in records]
        seen += numbers
        assert [record.labels[0] for record in records] == [str(target[number]) for number in numbers]
        for digit in range(10):
            found = sum(record.labels == (str(digit),) for record in records)
            assert abs(found - fraction * (target == digit).sum()) <= 1
    assert sorted(seen) == list(range(1797))


def test_a_digit_looks_like_the_scan(digits: Path) -> None:
    from sklearn.datasets import load_digits

    scans = load_digits().images
    for record in read_class_folders(digits / "val")[::40]:
        with Image.open(record.path) as image:
            assert (image.size, image.mode) == ((32, 32), "L")
            back = np.asarray(image.resize((8, 8), Image.Resampling.BOX), float) * 16 / 255
        scan = scans[int(record.path.stem)]
        assert np.corrcoef(back.ravel(), scan.ravel())[0, 1] > 0.97


def test_the_digits_pass_the_check(digits: Path) -> None:
    splits = {split: read_class_folders(digits / split) for split in ("val", "test")}
    report = check_images(splits, list("0123456789"), full=True)
    assert [finding.code for finding in report.findings] == ["grey"]


def test_it_says_what_it_is(digits: Path) -> None:
    text = (digits / "README.txt").read_text(encoding="utf-8")
    assert "CC BY 4.0" in text
    assert "10.24432/C50P49" in text
    assert "seed 0" in text


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(digits: Path, tmp_path: Path) -> None:
    before = contents(digits)
    assert write_sample("digits", digits) == digits
    assert contents(digits) == before
    other = contents(write_digits(tmp_path / "other", seed=1))
    assert set(other) != set(before)


def test_nothing_of_the_users_is_touched(digits: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(DatasetError, match="is not empty"):
        write_sample("digits", tmp_path)
    assert contents(tmp_path).keys() == {"mine.txt"}
    with pytest.raises(DatasetError, match="is a file"):
        write_sample("digits", tmp_path / "mine.txt")
    with pytest.raises(DatasetError, match="not the sample digits with seed 5"):
        write_sample("digits", digits, seed=5)


def test_stick_figures_come_in_other_layouts_in_an_image_where_these_are_flat(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for split in skeleton_actions.SEQUENCES:
        monkeypatch.setitem(skeleton_actions.SEQUENCES, split, 1)
    for layout, joints in (("nvidia", 34), ("ntu-rgb+d", 25), ("coco", 17)):
        folder = write_sample("skeleton_actions", tmp_path / layout, layout=layout)
        data = np.load(folder / "train_data.npy")
        assert data.shape == (8, 3, 64, joints, 1)
        assert f"model.graph_layout={layout}" in (folder / "README.txt").read_text()
        scores = data[:, 2][data.any(axis=1)]
        assert (scores.min() >= 0.6 and scores.max() <= 1) == (layout == "coco")
    # On an image y is down: the nose is above the hips, and below them in metres upwards.
    hips = [LAYOUTS["coco"].joints.index(f"{side} hip") for side in ("left", "right")]
    seen = data[0, :, 0, :, 0]
    assert seen[1, 0] < seen[1, hips].mean() - 0.05
    assert np.abs(data[:, :2]).max() <= 1
    # The person faces the camera, so that his left is on the image's right.
    assert seen[0, hips[0]] > seen[0, hips[1]]
    usual = write_sample("skeleton_actions", tmp_path / "usual")
    assert contents(usual) == contents(tmp_path / "nvidia")
    with pytest.raises(DatasetError, match="not the sample skeleton_actions with seed 0 and layout coco"):
        write_sample("skeleton_actions", usual, layout="coco")
    with pytest.raises(SpecError, match=r"skeleton_actions has no layout 'kinect'; there are: nvidia, openp"):
        write_sample("skeleton_actions", tmp_path / "kinect", layout="kinect")
    with pytest.raises(SpecError, match="digits has no layout 'coco'; leave the layout out"):
        write_sample("digits", tmp_path / "digits", layout="coco")
    assert not (tmp_path / "kinect").exists()


def test_shapes_are_captioned_and_some_pairs_are_kept_for_the_test(tmp_path: Path) -> None:
    folder = write_sample("shapes_captions", tmp_path / "shapes")
    lines = {
        split: [json.loads(line) for line in (folder / f"{split}.jsonl").read_text("utf-8").splitlines()]
        for split in ("train", "val", "test")
    }
    assert {split: len(rows) for split, rows in lines.items()} == {"train": 2000, "val": 200, "test": 480}
    assert len({row["captions"][0] for row in lines["test"]}) == 240
    held_out = {row["label"] for row in lines["test"] if row["group"] == "held_out"}
    assert held_out == {"red triangle", "blue circle", "yellow cross", "purple square"}
    for split in ("train", "val"):
        assert not held_out & {row["label"] for row in lines[split]}
    for row in lines["test"][::37]:
        # The middle of the shape has its color; a cross and a triangle are filled there too.
        left, top = {"left": 0.3, "right": 0.7}, {"top": 0.3, "bottom": 0.7}
        words = row["captions"][0].split()
        x, y = (next((place[w] for w in words if w in place), 0.5) for place in (left, top))
        with Image.open(folder / row["image"]) as image:
            pixel = np.asarray(image)[int(y * 32), int(x * 32)].astype(int)
        expected = np.array(shapes_captions.COLORS[words[2]])
        assert abs(pixel - expected).max() < 40, row
    again = write_sample("shapes_captions", tmp_path / "again")
    assert (again / "test.jsonl").read_bytes() == (folder / "test.jsonl").read_bytes()
    name = lines["test"][0]["image"]
    assert (again / name).read_bytes() == (folder / name).read_bytes()


def test_unknown_samples_and_missing_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SpecError, match="there is no sample 'flowers'; there are: digits"):
        write_sample("flowers", tmp_path / "flowers")
    monkeypatch.setitem(sys.modules, "sklearn", None)
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(DatasetError, match="pip install scikit-learn"):
        write_sample("digits", tmp_path / "digits")
    assert all(sample.help and sample.name == name for name, sample in SAMPLES.items())


def test_scenes_of_shapes_say_the_same_as_masks_and_as_coco(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shapes_scenes, "COUNTS", {"train": 12, "val": 2, "test": 2})
    folder = write_sample("shapes_scenes", tmp_path / "scenes")
    names = (folder / "classes.txt").read_text().split()
    assert names == list(shapes_scenes.CLASSES)
    from_masks = read_masks(MaskSource(folder / "images/train", folder / "masks/train"), "x")
    from_coco = read_masks(
        MaskSource(images_dir=folder / "images/train", json_file=folder / "annotations/train.json"), "x"
    )
    coding = coding_of_names(names, 255, norm=False)
    seen = set()
    size = (shapes_scenes.WIDTH, shapes_scenes.HEIGHT)
    for one, other in zip(from_masks, from_coco, strict=True):
        classes = read_class_map(one, coding, size)
        assert (read_class_map(other, coding, size) == classes).all()
        seen |= set(np.unique(classes).tolist())
    assert seen == set(range(len(names)))
    # Every tenth scene has no shape.
    assert not read_class_map(from_masks[9], coding, size).any()
