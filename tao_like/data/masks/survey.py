"""Finding out how a folder of photos and masks is laid out, and what its data is like."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tao_like.data.images.files import check_is_folder, read_header, read_text
from tao_like.data.masks.counting import ValueCounts, count_values
from tao_like.data.masks.layouts import LAYOUTS, find_mask_sources
from tao_like.data.masks.record import MaskRecord
from tao_like.data.masks.sources import MaskSource, read_masks
from tao_like.data.masks.values import IGNORE, PaletteEntry
from tao_like.data.splits.surveyed import UNSPLIT, SurveyedSplits
from tao_like.errors import DatasetError

_MOST_HEADERS = 300
_MOST_COLORS = 256
CLASSES_FILE = "classes.txt"
COLOR_FILES = ("label_colors.txt", "class_dict.csv", "classes.csv", "colormap.txt")
_COLOR_LINE = re.compile(r"^\s*(\d{1,3})[\s,]+(\d{1,3})[\s,]+(\d{1,3})[\s,]+(.+?)\s*$")


@dataclass(frozen=True)
class MaskSurvey(SurveyedSplits):
    """What a look at a folder gave.

    Attributes:
        sources: for each split where to read it; the one name ``all`` for data that is not split.
        images: photos of each split.
        kind: of the masks: ``index``, ``binary`` (0 and 255), ``color`` or ``coco``.
        palette: what to write into the spec; empty: names come from a file or from COCO's categories.
        classes_file: with the names, where there is one.
        fractions: value, color or class name to its fraction of the labelled pixels, the largest first.
        width: median of the photos, in pixels.
        height: likewise.
        notes: what was noticed, in sentences.
    """

    sources: Mapping[str, MaskSource]
    images: Mapping[str, int]
    kind: str
    palette: tuple[PaletteEntry, ...]
    classes_file: Path | None
    fractions: Mapping[str, float]
    width: int
    height: int
    notes: tuple[str, ...] = field(default=())


def survey_masks(folder: Path) -> MaskSurvey:
    """Recognizes how photos and masks are laid out, and what the masks' values are.

    Raises:
        DatasetError: there is no layout that is understood (the message shows those that are), or photos and
            masks do not belong together.
    """
    check_is_folder(folder, "photos and masks")
    sources = find_mask_sources(folder)
    if not sources or (UNSPLIT not in sources and "train" not in sources):
        raise DatasetError(f"{folder}: no photos with masks were found\n{LAYOUTS}")
    order = [name for name in (UNSPLIT, "train", "val", "test") if name in sources]
    records = {name: read_masks(sources[name], str(sources[name].root)) for name in order}
    main = records[order[0]]
    width, height = _median_size(main)
    counts = {name: len(part) for name, part in records.items()}
    given = {name: sources[name] for name in order}
    if main[0].mask is None:
        return MaskSurvey(given, counts, "coco", (), None, _region_fractions(main), width, height)
    values = count_values(main)
    if values.faults:
        raise DatasetError(next(iter(values.faults.values())))
    kind, palette, classes_file, notes = _meaning(values, sources[order[0]], folder)
    counted = values.color_pixels if kind == "color" else values.pixels
    total = max(1, sum(counted.values()))
    fractions = {str(value): count / total for value, count in counted.most_common(_MOST_COLORS)}
    return MaskSurvey(given, counts, kind, palette, classes_file, fractions, width, height, notes)


def _meaning(
    values: ValueCounts, source: MaskSource, folder: Path
) -> tuple[str, tuple[PaletteEntry, ...], Path | None, tuple[str, ...]]:
    """Kind of the masks, what to write of them, the file with names, and notes."""
    around = [source.masks_dir or folder, *(source.masks_dir or folder).parents]
    near = [one for one in around if one == folder or folder in one.parents] or [folder]
    if values.colors:
        return ("color", *_color_palette(values, near))
    seen = sorted(values.pixels)
    if set(seen) == {0, IGNORE}:
        note = "the masks hold 0 and 255 alone: 255 is taken for the foreground, not for pixels of no class"
        entries: tuple[PaletteEntry, ...] = (
            PaletteEntry(0, "background", "background"),
            PaletteEntry(1, "foreground", "foreground"),
        )
        return "binary", entries, None, (note,)
    found = next((one / CLASSES_FILE for one in near if (one / CLASSES_FILE).is_file()), None)
    if found is not None:
        return "index", (), found, ()
    entries = tuple(
        PaletteEntry(value, f"class_{value}", f"class_{value}") for value in seen if value != IGNORE
    )
    notes = ["no classes.txt says what the values mean; give the classes of dataset.palette names"]
    if IGNORE in seen:
        notes.append(
            f"the value {IGNORE} is taken for pixels of no class (dataset.ignore_label); to learn it, name "
            "it in dataset.palette too"
        )
    return "index", entries, None, tuple(notes)


def _color_palette(
    values: ValueCounts, near: list[Path]
) -> tuple[tuple[PaletteEntry, ...], Path | None, tuple[str, ...]]:
    """The colors with their names, from a file that lists them, else as they are found."""
    for folder in near:
        for name in COLOR_FILES:
            if (folder / name).is_file():
                named = _named_colors(folder / name)
                entries = tuple(
                    PaletteEntry(number, label, label, color)
                    for number, (color, label) in enumerate(named.items())
                )
                return entries, None, (f"names of colors come from {folder / name}",)
    if len(values.color_pixels) > _MOST_COLORS:
        raise DatasetError(
            f"the masks have more than {_MOST_COLORS} colors, as images saved with loss have; save "
            "masks as PNG"
        )
    colors = [color for color, _ in values.color_pixels.most_common()]
    entries = tuple(
        PaletteEntry(
            number, f"color_{'_'.join(map(str, color))}", f"color_{'_'.join(map(str, color))}", color
        )
        for number, color in enumerate(colors)
    )
    note = (
        "no file says what the colors mean; give the classes of dataset.palette names, and take out the "
        "color of pixels that belong to no class"
    )
    return entries, None, (note,)


def _named_colors(path: Path) -> dict[tuple[int, int, int], str]:
    """Colors and their names: lines of `r g b name`, or a CSV with columns name, r, g, b."""
    text = read_text(path, "colors and their names")
    found: dict[tuple[int, int, int], str] = {}
    if path.suffix == ".csv":
        for row in csv.DictReader(text.splitlines()):
            low = {str(key).strip().lower(): str(value).strip() for key, value in row.items()}
            try:
                found[int(low["r"]), int(low["g"]), int(low["b"])] = low["name"]
            except (KeyError, ValueError) as error:
                raise DatasetError(f"{path} has not the columns name, r, g, b") from error
    else:
        for line in text.splitlines():
            if match := _COLOR_LINE.match(line):
                found[int(match[1]), int(match[2]), int(match[3])] = match[4]
    if not found:
        raise DatasetError(f"{path} names no color")
    return found


def _region_fractions(records: list[MaskRecord]) -> dict[str, float]:
    areas: dict[str, float] = {}
    for record in records:
        for region in record.regions:
            areas[region.label] = areas.get(region.label, 0.0) + region.area
    total = max(1e-9, sum(areas.values()))
    return {name: area / total for name, area in sorted(areas.items(), key=lambda item: -item[1])}


def _median_size(records: list[MaskRecord]) -> tuple[int, int]:
    headers = [read_header(record.path) for record in records[:: max(1, -(-len(records) // _MOST_HEADERS))]]
    return int(np.median([one.width for one in headers])), int(np.median([one.height for one in headers]))
