"""Masks: what their values mean, which photo each belongs to, what a check says of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco

from tao_like.data.masks.checks import check_masks
from tao_like.data.masks.files import read_mask_values
from tao_like.data.masks.reading import rasterized, read_class_map
from tao_like.data.masks.record import MaskRecord, Region
from tao_like.data.masks.sources import MaskSource, read_masks
from tao_like.data.masks.survey import survey_masks
from tao_like.data.masks.values import IGNORE, PaletteEntry, coding_of_names, coding_of_palette, remapped
from tao_like.errors import DatasetError, SpecError

NAMES = coding_of_names(["road", "car"], 255, norm=False)
SMALL = np.array([[0, 1, 255], [1, 0, 1]], np.uint8)


def save(path: Path, values: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)
    return path


def photo(path: Path, size: tuple[int, int] = (3, 2), seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


# --- values ---


def test_index_masks_of_every_depth_are_read_as_they_are(tmp_path: Path) -> None:
    assert (read_mask_values(save(tmp_path / "l.png", SMALL)) == SMALL).all()
    wide = SMALL.astype(np.uint16) * 100
    assert (read_mask_values(save(tmp_path / "i16.png", wide)) == wide).all()
    palette = Image.fromarray(SMALL)
    palette = palette.convert("L")
    palette.putpalette([17, 29, 200, 250, 1, 90] + [0] * 762)
    palette.save(tmp_path / "p.png")
    with Image.open(tmp_path / "p.png") as image:
        assert image.mode == "P"
    # The colors are (17, 29, 200) and (250, 1, 90); luminance would give 45 and 86.
    assert (read_mask_values(tmp_path / "p.png") == SMALL).all()
    Image.fromarray(SMALL == 1).save(tmp_path / "bits.png")
    assert (read_mask_values(tmp_path / "bits.png") == (SMALL == 1)).all()
    gray = np.stack([SMALL] * 3, axis=-1)
    assert (read_mask_values(save(tmp_path / "rgb.png", gray)) == SMALL).all()


def test_ignored_and_unknown_values(tmp_path: Path) -> None:
    assert (NAMES.decode(SMALL, "x") == SMALL).all()
    with pytest.raises(DatasetError, match=r"street\.png.*value 7.*values are 0, 1.*255 for no class"):
        NAMES.decode(np.array([[0, 7]], np.uint8), "street.png")
    seven = coding_of_names(["road", "car"], 7, norm=False)
    assert seven.decode(np.array([[0, 7, 1]], np.uint8), "x").tolist() == [[0, IGNORE, 1]]
    with pytest.raises(DatasetError, match="255"):
        seven.decode(SMALL, "x")


def test_a_palette_merges_classes_and_names_colors() -> None:
    entries = [
        PaletteEntry(0, "void", "other", (0, 0, 0)),
        PaletteEntry(1, "car", "vehicle", (10, 0, 0)),
        PaletteEntry(2, "bus", "vehicle", (20, 0, 0)),
        PaletteEntry(5, "sky", "other", (0, 0, 9)),
    ]
    coding = coding_of_palette(entries, 255, norm=False)
    assert coding.classes == ("other", "vehicle")
    assert coding.decode(np.array([[0, 1, 2, 5, 255]]), "x").tolist() == [[0, 1, 1, 0, IGNORE]]
    colors = np.array([[[0, 0, 0], [10, 0, 0], [20, 0, 0], [0, 0, 9]]], np.uint8)
    assert coding.decode(colors, "x").tolist() == [[0, 1, 1, 0]]
    with pytest.raises(DatasetError, match=r"a\.png.*\(1, 2, 3\).*dataset\.palette does not name"):
        coding.decode(np.array([[[1, 2, 3], [0, 0, 0]]], np.uint8), "a.png")
    with pytest.raises(DatasetError, match=r"color mask.*dataset\.palette"):
        NAMES.decode(colors, "x")


def test_gray_palettes_of_tao_name_values_and_norm_means_0_and_255() -> None:
    # TAO's default palette of segformer, whose label_transform is norm.
    entries = [
        PaletteEntry(0, "foreground", "foreground", (0, 0, 0)),
        PaletteEntry(1, "background", "background", (1, 1, 1)),
    ]
    normed = coding_of_palette(entries, 255, norm=True)
    assert normed.decode(np.array([[0, 255]], np.uint8), "x").tolist() == [[0, 1]]
    with pytest.raises(DatasetError, match="value 1"):
        normed.decode(np.array([[0, 1]], np.uint8), "x")
    shifted = coding_of_palette(
        [PaletteEntry(0, "a", "a", (80,)), PaletteEntry(1, "b", "b", (90,))], 255, False
    )
    assert shifted.decode(np.array([[80, 90, 255]], np.uint8), "x").tolist() == [[0, 1, IGNORE]]


def test_a_value_of_two_classes_is_refused_and_classes_find_their_place() -> None:
    with pytest.raises(SpecError, match="value 1 is named twice"):
        coding_of_palette([PaletteEntry(1, "a", "a"), PaletteEntry(1, "b", "b")], 255, norm=False)
    turned = remapped(NAMES, ["car", "tree", "road"])
    assert turned.decode(np.array([[0, 1]]), "x").tolist() == [[2, 0]]
    with pytest.raises(DatasetError, match="car"):
        remapped(NAMES, ["road"])


# --- pairs ---


def test_photos_and_masks_are_paired_by_name_and_both_missing_sides_are_named(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        photo(tmp_path / "images" / f"{name}.jpg")
    for name in ("b", "c", "d"):
        save(tmp_path / "masks" / f"{name}.png", SMALL)
    source = MaskSource(tmp_path / "images", tmp_path / "masks")
    # By position, as TAO pairs them, a would get the mask of b.
    with pytest.raises(DatasetError) as caught:
        read_masks(source, "dataset.train_dataset")
    assert "images/a.jpg" in str(caught.value)
    assert "masks/d.png" in str(caught.value)
    (tmp_path / "images" / "a.jpg").unlink()
    (tmp_path / "masks" / "d.png").unlink()
    records = read_masks(source, "dataset.train_dataset")
    assert [(record.path.stem, record.mask.stem) for record in records if record.mask] == [
        ("b", "b"),
        ("c", "c"),
    ]


def test_cityscapes_folders_give_ids_and_not_colors(tmp_path: Path) -> None:
    for city in ("aachen", "bonn"):
        photo(tmp_path / "leftImg8bit" / "train" / city / "x_0_leftImg8bit.png")
        for ending in ("labelIds", "color", "instanceIds"):
            save(tmp_path / "gtFine" / "train" / city / f"x_0_gtFine_{ending}.png", SMALL)
    records = read_masks(MaskSource(tmp_path / "leftImg8bit" / "train", tmp_path / "gtFine" / "train"), "x")
    assert [record.key for record in records] == [
        f"{city}/x_0_leftImg8bit.png" for city in ("aachen", "bonn")
    ]
    assert all(record.mask and record.mask.stem.endswith("labelIds") for record in records)
    assert set(survey_masks(tmp_path).sources) == {"train"}


def test_lists_and_ade_lines_name_pairs(tmp_path: Path) -> None:
    for name in ("a", "b"):
        photo(tmp_path / f"{name}.jpg")
        save(tmp_path / f"truth of {name}.png", SMALL)
    (tmp_path / "photos.txt").write_text("a.jpg\nb.jpg\n")
    (tmp_path / "masks.txt").write_text("truth of a.png\ntruth of b.png\n")
    lists = MaskSource(images_list=tmp_path / "photos.txt", masks_list=tmp_path / "masks.txt")
    lines = [json.dumps({"img": f"{name}.jpg", "segm": f"truth of {name}.png"}) for name in ("a", "b")]
    (tmp_path / "train.jsonl").write_text("\n".join(lines))
    for source in (lists, MaskSource(json_file=tmp_path / "train.jsonl")):
        found = read_masks(source, "x")
        assert [(one.key, one.mask and one.mask.name) for one in found] == [
            ("a.jpg", "truth of a.png"),
            ("b.jpg", "truth of b.png"),
        ]
    (tmp_path / "masks.txt").write_text("truth of a.png\n")
    with pytest.raises(DatasetError, match=r"2 lines and .* 1"):
        read_masks(lists, "x")


def test_regions_are_filled_as_pycocotools_fills_them_and_small_ones_lie_in_front() -> None:
    draw = np.random.default_rng(0)
    for _ in range(20):
        ring = (draw.uniform(0, 40, (7, 2)) * [1, 0.7]).ravel().tolist()
        expected = coco.decode(coco.merge(coco.frPyObjects([ring], 28, 40))).astype(bool)
        found = rasterized([Region("car", [ring], 1.0)], ["ground", "car"], (40, 28), "x")
        assert ((found == 1) == expected).all()
    big, small = [[0, 0, 10, 0, 10, 10, 0, 10]], [[2, 2, 5, 2, 5, 5, 2, 5]]
    both = [Region("b", small, 9.0), Region("a", big, 100.0)]
    found = rasterized(both, ["ground", "a", "b"], (12, 12), "x")
    assert np.bincount(found.ravel()).tolist() == [44, 91, 9]


def test_a_mask_of_another_size_or_turned_by_exif_is_named(tmp_path: Path) -> None:
    photo(tmp_path / "images" / "a.jpg", (4, 2))
    save(tmp_path / "masks" / "a.png", SMALL)
    (record,) = read_masks(MaskSource(tmp_path / "images", tmp_path / "masks"), "x")
    with pytest.raises(DatasetError, match=r"masks/a\.png is 3 x 2.*4 x 2.*photo's size"):
        read_class_map(record, NAMES, (4, 2))
    turned = Image.open(photo(tmp_path / "images" / "a.jpg", (3, 2)))
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(tmp_path / "images" / "a.jpg", exif=exif)
    with pytest.raises(DatasetError, match="EXIF orientation turns it"):
        read_class_map(record, NAMES, (2, 3))
    report = check_masks({"train": [record]}, NAMES, full=False)
    assert [finding.code for finding in report.findings] == ["mask_size"]
    assert "EXIF" in report.findings[0].files[0]


# --- the check and the survey ---


def test_the_check_counts_every_value_and_names_what_is_wrong(tmp_path: Path) -> None:
    masks = {
        "good": SMALL,
        "void": np.full((2, 3), 255, np.uint8),
        "strange": np.array([[0, 1, 9], [0, 0, 0]], np.uint8),
    }
    for number, (name, values) in enumerate(masks.items()):
        photo(tmp_path / "images" / f"{name}.jpg", seed=number)
        save(tmp_path / "masks" / f"{name}.png", values)
    records = read_masks(MaskSource(tmp_path / "images", tmp_path / "masks"), "x")
    names = coding_of_names(["road", "car", "tree"], 255, norm=False)
    report = check_masks({"train": records}, names, full=True)
    by_code = {finding.code: finding for finding in report.findings}
    assert list(by_code) == ["mask_values", "all_ignored", "class_missing"]
    assert "strange.png" in by_code["mask_values"].files[0]
    assert "value 9" in by_code["mask_values"].files[0]
    assert "void.png" in by_code["all_ignored"].files[0]
    assert "tree" in by_code["class_missing"].message
    # Of 18 pixels: 0 in 2 + 4, 1 in 3 + 1, 255 in 1 + 6, 9 in 1.
    assert report.summary["train"]["values"] == {255: 0.388889, 0: 0.333333, 1: 0.222222, 9: 0.055556}
    assert report.pixels["train"] == {"road": 2, "car": 3, "tree": 0}


@pytest.mark.parametrize(
    "layout", ["images/train masks/train", "train/images train/masks", "train trainannot"]
)
def test_the_survey_finds_layouts_and_kinds(layout: str, tmp_path: Path) -> None:
    photos, masks = (tmp_path / part for part in layout.split())
    for number, value in enumerate((0, 255)):
        photo(photos / f"{number}.png", seed=number)
        save(masks / f"{number}.png", np.full((2, 3), value, np.uint8))
    found = survey_masks(tmp_path)
    assert (found.kind, dict(found.images)) == ("binary", {"train": 2})
    assert [entry.name for entry in found.palette] == ["background", "foreground"]
    assert "not for pixels of no class" in found.notes[0]
    save(masks / "0.png", np.array([[[1, 2, 3]] * 3] * 2, np.uint8))
    save(masks / "1.png", np.array([[[4, 2, 3]] * 3] * 2, np.uint8))
    (tmp_path / "label_colors.txt").write_text("1 2 3\tRoad\n4 2 3\tCar\n")
    colors = survey_masks(tmp_path)
    assert colors.kind == "color"
    assert [(entry.name, entry.rgb) for entry in colors.palette] == [("Road", (1, 2, 3)), ("Car", (4, 2, 3))]


def test_photos_without_masks_are_shown_the_layouts(tmp_path: Path) -> None:
    photo(tmp_path / "a.jpg")
    with pytest.raises(DatasetError, match="trainannot"):
        survey_masks(tmp_path)
    record = MaskRecord(tmp_path / "a.jpg", (), mask=tmp_path / "none.png")
    with pytest.raises(DatasetError, match=r"none\.png"):
        read_class_map(record, NAMES, (3, 2))
