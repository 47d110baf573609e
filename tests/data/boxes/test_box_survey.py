"""`init` of detection recognises each layout, and writes a spec that trains."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from box_images import scene, write_coco
from click.testing import CliRunner
from PIL import Image
from pycocotools import mask as coco_masks
from pycocotools.coco import COCO
from tiny_detection import TINY

import tao_like
from tao_like.cli.main import cli
from tao_like.data.boxes.survey import survey_boxes
from tao_like.errors import DatasetError
from tao_like.samples.catalog import write_sample

VOC_BOX = (
    "<object><name>{}</name><bndbox>"
    "<xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax>"
    "</bndbox></object>"
)


def write_voc(folder: Path, count: int = 12, *, lists: bool = False) -> None:
    """Images and XML files; with lists of splits if wanted."""
    for name in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (folder / name).mkdir(parents=True)
    for number in range(count):
        image, objects = scene(number)
        image.save(folder / "JPEGImages" / f"{number:02d}.png")
        boxes = [VOC_BOX.format(n, x + 1, y + 1, x + w, y + h) for n, (x, y, w, h) in objects]
        text = f"<annotation>{''.join(boxes)}</annotation>"
        (folder / "Annotations" / f"{number:02d}.xml").write_text(text)
    if lists:
        for name, numbers in (("train", range(8)), ("val", range(8, 10)), ("test", range(10, count))):
            text = "".join(f"{number:02d}\n" for number in numbers)
            (folder / "ImageSets" / "Main" / f"{name}.txt").write_text(text)


def write_yolo(folder: Path, count: int) -> None:
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True)
    names = ["blue", "green", "red"]
    for number in range(count):
        image, objects = scene(number)
        image.save(folder / "images" / f"{number:02d}.png")
        lines = [
            f"{names.index(n)} {(x + w / 2) / 96} {(y + h / 2) / 64} {w / 96} {h / 64}"
            for n, (x, y, w, h) in objects
        ]
        (folder / "labels" / f"{number:02d}.txt").write_text("\n".join(lines))


def test_coco_files_beside_the_folders_of_their_splits(tmp_path: Path) -> None:
    found = survey_boxes(write_coco(tmp_path))
    assert found.format == "coco"
    assert dict(found.images) == {"train": 16, "val": 6, "test": 6}
    assert found.sources["val"][0].image_dir == tmp_path / "val"
    assert set(found.boxes) == {"blue", "green", "red"}
    assert (found.width, found.height) == (96, 64)


def test_coco_as_it_is_published(tmp_path: Path) -> None:
    write_coco(tmp_path)
    (tmp_path / "annotations").mkdir()
    for split in ("train", "val"):
        (tmp_path / split).rename(tmp_path / f"{split}2017")
        (tmp_path / f"{split}.json").rename(tmp_path / "annotations" / f"instances_{split}2017.json")
    (tmp_path / "annotations" / "captions_val2017.json").write_text(
        json.dumps({"images": [{"file_name": "000.png"}], "annotations": [{"caption": "a dog"}]})
    )
    (tmp_path / "test.json").unlink()
    found = survey_boxes(tmp_path)
    assert {name: source.image_dir for name, (source,) in found.sources.items()} == {
        "train": tmp_path / "train2017",
        "val": tmp_path / "val2017",
    }


@pytest.mark.parametrize("lists", [True, False])
def test_voc(tmp_path: Path, lists: bool) -> None:
    write_voc(tmp_path, lists=lists)
    found = survey_boxes(tmp_path)
    assert found.format == "voc"
    assert dict(found.images) == ({"train": 8, "val": 2, "test": 2} if lists else {"all": 12})


def test_yolo_with_the_splits_as_folders(tmp_path: Path) -> None:
    write_yolo(tmp_path / "train", 6)
    write_yolo(tmp_path / "valid", 2)
    (tmp_path / "classes.txt").write_text("blue\ngreen\nred\n")
    found = survey_boxes(tmp_path)
    assert found.format == "yolo"
    assert dict(found.images) == {"train": 6, "val": 2}


def test_kitti(tmp_path: Path) -> None:
    for name in ("image_2", "label_2"):
        (tmp_path / name).mkdir()
    Image.new("RGB", (120, 40)).save(tmp_path / "image_2" / "000001.png")
    text = "Car 0.00 0 1.85 10.00 5.00 30.50 20.00 1.67 1.87 3.69 -16.53 2.39 58.49 1.57\n"
    (tmp_path / "label_2" / "000001.txt").write_text(text)
    assert survey_boxes(tmp_path).format == "kitti"


def test_a_folder_without_boxes_is_told_what_is_understood(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="VOC     JPEGImages"):
        survey_boxes(tmp_path)
    with pytest.raises(DatasetError, match="does not exist"):
        survey_boxes(tmp_path / "nowhere")


def test_init_writes_a_spec_that_trains(tmp_path: Path) -> None:
    write_voc(tmp_path / "cells")
    spec = tmp_path / "cells.yaml"
    done = CliRunner().invoke(cli, ["detection", "init", str(tmp_path / "cells"), "-o", str(spec)])
    assert done.exit_code == 0, done.output
    assert "voc: 12 images" in done.output
    small = [word for word in TINY if "plain_epochs" not in word]
    settings = [*small, f"results_dir={tmp_path / 'results'}", "train.max_steps=2"]
    result = tao_like.run(
        "detection",
        "train",
        spec,
        [*settings, "model.backbone.pretrained_backbone_path=null"],
        quiet=True,
    )
    assert result.bundle.is_file()
    again = CliRunner().invoke(cli, ["detection", "init", str(tmp_path / "cells"), "-o", str(spec)])
    assert again.exit_code != 0


def test_digit_scenes_have_boxes_around_their_masks(tmp_path: Path) -> None:
    folder = write_sample("digit_scenes", tmp_path / "scenes")
    found = survey_boxes(folder)
    assert dict(found.images) == {"train": 320, "val": 60, "test": 80}
    assert sorted(found.boxes) == [str(digit) for digit in range(10)]
    coco = COCO()
    coco.dataset = json.loads((folder / "val.json").read_text())
    coco.createIndex()
    assert len(coco.anns) > 100
    for entry in coco.anns.values():
        mask = coco.annToMask(entry)
        rows, columns = np.nonzero(mask)
        left, top, width, height = entry["bbox"]
        assert (left, top) == (columns.min(), rows.min())
        assert (width, height) == (columns.max() + 1 - left, rows.max() + 1 - top)
        assert entry["area"] == mask.sum() == coco_masks.area(coco.annToRLE(entry))
    empty = [image for image in coco.imgs if not coco.getAnnIds(image)]
    assert len(empty) >= 6
