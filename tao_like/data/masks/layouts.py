"""Where in a folder photos and masks lie, by the names that folders usually have."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tao_like.data.boxes.formats.layouts import coco_sources
from tao_like.data.images.files import find_images, listing, split_name
from tao_like.data.masks.sources import MASK_ENDINGS, MaskSource
from tao_like.data.splits.surveyed import UNSPLIT

IMAGE_FOLDERS = ("images", "image", "imgs", "img", "photos", "leftimg8bit", "jpegimages", "rgb", "x")
MASK_FOLDERS = (
    *("masks", "mask", "labels", "label", "annotations", "annots", "gtfine", "gt", "segmentationclass"),
    *("segmentation", "segmentations", "ground_truth", "y"),
)
ANNOTATED = ("annot", "_annot", "_labels", "_masks", "_mask", "_label", "labels", "masks")
"""Endings of the folder of a split's masks, beside that of its photos: `train` and `trainannot`."""

LAYOUTS = """\
Layouts that are understood, each with train, val and test or without:
  images/train/a.jpg    masks/train/a.png         (TAO; also leftImg8bit/ and gtFine/ as Cityscapes has them)
  train/images/a.jpg    train/masks/a.png
  train/a.jpg           trainannot/a.png          (also train_labels/, train_masks/)
  photos/a.jpg          photos/a_mask.png
  images/train/a.jpg    annotations/train.json    (COCO with segmentations; also train/_annotations.coco.json)
  train.jsonl           lines of {"img": ..., "segm": ...}
Masks are PNG (or BMP, TIFF) whose values are class numbers, colors, or 0 and 255."""


def find_mask_sources(folder: Path) -> dict[str, MaskSource]:
    """The sources of each split; `UNSPLIT` alone where data is not split; empty: no layout is understood."""
    for finder in (_in_two_trees, _in_split_folders, _in_paired_folders, _in_json, _in_one_folder):
        if found := dict(finder(folder)):
            return found
    return {}


def _folders(folder: Path) -> list[Path]:
    return [Path(entry.path) for entry in listing(folder) if entry.is_dir()]


def _pair(folder: Path) -> tuple[Path, Path] | None:
    """The folders of photos and of masks within a folder."""
    named = {path.name.lower(): path for path in _folders(folder)}
    photos = next((named[name] for name in IMAGE_FOLDERS if name in named), None)
    masks = next((named[name] for name in MASK_FOLDERS if name in named and named[name] != photos), None)
    if photos is None or masks is None or not _has_images(photos) or not _has_images(masks):
        return None
    return photos, masks


def _has_images(folder: Path) -> bool:
    return next(iter(find_images(folder)), None) is not None


def _in_two_trees(folder: Path) -> Iterator[tuple[str, MaskSource]]:
    """`images/<split>` and `masks/<split>`, or both without splits."""
    pair = _pair(folder)
    if pair is None:
        return
    photos, masks = pair
    of_masks = {split_name(path.name): path for path in _folders(masks)}
    of_photos = {split_name(path.name): path for path in _folders(photos)}
    shared = [split for split in ("train", "val", "test") if split in of_photos and split in of_masks]
    if "train" in shared:
        for split in shared:
            yield split, MaskSource(of_photos[split], of_masks[split])
    else:
        yield UNSPLIT, MaskSource(photos, masks)


def _in_split_folders(folder: Path) -> Iterator[tuple[str, MaskSource]]:
    """`<split>/images` and `<split>/masks`."""
    for path in _folders(folder):
        split, pair = split_name(path.name), _pair(path)
        if split and pair:
            yield split, MaskSource(*pair)


def _in_paired_folders(folder: Path) -> Iterator[tuple[str, MaskSource]]:
    """`train` and `trainannot`."""
    named = {path.name.lower(): path for path in _folders(folder)}
    for name, path in named.items():
        split = split_name(name)
        masks = next((named[name + ending] for ending in ANNOTATED if name + ending in named), None)
        if split and masks:
            yield split, MaskSource(path, masks)


def _in_one_folder(folder: Path) -> Iterator[tuple[str, MaskSource]]:
    """Photos and masks side by side, told apart by an ending."""
    masks = [path for path in find_images(folder) if path.stem.endswith(MASK_ENDINGS)]
    if masks:
        yield UNSPLIT, MaskSource(folder, folder)


def _in_json(folder: Path) -> Iterator[tuple[str, MaskSource]]:
    """COCO files with the photos where they name them; or files of splits, also of lines of JSON."""
    found = coco_sources(folder)
    if "train" in found or UNSPLIT in found:
        for name, source in found.items():
            yield name, MaskSource(images_dir=source.image_dir, json_file=source.json_file)
        return
    for location in (folder, folder / "annotations"):
        if not location.is_dir():
            continue
        for entry in listing(location):
            path = Path(entry.path)
            split = next(
                (
                    split_name(part)
                    for part in path.stem.lower().replace("-", "_").split("_")
                    if split_name(part)
                ),
                None,
            )
            if split is None or path.suffix.lower() not in (".json", ".jsonl"):
                continue
            if path.suffix.lower() == ".jsonl":
                yield split, MaskSource(json_file=path)
                continue
            wanted = (folder / "images" / path.stem, folder / path.stem, folder / "images")
            yield (
                split,
                MaskSource(images_dir=next((one for one in wanted if one.is_dir()), folder), json_file=path),
            )
