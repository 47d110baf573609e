"""Where masks lie and what their values mean: every layout, and every way in which data misses one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tao_like.data.masks.checks import check_masks
from tao_like.data.masks.reading import read_class_map
from tao_like.data.masks.record import MaskRecord
from tao_like.data.masks.sources import MaskSource, mask_files, read_masks
from tao_like.data.masks.survey import survey_masks
from tao_like.data.masks.values import PaletteEntry, coding_of_names, coding_of_palette
from tao_like.errors import DatasetError

SMALL = np.array([[0, 1, 255], [1, 0, 1]], np.uint8)


def save(path: Path, values: np.ndarray = SMALL) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)
    return path


def photo(path: Path) -> Path:
    return save(path, np.zeros((2, 3, 3), np.uint8))


def pairs(source: MaskSource) -> dict[str, str]:
    return {record.key: record.mask.name for record in read_masks(source, "x") if record.mask}


# --- two folders ---


def test_photos_and_masks_in_one_folder_are_told_apart_by_endings(tmp_path: Path) -> None:
    photo(tmp_path / "a.png")
    save(tmp_path / "a_mask.png")
    assert pairs(MaskSource(tmp_path, tmp_path)) == {"a.png": "a_mask.png"}
    (tmp_path / "a_mask.png").rename(tmp_path / "a.truth.png")
    assert pairs(MaskSource(tmp_path, tmp_path, mask_suffix=".truth.png")) == {"a.png": "a.truth.png"}


def test_a_suffix_says_which_of_several_masks_counts(tmp_path: Path) -> None:
    photo(tmp_path / "images" / "a_sat.jpg")
    for ending in ("_one", "_two"):
        save(tmp_path / "masks" / f"a{ending}.png")
    (tmp_path / "masks" / "notes.gif").write_bytes(b"GIF89a")
    chosen = MaskSource(tmp_path / "images", tmp_path / "masks", mask_suffix="_two.png")
    assert pairs(chosen) == {"a_sat.jpg": "a_two.png"}
    save(tmp_path / "masks" / "b_mask.png")
    save(tmp_path / "masks" / "b_mask.bmp")
    with pytest.raises(DatasetError, match=r"b_mask\.(png|bmp).*two masks of one photo.*mask_suffix"):
        mask_files(tmp_path / "masks", "")


def test_nothing_is_taken_away_from_names_that_are_equal(tmp_path: Path) -> None:
    for name in ("0_L", "0_R", "cat_mask", "cat", "b_image"):
        photo(tmp_path / "images" / f"{name}.jpg")
        save(tmp_path / "masks" / f"{name}.png")
    photo(tmp_path / "images" / "c_image.jpg")
    save(tmp_path / "masks" / "c_mask.png")
    found = pairs(MaskSource(tmp_path / "images", tmp_path / "masks"))
    assert found.pop("c_image.jpg") == "c_mask.png"
    assert found == {f"{name}.jpg": f"{name}.png" for name in ("0_L", "0_R", "cat_mask", "cat", "b_image")}


def test_two_photos_of_one_name_are_named(tmp_path: Path) -> None:
    photo(tmp_path / "images" / "a.jpg")
    photo(tmp_path / "images" / "a.png")
    save(tmp_path / "masks" / "a.png")
    with pytest.raises(DatasetError, match=r"a\.png.*a\.jpg.*two photos of one name"):
        read_masks(MaskSource(tmp_path / "images", tmp_path / "masks"), "x")


def test_masks_saved_with_loss_are_recognized(tmp_path: Path) -> None:
    photo(tmp_path / "images" / "a.png")
    photo(tmp_path / "masks" / "a.jpg")
    with pytest.raises(DatasetError, match="1 files there are JPEG, whose values are blurred"):
        read_masks(MaskSource(tmp_path / "images", tmp_path / "masks"), "x")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "x.images_dir is not given"),
        ({"images_dir": "images"}, "x.masks_dir is not given"),
        ({"images_dir": "nowhere", "masks_dir": "masks"}, "x.images_dir: .*nowhere is not a folder"),
        ({"images_dir": "images", "masks_dir": "nowhere"}, "x.masks_dir: .*nowhere is not a folder"),
        ({"images_dir": "masks/empty", "masks_dir": "masks"}, "empty has no images"),
        ({"images_list": "photos.txt"}, "x.masks_list is not given"),
        ({"masks_list": "photos.txt"}, "x.images_list is not given"),
        ({"images_list": "photos.txt", "masks_list": "photos.txt"}, r"photos\.txt: there is no file .*gone"),
        ({"images_list": "empty.txt", "masks_list": "empty.txt"}, r"empty\.txt names no photo"),
        ({"json_file": "broken.jsonl"}, r"broken\.jsonl: line 2 is not valid JSON"),
        ({"json_file": "short.jsonl"}, r"short\.jsonl: line 1 lacks img or segm"),
        ({"json_file": "list.odgt"}, r"list\.odgt: line 1 lacks img or segm"),
        ({"json_file": "gone.jsonl"}, r"gone\.jsonl: line 1: there is no file .*gone\.png"),
        ({"json_file": "empty.jsonl"}, r"empty\.jsonl names no photo"),
        ({"json_file": "coco.json", "images_dir": "nowhere"}, "x.images_dir: .*nowhere is not a folder"),
        ({"json_file": "coco.json"}, r"a\.jpg: an annotation of cat has a box and no segmentation"),
        ({"json_file": "none.json"}, r"none\.json names no image"),
    ],
)
def test_what_is_missing_is_named(given: dict[str, str], expected: str, tmp_path: Path) -> None:
    photo(tmp_path / "images" / "a.jpg")
    photo(tmp_path / "a.jpg")
    save(tmp_path / "masks" / "a.png")
    (tmp_path / "masks" / "empty").mkdir()
    coco = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 3, "height": 2}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 2, 2]}],
        "categories": [{"id": 1, "name": "cat"}],
    }
    texts = {
        "photos.txt": "gone.jpg\n",
        "empty.txt": "\n",
        "empty.jsonl": "\n",
        "broken.jsonl": "\n{",
        "short.jsonl": json.dumps({"img": "a.jpg"}),
        "list.odgt": "[1]",
        "gone.jsonl": json.dumps({"fpath_img": "a.jpg", "fpath_segm": "gone.png"}),
        "coco.json": json.dumps(coco),
        "none.json": json.dumps(coco | {"images": [], "annotations": []}),
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    source = MaskSource(
        **{  # type: ignore[arg-type]
            name: tmp_path / value for name, value in given.items()
        }
    )
    with pytest.raises(DatasetError, match=expected):
        read_masks(source, "x")


def test_names_start_from_the_first_folder_that_is_given() -> None:
    assert MaskSource(Path("a"), json_file=Path("b/c.json")).root == Path("a")
    assert MaskSource(images_list=Path("b/c.txt")).root == Path("b")
    assert MaskSource(json_file=Path("b/c.json")).root == Path("b")
    assert MaskSource().root == Path()


# --- the survey ---


@pytest.fixture
def folder(tmp_path: Path) -> Callable[..., Path]:
    def make(*masks: np.ndarray) -> Path:
        for number, values in enumerate(masks):
            photo(tmp_path / "images" / f"{number}.png")
            save(tmp_path / "masks" / f"{number}.png", values)
        return tmp_path

    return make


def test_values_are_classes_with_names_from_a_file_or_none(folder: Callable[..., Path]) -> None:
    data = folder(SMALL, SMALL)
    found = survey_masks(data)
    assert (found.kind, found.is_split, found.training_images) == ("index", False, 2)
    assert [entry.name for entry in found.palette] == ["class_0", "class_1"]
    assert "no classes.txt" in found.notes[0]
    assert found.fractions == pytest.approx({"1": 1 / 2, "0": 1 / 3, "255": 1 / 6})
    (data / "classes.txt").write_text("road\ncar\n")
    named = survey_masks(data)
    assert (named.classes_file, named.palette, named.notes) == (data / "classes.txt", (), ())


RED_AND_BLUE = np.array([[[255, 0, 0]] * 3, [[0, 0, 255], [255, 0, 0], [255, 0, 0]]], np.uint8)


def test_colors_without_names_are_named_by_their_values(folder: Callable[..., Path]) -> None:
    found = survey_masks(folder(RED_AND_BLUE))
    assert found.kind == "color"
    assert [(entry.name, entry.rgb) for entry in found.palette] == [
        ("color_255_0_0", (255, 0, 0)),
        ("color_0_0_255", (0, 0, 255)),
    ]
    assert "no file says what the colors mean" in found.notes[0]


def test_colors_are_named_by_a_csv(folder: Callable[..., Path]) -> None:
    data = folder(RED_AND_BLUE)
    (data / "class_dict.csv").write_text("name, r, g, b\nRoad,255,0,0\nSea,0,0,255\n")
    found = survey_masks(data)
    assert {entry.name: entry.rgb for entry in found.palette} == {"Road": (255, 0, 0), "Sea": (0, 0, 255)}
    assert "class_dict.csv" in found.notes[0]
    (data / "class_dict.csv").write_text("name,red\nRoad,255\n")
    with pytest.raises(DatasetError, match="has not the columns name, r, g, b"):
        survey_masks(data)
    (data / "class_dict.csv").write_text("name,r,g,b\n")
    with pytest.raises(DatasetError, match="names no color"):
        survey_masks(data)


def test_hundreds_of_colors_come_from_a_loss(folder: Callable[..., Path]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    data = folder(noise)
    save(data / "images" / "0.png", noise)
    with pytest.raises(DatasetError, match="more than 256 colors"):
        survey_masks(data)


def test_outlines_of_coco_have_fractions_by_area(tmp_path: Path) -> None:
    photo(tmp_path / "images" / "train" / "a.jpg")
    ring = [0, 0, 2, 0, 2, 2, 0, 2]
    coco = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 3, "height": 2}],
        "annotations": [
            {
                "id": n,
                "image_id": 1,
                "category_id": n,
                "bbox": [0, 0, 2, 2],
                "segmentation": [ring],
                "area": a,
            }
            for n, a in ((1, 1.0), (2, 3.0))
        ],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
    }
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "train.json").write_text(json.dumps(coco))
    found = survey_masks(tmp_path)
    assert (found.kind, dict(found.images)) == ("coco", {"train": 1})
    assert dict(found.fractions) == {"dog": 0.75, "cat": 0.25}


def test_one_coco_file_of_several_for_a_split_is_taken_and_those_in_the_folders_of_splits(
    tmp_path: Path,
) -> None:
    ring = [0, 0, 2, 0, 2, 2, 0, 2]
    box = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 2, 2], "segmentation": [ring]}
    images = [{"id": 1, "file_name": "a.jpg", "width": 3, "height": 2}]

    def coco(name: str) -> str:
        return json.dumps({"images": images, "annotations": [box], "categories": [{"id": 1, "name": name}]})

    photo(tmp_path / "train2017" / "a.jpg")
    (tmp_path / "annotations").mkdir()
    for kind in ("instances", "person_keypoints"):
        (tmp_path / "annotations" / f"{kind}_train2017.json").write_text(coco(kind))
    found = survey_masks(tmp_path)
    assert dict(found.fractions) == {"instances": 1.0}
    assert found.sources["train"].images_dir == tmp_path / "train2017"
    shutil.rmtree(tmp_path / "annotations")
    (tmp_path / "train2017" / "_annotations.coco.json").write_text(coco("cat"))
    assert dict(survey_masks(tmp_path).fractions) == {"cat": 1.0}


def test_masks_of_one_value_are_told(folder: Callable[..., Path]) -> None:
    data = folder(np.zeros_like(SMALL))
    (record,) = read_masks(MaskSource(data / "images", data / "masks"), "x")
    for full in (False, True):
        report = check_masks({"train": [record]}, coding_of_names(["road"], 255, norm=False), full=full)
        assert [(one.code, one.level) for one in report.findings] == [("one_class", "warning")]


def test_255_among_other_values_is_told(folder: Callable[..., Path]) -> None:
    found = survey_masks(folder(SMALL))
    assert "255 is taken for pixels of no class" in found.notes[1]
    assert len(survey_masks(folder(np.minimum(SMALL, 1))).notes) == 1


def test_a_mask_of_gray_colors_is_a_color_mask_beside_others(folder: Callable[..., Path]) -> None:
    black = np.zeros((2, 3, 3), np.uint8)
    data = folder(RED_AND_BLUE, black)
    found = survey_masks(data)
    assert found.kind == "color"
    assert dict(found.fractions) == pytest.approx(
        {"(0, 0, 0)": 6 / 12, "(255, 0, 0)": 5 / 12, "(0, 0, 255)": 1 / 12}
    )
    entries = [PaletteEntry(n, str(rgb), str(rgb), rgb) for n, rgb in enumerate([(255, 0, 0), (0, 0, 0)])]
    coding = coding_of_palette(entries, 255, norm=False)
    record = MaskRecord(data / "images" / "1.png", (), mask=data / "masks" / "1.png")
    assert set(read_class_map(record, coding, (3, 2)).ravel().tolist()) == {1}
    # Indices that were saved as colors stay indices.
    save(data / "masks" / "1.png", black + 1)
    assert set(read_class_map(record, coding, (3, 2)).ravel().tolist()) == {1}
    save(data / "masks" / "1.png", black + 7)
    with pytest.raises(DatasetError, match=r"the colors \(7, 7, 7\), which dataset.palette does not name"):
        read_class_map(record, coding, (3, 2))


def test_no_folder_and_a_file_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="nowhere does not exist"):
        survey_masks(tmp_path / "nowhere")
    with pytest.raises(DatasetError, match=r"a\.png is a file"):
        survey_masks(photo(tmp_path / "a.png"))
