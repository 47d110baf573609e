"""From each format of boxes to each other and back, nothing is lost that both can hold."""

from __future__ import annotations

import itertools
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from box_images import write_coco
from PIL import Image
from tiny_detection import data_overrides, run

from tao_like.config.structure import describe
from tao_like.data.boxes.annotation import Box, BoxRecord, labels_of
from tao_like.data.boxes.checks import SizeFaults
from tao_like.data.boxes.formats.writers import WRITTEN_FORMATS, write_boxes
from tao_like.data.boxes.sources import BoxSource, read_boxes
from tao_like.errors import DatasetError
from tao_like.tasks.detection.spec import DatasetConvertSpec

CLASSES = ["car", "van"]
PLAIN = (Box("car", 10.5, 5.25, 30, 35), Box("van", 0, 0, 59.75, 40), Box("car", 3, 3, 3.5, 8))
SPECIAL = (Box("van", 4, 4, 20, 30, ignore=True), Box("car", 1, 2, 50, 30, crowd=True, area=321.0))


def records(folder: Path, boxes: tuple[Box, ...] = PLAIN) -> list[BoxRecord]:
    """An image with boxes in a folder below, and one without any."""
    made = []
    for name, of_image in (("deep/one.png", boxes), ("two.png", ())):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (60, 40)).save(path)
        made.append(BoxRecord(path, labels_of(of_image), "", name, of_image, 60, 40))
    return made


def again(images: Path, target: Path, kind: str) -> list[BoxRecord]:
    """What a reader makes of what was written."""
    key = "json_file" if kind == "coco" else "label_dir"
    return read_boxes(BoxSource(image_dir=images, format=kind, **{key: target}), "key")


def assert_same(one: list[BoxRecord], other: list[BoxRecord]) -> None:
    assert [record.key for record in one] == [record.key for record in other]
    for first, second in zip(one, other, strict=True):
        assert first.path == second.path
        assert [box.label for box in first.boxes] == [box.label for box in second.boxes]
        for box, found in zip(first.boxes, second.boxes, strict=True):
            assert found[1:5] == pytest.approx(box[1:5], abs=1e-5)
            assert (found.crowd, found.ignore) == (box.crowd, box.ignore)


def test_the_spec_offers_what_can_be_written_and_no_more() -> None:
    assert describe(DatasetConvertSpec).members["format"].rule.choices == WRITTEN_FORMATS


@pytest.mark.parametrize(("first", "second"), list(itertools.product(WRITTEN_FORMATS, repeat=2)))
def test_there_and_back(first: str, second: str, tmp_path: Path) -> None:
    images = tmp_path / "images"
    original = records(images)
    target, lost = write_boxes(original, CLASSES, first, tmp_path / "first")
    once = again(images, target, first)
    assert_same(original, once)
    target, other_lost = write_boxes(once, CLASSES, second, tmp_path / "second")
    assert_same(original, again(images, target, second))
    assert not +lost
    assert not +other_lost


def test_coco_holds_crowds_areas_and_regions_to_ignore(tmp_path: Path) -> None:
    original = records(tmp_path / "images", SPECIAL)
    target, lost = write_boxes(original, CLASSES, "coco", tmp_path)
    found = again(tmp_path / "images", target, "coco")
    assert_same(original, found)
    assert found[0].boxes[1].area == 321.0
    assert not +lost


@pytest.mark.parametrize(
    ("kind", "expected", "count"),
    [
        ("voc", [("van", True), ("car", True)], 1),
        ("kitti", [("DontCare", True), ("DontCare", True)], 1),
        ("yolo", [], 2),
    ],
)
def test_what_a_format_cannot_hold_is_counted(
    kind: str, expected: list[tuple[str, bool]], count: int, tmp_path: Path
) -> None:
    original = records(tmp_path / "images", (*SPECIAL, PLAIN[0]))
    target, lost = write_boxes(original, CLASSES, kind, tmp_path)
    boxes = again(tmp_path / "images", target, kind)[0].boxes
    assert [(box.label, box.ignore) for box in boxes] == [*expected, ("car", False)]
    assert sum(lost.values()) == count


def test_two_images_with_one_label_file_are_an_error(tmp_path: Path) -> None:
    one, two = records(tmp_path)
    twin = BoxRecord(one.path, (), "", "two.jpg", (), 60, 40)
    with pytest.raises(DatasetError, match=r"two\.jpg.*two\.xml"):
        write_boxes([two, twin], CLASSES, "voc", tmp_path)


@pytest.mark.parametrize("kind", ["voc", "yolo"])
def test_the_stage_writes_labels_and_names_them_for_a_spec(kind: str, tmp_path: Path) -> None:
    folder = write_coco(tmp_path / "data", {"train": 4, "val": 2, "test": 2})
    overrides = data_overrides(folder)
    result = run("dataset_convert", tmp_path / "results", *overrides, f"dataset_convert.format={kind}")
    assert result.report["sources"][0]["pictures"] == 4
    sources = yaml.safe_load((result.folder / "sources.yaml").read_text())["dataset"]
    assert sources.keys() == {"train_data_sources", "val_data_sources", "test_data_sources"}
    for split in ("train", "val", "test"):
        (given,) = sources[f"{split}_data_sources"]
        source = BoxSource(Path(given["image_dir"]), label_dir=Path(given["label_dir"]))
        before = read_boxes(BoxSource(folder / split, folder / f"{split}.json"), "key")
        assert_same(before, read_boxes(source, "key"))


@pytest.mark.parametrize(
    ("stated", "words"),
    [
        ((-1, -1), "no size that an image can have"),
        ((40, 60), "the other way round"),
        ((600, 400), "of another size"),
        ((0, 0), ""),
    ],
)
def test_boxes_are_converted_in_the_image_s_own_size(
    stated: tuple[int, int], words: str, tmp_path: Path
) -> None:
    (one, _) = records(tmp_path / "images", (Box("car", 6, 4, 30, 20),))
    record = replace(one, width=stated[0], height=stated[1])
    target, _ = write_boxes([record], CLASSES, "yolo", tmp_path)
    assert (target / "deep" / "one.txt").read_text() == "0 0.3 0.3 0.4 0.4\n"
    target, _ = write_boxes([record], CLASSES, "coco", tmp_path)
    assert json.loads(target.read_text())["images"][0]["width"] == 60
    sizes = SizeFaults()
    assert sizes.size_of(record) == (60, 40)
    assert [words in finding.message for finding in sizes.findings()] == [True] * bool(words)


def test_the_stage_says_that_a_stated_size_is_wrong(tmp_path: Path) -> None:
    folder = write_coco(tmp_path / "data", {"train": 4, "val": 2, "test": 2})
    content = json.loads((folder / "train.json").read_text())
    content["images"][1] |= {"width": 64, "height": 96}
    (folder / "train.json").write_text(json.dumps(content))
    results = tmp_path / "results"
    result = run("dataset_convert", results, *data_overrides(folder), "dataset_convert.format=yolo")
    ((finding,), *_) = (source["findings"] for source in result.report["sources"])
    assert finding["files"] == [f"{folder / 'train' / '001.png'}: 64 x 96, is 96 x 64"]


@pytest.mark.parametrize("kind", WRITTEN_FORMATS)
def test_names_that_are_not_utf8_are_written_and_read_again(kind: str, tmp_path: Path) -> None:
    images = tmp_path / os.fsdecode(b"d\xe4ta")
    images.mkdir()
    path = images / os.fsdecode(b"fahrr\xe4der\x1b.png")
    Image.new("RGB", (60, 40)).save(path)
    original = [BoxRecord(path, labels_of(PLAIN), "", path.name, PLAIN, 60, 40)]
    target, _ = write_boxes(original, CLASSES, kind, tmp_path / os.fsdecode(b"l\xe4bels"))
    assert_same(original, again(images, target, kind))
