"""Index masks as segments: each class on an image is one, as TAO's `ade` data has them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tao_like.data.boxes.annotation import Box, BoxRecord, PixelValue, labels_of
from tao_like.data.boxes.formats.text_files import flag_of
from tao_like.data.images.files import label_text, read_text
from tao_like.data.masks.files import read_mask_values
from tao_like.data.masks.record import MaskRecord
from tao_like.data.masks.sources import MaskSource, read_masks
from tao_like.data.threads import in_threads
from tao_like.errors import DatasetError

NO_CLASS = frozenset({0, 255})
"""Values of pixels that belong to no class, where the label map does not name them."""


class MaskClass(NamedTuple):
    """What a value of the masks stands for.

    Attributes:
        name: of the class.
        is_thing: its objects are told apart; else it is a region.
    """

    name: str
    is_thing: bool


def read_label_map(path: Path) -> dict[int, MaskClass]:
    """The classes of a label map by their values, in the order of these.

    Args:
        path: JSON list of ``id``, ``name`` and ``isthing`` (1 where it is not given), as TAO's.

    Raises:
        DatasetError: it is missing or has another form.
    """
    try:
        entries = json.loads(read_text(path, "a JSON list"))
    except ValueError as error:
        raise DatasetError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(entries, list):
        raise DatasetError(f"{path} is no list; a label map is a JSON list of id, name and isthing")
    found: dict[int, MaskClass] = {}
    for index, entry in enumerate(entries):
        where = f"{path}[{index}]"
        number, name = (entry.get(key) if isinstance(entry, dict) else None for key in ("id", "name"))
        if isinstance(number, bool) or not isinstance(number, int) or not isinstance(name, str) or not name:
            raise DatasetError(f"{where} lacks id (a whole number) or name (a text)")
        if number in found:
            raise DatasetError(
                f"{where}: the id {number} is that of {found[number].name!r} too; ids must differ"
            )
        found[number] = MaskClass(label_text(name), flag_of(entry.get("isthing", 1), f"{where}: isthing"))
    return dict(sorted(found.items()))


def read_class_masks(json_file: Path, root: Path | None, label_map: Path | None) -> list[BoxRecord]:
    """Photos whose index masks say the class of every pixel; all of a class on a photo is one segment.

    Args:
        json_file: JSON lines of ``img`` and ``segm``.
        root: what these paths start from; None: the folder of the file.
        label_map: names of the values; None: class_1, class_2, ...

    Raises:
        DatasetError: something is missing or cannot be read, or a mask has a value without a name.
    """
    names = read_label_map(label_map) if label_map else None
    records = read_masks(MaskSource(root, json_file=json_file), "annot_file")
    return list(in_threads(lambda record: _segments(record, names, str(json_file)), records))


def _segments(record: MaskRecord, names: Mapping[int, MaskClass] | None, source: str) -> BoxRecord:
    """A photo with a segment for each value of its mask."""
    assert record.mask is not None, "each line names one"
    values = read_mask_values(record.mask)
    if values.ndim != 2:
        raise DatasetError(f"{record.mask} holds colors; the masks of {source} hold class numbers")
    boxes = []
    for value in np.unique(values).tolist():
        if value in NO_CLASS and (names is None or value not in names):
            continue
        if names is not None and value not in names:
            raise DatasetError(
                f"{record.mask}: the mask has the value {value}, which dataset.label_map does not name; 0 "
                "and 255 stand for no class"
            )
        pixels = values == value
        rows, columns = np.flatnonzero(pixels.any(axis=1)), np.flatnonzero(pixels.any(axis=0))
        boxes.append(
            Box(
                names[value].name if names else f"class_{value}",
                *(float(columns[0]), float(rows[0]), float(columns[-1]) + 1, float(rows[-1]) + 1),
                area=float(pixels.sum()),
                segmentation=PixelValue(record.mask, value, packed=False),
            )
        )
    height, width = values.shape
    return BoxRecord(
        record.path, labels_of(boxes), "", record.key, tuple(boxes), int(width), int(height), source
    )
