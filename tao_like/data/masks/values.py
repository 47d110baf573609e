"""What the values of a mask file mean: from label ids or colors to class numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from tao_like.data.masks.files import is_gray
from tao_like.errors import DatasetError, SpecError

IGNORE = 255
"""The class number of pixels that belong to no class, whatever value stands for them in the files."""
MOST_CLASSES = 255
_VALUES_OF_16_BITS = 1 << 16
ClassMap = npt.NDArray[np.uint8]
"""(H, W) class numbers, `IGNORE` where a pixel belongs to no class."""


@dataclass(frozen=True)
class PaletteEntry:
    """A value of mask files.

    Attributes:
        label_id: its value in index masks.
        name: of what is there.
        mapping_class: the class that it is learnt as; values with one mapping class are merged.
        rgb: its color in color masks, or one gray value; empty: none.
    """

    label_id: int
    name: str
    mapping_class: str
    rgb: tuple[int, ...] = ()


@dataclass(frozen=True)
class MaskCoding:
    """From the values of a mask file to class numbers.

    Attributes:
        classes: names in the order of the class numbers.
        of_value: class number of each value of an index mask.
        of_color: class number of each color of a color mask; empty: color masks cannot be read.
        ignored: values of index masks that belong to no class.
    """

    classes: tuple[str, ...]
    of_value: Mapping[int, int]
    of_color: Mapping[tuple[int, int, int], int] = field(default_factory=dict)
    ignored: frozenset[int] = frozenset({IGNORE})

    def __post_init__(self) -> None:
        """Refuse more classes than a byte can tell apart, with a SpecError."""
        if len(self.classes) > MOST_CLASSES:
            raise SpecError(
                f"the masks have {len(self.classes)} classes; {MOST_CLASSES} can be told apart at most. "
                "Merge some by dataset.palette's mapping_class"
            )

    def decode(self, values: npt.NDArray[np.integer], name: str) -> ClassMap:
        """Class numbers of a mask.

        The colors of a mask that is gray everywhere may be values: they are, where some are no colors.

        Args:
            values: (H, W) of an index mask, or (H, W, 3) of a color mask.
            name: of the file, for messages.

        Raises:
            DatasetError: it has values that mean nothing.
        """
        if values.ndim == 3:
            return self._decode_colors(values, name)
        table, known = self._table
        if int(values.min(initial=0)) < 0 or int(values.max(initial=0)) >= len(known):
            raise DatasetError(f"{name}: the mask has values from {values.min()} to {values.max()}")
        unknown = np.unique(values[~known[values]])
        if len(unknown):
            raise DatasetError(
                f"{name}: the mask has the {_values(unknown.tolist())}, which mean nothing; the values are "
                f"{self._known_values()}"
            )
        found: ClassMap = table[values]
        return found

    @cached_property
    def _table(self) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
        """Class number of every value of 16 bits, and which values mean something."""
        table = np.full(_VALUES_OF_16_BITS, IGNORE, np.uint8)
        known = np.zeros(_VALUES_OF_16_BITS, bool)
        for value in self.ignored:
            known[value] = True
        for value, number in self.of_value.items():
            table[value], known[value] = number, True
        return table, known

    def _decode_colors(self, values: npt.NDArray[np.integer], name: str) -> ClassMap:
        if not self.of_color:
            raise DatasetError(
                f"{name}: this is a color mask, and no color is known; give dataset.palette with rgb, or "
                "masks whose values are label ids"
            )
        packed = pack_colors(values)
        found, inverse = np.unique(packed, return_inverse=True)
        meaning = {pack(color): number for color, number in self.of_color.items()}
        unknown = [unpack(int(color)) for color in found if int(color) not in meaning]
        if unknown and is_gray(values) and self._table[1][values[..., 0]].all():
            return self.decode(values[..., 0], name)
        if unknown:
            more = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
            raise DatasetError(
                f"{name}: the mask has the colors {', '.join(map(str, unknown[:5]))}{more}, which "
                "dataset.palette does not name; a mask must be saved without loss (PNG), and every color "
                "named"
            )
        numbers = np.array([meaning[int(color)] for color in found], np.uint8)
        return numbers[inverse].reshape(packed.shape)

    def _known_values(self) -> str:
        values = sorted(self.of_value)
        shown = ", ".join(map(str, values[:20])) + (", ..." if len(values) > 20 else "")
        ignored = ", ".join(map(str, sorted(self.ignored - set(values))))
        return f"{shown}{f', and {ignored} for no class (dataset.ignore_label)' if ignored else ''}"


def coding_of_palette(palette: Sequence[PaletteEntry], ignore_label: int, norm: bool) -> MaskCoding:
    """The meaning of values by a palette; values with one mapping class become one class.

    Classes stand in the order of their smallest label id. Where all colors of the palette are gray, an index
    mask's values are compared with them, as TAO does; else with the label ids.

    Args:
        palette: of all values.
        ignore_label: value that belongs to no class where the palette does not name it.
        norm: masks hold 0 and 255 in the place of 0 and 1.

    Raises:
        SpecError: a value or color is named twice with two meanings.
    """
    ordered = sorted(palette, key=lambda entry: entry.label_id)
    classes = tuple(dict.fromkeys(entry.mapping_class for entry in ordered))
    numbers = {name: number for number, name in enumerate(classes)}
    all_gray = all(entry.rgb and len(set(entry.rgb)) == 1 for entry in palette)
    of_value: dict[int, int] = {}
    of_color: dict[tuple[int, int, int], int] = {}
    for entry in ordered:
        number = numbers[entry.mapping_class]
        value = entry.rgb[0] if all_gray else entry.label_id
        if norm and value == 1:
            value = IGNORE
        if of_value.setdefault(value, number) != number:
            raise SpecError(f"dataset.palette: the value {value} is named twice, for two classes")
        if entry.rgb:
            color = (entry.rgb[0],) * 3 if len(entry.rgb) == 1 else (entry.rgb[0], entry.rgb[1], entry.rgb[2])
            if of_color.setdefault(color, number) != number:
                raise SpecError(f"dataset.palette: the color {list(color)} is named twice, for two classes")
    return MaskCoding(classes, of_value, of_color, frozenset({ignore_label} - of_value.keys()))


def coding_of_names(classes: Sequence[str], ignore_label: int, norm: bool) -> MaskCoding:
    """The meaning of values where the class number of a pixel is its value; with ``norm`` 255 means 1."""
    of_value = {IGNORE if norm and number == 1 else number: number for number in range(len(classes))}
    if not norm:
        of_value.pop(ignore_label, None)
    return MaskCoding(tuple(classes), of_value, ignored=frozenset({ignore_label} - of_value.keys()))


def remapped(coding: MaskCoding, classes: Sequence[str]) -> MaskCoding:
    """The same meaning with the classes in another order, perhaps with further ones.

    Raises:
        DatasetError: a class of the coding is not among them.
    """
    if tuple(classes) == coding.classes:
        return coding
    unknown = [name for name in coding.classes if name not in classes]
    if unknown:
        raise DatasetError(
            f"the masks have the classes {', '.join(unknown[:10])}, which the model does not know; it knows "
            f"{', '.join(classes[:20])}. Give dataset.palette or dataset.classes_file with the model's names"
        )
    number = {old: list(classes).index(name) for old, name in enumerate(coding.classes)}
    return replace(
        coding,
        classes=tuple(classes),
        of_value={value: number[old] for value, old in coding.of_value.items()},
        of_color={color: number[old] for color, old in coding.of_color.items()},
    )


def pack(color: Sequence[int]) -> int:
    """A color as one number."""
    return (int(color[0]) << 16) | (int(color[1]) << 8) | int(color[2])


def unpack(number: int) -> tuple[int, int, int]:
    """The color of `pack`."""
    return number >> 16, number >> 8 & 255, number & 255


def pack_colors(values: npt.NDArray[np.integer]) -> npt.NDArray[np.uint32]:
    """(H, W) one number for each color of (H, W, 3)."""
    wide = values.astype(np.int64)
    packed = wide[..., 0] * 65536 + wide[..., 1] * 256 + wide[..., 2]
    return packed.astype(np.uint32)


def _values(values: Sequence[int]) -> str:
    shown = ", ".join(map(str, values[:10])) + (f" and {len(values) - 10} more" if len(values) > 10 else "")
    return f"value {shown}" if len(values) == 1 else f"values {shown}"
