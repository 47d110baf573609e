"""Emoji with their names, from a package of them that the user brings."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tao_like.errors import DatasetError

GROUND = (236, 236, 236)
"""The emoji are transparent around; networks here see three channels."""
LEFT_OUT = ("People & Body", "Flags", "Symbols", "Component")
"""Categories in which names say what the image does not show, or that differ by a shade alone."""
FRACTIONS = {"val": 0.1, "test": 0.1}
_LICENCES = ("LICENSE", "LICENSE.md", "LICENSE.txt", "LICENCE")
_LARGEST_LIST = 64 * 2**20
_KNOWN = {
    "google": "Noto, Google LLC, Apache License 2.0",
    "twitter": "Twemoji, Twitter Inc. and contributors, CC BY 4.0: name them where you show the images",
}

README = """\
Emoji with captions
===================

{count} emoji of {side} x {side} pixels on a grey ground, with their names, short names and categories as
captions, in train.jsonl, val.jsonl and test.jsonl (80, 10 and 10 %, drawn with seed {seed}). The label of an
image is its category. Of people, flags and symbols there are none: their names say what cannot be seen.

Made from the folder {source}, which you brought: npm's package emoji-datasource-{style}, version {version}.
Its data are under the MIT licence (Copyright Cal Henderson and contributors). Its images: {licence}.
The package's own licence texts are kept beside this file, where it had any.
"""


@dataclass(frozen=True)
class Emoji:
    """One emoji: its image and what is said of it."""

    file: Path
    category: str
    captions: tuple[str, ...]


def write_emoji(folder: Path, source: Path, seed: int = 0) -> Path:
    """Writes the images on a grey ground, and lists of captions for train, val and test.

    Args:
        folder: Where to write; made when it is missing.
        source: The unpacked package ``emoji-datasource-google`` (or ``-twitter``): ``emoji.json`` and
            ``img/google/64/*.png``.
        seed: Seed of the division.

    Returns:
        The folder.

    Raises:
        DatasetError: The source is no such folder, or one of another style.
    """
    style = _style(source)
    emoji = list(_emoji(source, style))
    if not emoji:
        raise DatasetError(f"{source}: emoji.json names no image that is in img/{style}/64")
    order = np.random.default_rng(seed).permutation(len(emoji))
    images = folder / "images"
    images.mkdir(parents=True, exist_ok=True)
    lists: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    for index, number in enumerate(order.tolist()):
        one = emoji[number]
        _on_ground(one.file).save(images / one.file.name)
        row = {"image": f"images/{one.file.name}", "captions": one.captions, "label": one.category}
        lists[_split(index / len(emoji))].append(json.dumps(row, ensure_ascii=False))
    for split, rows in lists.items():
        (folder / f"{split}.jsonl").write_text("\n".join([*rows, ""]), encoding="utf-8")
    _write_licences(folder, source, style, count=len(emoji), seed=seed)
    return folder


def _style(source: Path) -> str:
    if not (source / "emoji.json").is_file():
        raise DatasetError(
            f"{source}: there is no emoji.json; give the unpacked package emoji-datasource-google of npm "
            "(`npm pack emoji-datasource-google`, then unpack the .tgz and name its folder `package`)"
        )
    found = [style for style in _KNOWN if (source / "img" / style / "64").is_dir()]
    if not found:
        raise DatasetError(
            f"{source}: there is no folder img/google/64 or img/twitter/64; the styles of Apple and Facebook "
            "may not be used by others, and are not read"
        )
    return found[0]


def _emoji(source: Path, style: str) -> Iterator[Emoji]:
    file = source / "emoji.json"
    try:
        if file.stat().st_size > _LARGEST_LIST:
            raise ValueError("it is larger than 64 MiB")
        rows = json.loads(file.read_text("utf-8"))
        for row in rows:
            image = source / "img" / style / "64" / Path(row["image"]).name
            if row["category"] not in LEFT_OUT and image.is_file():
                yield Emoji(image, row["category"], _captions(row))
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DatasetError(
            f"{file}: this is no list of emoji with name, image and category ({error})"
        ) from error


def _captions(row: dict[str, Any]) -> tuple[str, ...]:
    """The name, the short names, and the name with its kind."""
    name = str(row["name"]).lower()
    short = [str(one).replace("_", " ").replace("-", " ") for one in row.get("short_names", [])]
    kind = str(row.get("subcategory") or row["category"]).replace("-", " ").lower()
    return tuple(dict.fromkeys([name, *short, f"{name}, {kind}"]))


def _on_ground(file: Path) -> Image.Image:
    try:
        with Image.open(file) as image:
            emoji = image.convert("RGBA")
    except (OSError, ValueError) as error:
        raise DatasetError(f"{file}: this image cannot be read ({error})") from error
    ground = Image.new("RGBA", emoji.size, (*GROUND, 255))
    return Image.alpha_composite(ground, emoji).convert("RGB")


def _split(fraction: float) -> str:
    if fraction < FRACTIONS["val"]:
        return "val"
    return "test" if fraction < FRACTIONS["val"] + FRACTIONS["test"] else "train"


def _write_licences(folder: Path, source: Path, style: str, *, count: int, seed: int) -> None:
    """The README, and the licence texts that the package has."""
    package = source / "package.json"
    try:
        version = str(json.loads(package.read_text("utf-8"))["version"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        version = "unknown"
    text = README.format(
        count=count,
        side=64,
        seed=seed,
        source=source.name,
        style=style,
        version=version,
        licence=_KNOWN[style],
    )
    (folder / "README.txt").write_text(text, encoding="utf-8")
    for name in _LICENCES:
        if (source / name).is_file():
            (folder / name).write_bytes((source / name).read_bytes())
