"""Which mask belongs to which photo: by name in two folders, by lists, by an ADE file or a COCO file."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tao_like.data.boxes.annotation import Box
from tao_like.data.boxes.formats.coco import read_coco
from tao_like.data.images.files import find_images, first_of, read_text
from tao_like.data.images.named import named_file
from tao_like.data.masks.files import LOSSY_SUFFIXES, SUFFIXES
from tao_like.data.masks.record import MaskRecord, Region
from tao_like.errors import DatasetError

IMAGE_ENDINGS = ("_leftImg8bit", "_image", "_img", "_sat")
MASK_ENDINGS = (
    "_gtFine_labelIds",
    "_gtFine_labelTrainIds",
    "_gtFine_color",
    "_gtCoarse_labelIds",
    "_labelIds",
    "_labelTrainIds",
    "_mask",
    "_label",
    "_labels",
    "_seg",
    "_segmentation",
    "_gt",
    "_L",
    "_P",
)
"""Endings by which well-known data (Cityscapes, CamVid, ...) tells the files of one photo apart."""


@dataclass(frozen=True)
class MaskSource:
    """Where the photos and masks of a split are.

    Attributes:
        images_dir: folder of the photos.
        masks_dir: folder of the masks.
        images_list: text file with a photo a line.
        masks_list: text file with a mask a line, in the same order.
        json_file: COCO annotations, or ADE's JSON lines of ``img`` and ``segm``.
        mask_suffix: ending of the mask files to take, such as ``_gtFine_labelIds.png``; empty: found.
    """

    images_dir: Path | None = None
    masks_dir: Path | None = None
    images_list: Path | None = None
    masks_list: Path | None = None
    json_file: Path | None = None
    mask_suffix: str = ""

    @property
    def root(self) -> Path:
        """What the names of its photos start from."""
        for folder in (
            self.images_dir,
            self.images_list and self.images_list.parent,
            self.json_file and self.json_file.parent,
        ):
            if folder is not None:
                return folder
        return Path()


def read_masks(source: MaskSource, key: str) -> list[MaskRecord]:
    """The photos of a source, each with its mask, sorted by name or in the order of the file.

    Args:
        source: what is given.
        key: of the spec, for messages.

    Raises:
        DatasetError: something is missing, or photos have no mask or masks no photo.
    """
    if source.json_file is not None:
        return _of_json(source.json_file, source.images_dir, key)
    if source.images_list is not None or source.masks_list is not None:
        return _of_lists(source, key)
    if source.images_dir is None or source.masks_dir is None:
        lacking = "images_dir" if source.images_dir is None else "masks_dir"
        raise DatasetError(f"{key}.{lacking} is not given; photos and masks lie in two folders")
    for name, folder in (("images_dir", source.images_dir), ("masks_dir", source.masks_dir)):
        if not folder.is_dir():
            raise DatasetError(f"{key}.{name}: {folder} is not a folder")
    return _of_folders(source.images_dir, source.masks_dir, source.mask_suffix)


def _of_folders(images_dir: Path, masks_dir: Path, suffix: str) -> list[MaskRecord]:
    """Photos and masks of the same name, in the same folders below the two."""
    same = images_dir.resolve() == masks_dir.resolve()
    images = list(find_images(images_dir))
    # Of photos that are called as their masks are, nothing is taken away: `_R` may be the right camera.
    whole = {} if same else {path: _key(path, images_dir, path.stem) for path in images}
    masks = mask_files(masks_dir, suffix, frozenset(whole.values()))
    if same and not suffix:
        masks = {stem: path for stem, path in masks.items() if _plain_stem(path, MASK_ENDINGS) != path.stem}
    taken = {path.resolve() for path in masks.values()}
    photos: dict[str, Path] = {}
    for path in images:
        if same and path.resolve() in taken:
            continue
        stem = whole.get(path, "")
        if stem not in masks:
            stem = _key(path, images_dir, _plain_stem(path, IMAGE_ENDINGS))
        if stem in photos:
            raise DatasetError(
                f"{path} and {photos[stem]} are two photos of one name, so their masks cannot be told apart; "
                "rename one"
            )
        photos[stem] = path
    if not photos:
        raise DatasetError(f"{images_dir} has no images")
    check_pairs(photos, masks, images_dir, masks_dir)
    return [
        MaskRecord(path, (), key=path.relative_to(images_dir).as_posix(), mask=masks[stem])
        for stem, path in photos.items()
    ]


def check_pairs(photos: dict[str, Path], masks: dict[str, Path], images_dir: Path, masks_dir: Path) -> None:
    """Raises a DatasetError that names the photos without a mask and the masks without a photo."""
    alone = [str(path) for stem, path in photos.items() if stem not in masks]
    orphans = [str(path) for stem, path in masks.items() if stem not in photos]
    if not alone and not orphans:
        return
    parts = []
    if alone:
        parts.append(f"{len(alone)} photos have no mask of their name in {masks_dir}:\n{first_of(alone)}")
    if orphans:
        parts.append(
            f"{len(orphans)} masks have no photo of their name in {images_dir}:\n{first_of(orphans)}"
        )
    lossy = [path for path in find_images(masks_dir) if path.suffix.lower() in LOSSY_SUFFIXES]
    if alone and lossy and not masks:
        parts.append(f"{len(lossy)} files there are JPEG, whose values are blurred; save masks as PNG")
    raise DatasetError("\n".join(parts) + "\nGive each photo its mask, or move what has none away")


def mask_files(masks_dir: Path, suffix: str, photos: frozenset[str] = frozenset()) -> dict[str, Path]:
    """The masks below a folder by the name that they share with their photo.

    Of several that one photo has (Cityscapes: ids, training ids, colors) those with the ending that comes
    first in `MASK_ENDINGS` count.

    Args:
        masks_dir: the folder.
        suffix: ending of the files to take; empty: found.
        photos: names of photos; a mask of such a name belongs to that one, whatever its ending.

    Raises:
        DatasetError: several belong to one photo and no ending tells them apart.
    """
    found: dict[str, Path] = {}
    ranks: dict[str, int] = {}
    for path in find_images(masks_dir):
        if path.suffix.lower() not in SUFFIXES:
            continue
        if suffix:
            if not path.name.endswith(suffix):
                continue
            stem, rank = path.name.removesuffix(suffix), 0
        elif path.stem.endswith("_instanceIds"):
            continue
        else:
            is_named = _key(path, masks_dir, path.stem) in photos
            stem, rank = path.stem if is_named else _plain_stem(path, MASK_ENDINGS), _rank(path)
        key = _key(path, masks_dir, stem)
        if key in found and ranks[key] == rank:
            raise DatasetError(
                f"{found[key]} and {path} are two masks of one photo; take one away, or say which to take by "
                "mask_suffix"
            )
        if key not in found or rank < ranks[key]:
            found[key], ranks[key] = path, rank
    return found


def _plain_stem(path: Path, endings: Sequence[str]) -> str:
    """The name of a file without the endings that well-known data has."""
    for ending in endings:
        if path.stem.endswith(ending) and len(path.stem) > len(ending):
            return path.stem.removesuffix(ending)
    return path.stem


def _rank(path: Path) -> int:
    return next(
        (number for number, ending in enumerate(MASK_ENDINGS) if path.stem.endswith(ending)),
        len(MASK_ENDINGS),
    )


def _key(path: Path, folder: Path, stem: str) -> str:
    # macOS writes an accent as a character of its own.
    return unicodedata.normalize("NFC", (path.relative_to(folder).parent / stem).as_posix())


def _of_lists(source: MaskSource, key: str) -> list[MaskRecord]:
    """Two text files of equal length with a path a line, as TAO's unet has them."""
    if source.images_list is None or source.masks_list is None:
        lacking = "images_list" if source.images_list is None else "masks_list"
        raise DatasetError(f"{key}.{lacking} is not given; photos and masks are listed in two files")
    photos = _lines(source.images_list)
    masks = _lines(source.masks_list)
    if len(photos) != len(masks):
        raise DatasetError(
            f"{source.images_list} has {len(photos)} lines and {source.masks_list} {len(masks)}; the mask "
            "of a photo stands on the same line as the photo"
        )
    records = []
    images_root = source.images_dir or source.images_list.parent
    masks_root = source.masks_dir or source.masks_list.parent
    for photo, mask in zip(photos, masks, strict=True):
        path, mask_path = _located(photo, images_root), _located(mask, masks_root)
        for one, where in ((path, source.images_list), (mask_path, source.masks_list)):
            if not one.is_file():
                raise DatasetError(f"{where}: there is no file {one}")
        records.append(MaskRecord(path, (), key=_name(path, images_root), mask=mask_path))
    if not records:
        raise DatasetError(f"{source.images_list} names no photo")
    return records


def _of_json(json_file: Path, images_dir: Path | None, key: str) -> list[MaskRecord]:
    if json_file.suffix.lower() in (".jsonl", ".odgt"):
        return _of_ade(json_file, images_dir or json_file.parent)
    if images_dir is not None and not images_dir.is_dir():
        raise DatasetError(f"{key}.images_dir: {images_dir} is not a folder")
    found = [
        MaskRecord(record.path, (), key=record.key, regions=tuple(_regions(record.boxes, record.name)))
        for record in read_coco(json_file, images_dir)
    ]
    if not found:
        raise DatasetError(f"{json_file} names no image")
    return found


def _regions(boxes: Sequence[Box], name: str) -> list[Region]:
    regions = []
    for box in boxes:
        if box.segmentation is None:
            raise DatasetError(
                f"{name}: an annotation of {box.label} has a box and no segmentation; a mask needs its "
                "outline"
            )
        area = box.area or (box.right - box.left) * (box.bottom - box.top)
        regions.append(Region(box.label, box.segmentation, area))
    return regions


def _of_ade(json_file: Path, root: Path) -> list[MaskRecord]:
    """JSON lines of ``img`` and ``segm``, as TAO's `ade` data has them."""
    records = []
    for number, line in enumerate(read_text(json_file, "a JSON object a line").split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{json_file}: line {number}"
        try:
            entry = json.loads(line)
        except ValueError as error:
            raise DatasetError(f"{where} is not valid JSON: {error}") from error
        names = [
            entry.get(one) or entry.get(other) if isinstance(entry, dict) else None
            for one, other in (("img", "fpath_img"), ("segm", "fpath_segm"))
        ]
        if not all(isinstance(name, str) for name in names):
            raise DatasetError(f"{where} lacks img or segm, the paths of a photo and its mask")
        path, mask = (_located(str(name), root) for name in names)
        for one in (path, mask):
            if not one.is_file():
                raise DatasetError(f"{where}: there is no file {one}")
        records.append(MaskRecord(path, (), key=_name(path, root), mask=mask))
    if not records:
        raise DatasetError(f"{json_file} names no photo")
    return records


def _lines(path: Path) -> list[str]:
    text = read_text(path, "a path a line")
    return [line.strip() for line in text.split("\n") if line.strip()]


def _located(text: str, root: Path) -> Path:
    path = Path(text)
    found = named_file(root, text)
    if found is not None:
        return found
    return path if path.is_absolute() or path.is_file() else root / path


def _name(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()
