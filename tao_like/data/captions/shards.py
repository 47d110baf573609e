"""Images with captions in WebDataset shards: .tar or .tar.gz, in which the files of a sample share a key."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from tao_like.data.captions.record import CaptionRecord
from tao_like.data.images.csv_lists import plain_header
from tao_like.data.images.files import listing
from tao_like.errors import DatasetError
from tao_like.runtime.inputs.image import IMAGE_SUFFIXES
from tao_like.runtime.inputs.shards import Member, is_shard, open_shard, read_member, shard_members

Texts = tuple[tuple[str, ...], str, str]
"""Captions, label and group of a sample; the last two may be empty."""


class TextsOf(Protocol):
    """Reads a record of JSON."""

    def __call__(self, row: Mapping[str, Any], where: str, *, wants: bool) -> Texts:
        """Its captions, label and group; wants: there must be captions. Raises DatasetError."""


TEXT, JSON = "txt", "json"
_LARGEST_TEXT = 2**20
_IMAGES = {suffix.removeprefix(".") for suffix in IMAGE_SUFFIXES}


def find_shards(location: Path) -> list[Path]:
    """The shards that a path stands for: itself, or those that lie in a folder, in order; else none."""
    if location.is_file():
        return [location] if is_shard(location) else []
    if not location.is_dir():
        return []
    entries = (Path(entry.path) for entry in listing(location) if entry.is_file())
    return [path for path in entries if is_shard(path)]


def read_shards(
    shards: Sequence[Path], root: Path, texts_of: TextsOf
) -> tuple[list[CaptionRecord], list[str]]:
    """The samples of shards, and the keys of those that have an image and no caption.

    Args:
        shards: in the order of their samples.
        root: what keys are relative to: a folder, or the only shard.
        texts_of: reads a record of JSON.

    Raises:
        DatasetError: a shard is damaged, or a text in it.
    """
    records: list[CaptionRecord] = []
    without: list[str] = []
    for shard in shards:
        with open_shard(shard) as file:
            for name, members in _samples(shard):
                key = (shard / name).relative_to(root).as_posix()
                captions, label, group = _texts(file, shard / name, members, texts_of)
                if not captions:
                    without.append(key)
                    continue
                records.append(CaptionRecord(shard / name, (label,) if label else (), group, key, captions))
    return records, without


def _samples(shard: Path) -> Iterator[tuple[str, dict[str, Member]]]:
    """Name of the image of each sample, and its texts by their suffix.

    A key is what stands before the first dot of a file's name, its folder included (WebDataset's rule).
    """
    samples: dict[str, dict[str, tuple[str, Member]]] = {}
    for name, member in shard_members(shard).items():
        folder, slash, base = name.rpartition("/")
        stem, _, suffix = base.partition(".")
        samples.setdefault(folder + slash + stem, {})[suffix.lower()] = (name, member)
    for key, files in samples.items():
        images = [name for suffix, (name, _) in files.items() if suffix in _IMAGES]
        if len(images) > 1:
            raise DatasetError(f"{shard}: the sample {key} has several images: {', '.join(images)}")
        if images:
            yield images[0], {suffix: files[suffix][1] for suffix in (TEXT, JSON) if suffix in files}


def _texts(file: BinaryIO, image: Path, members: Mapping[str, Member], texts_of: TextsOf) -> Texts:
    """From the text file's lines, or else from JSON, which may hold label and group beside a text file."""
    captions: tuple[str, ...] = ()
    label = group = ""
    if TEXT in members:
        text = _decoded(file, image, members[TEXT])
        captions = tuple(line.strip() for line in text.splitlines() if line.strip())
    if JSON in members:
        try:
            row = json.loads(_decoded(file, image, members[JSON]))
        except (ValueError, RecursionError) as error:
            raise DatasetError(f"{image}: its .json cannot be read ({error})") from error
        if not isinstance(row, dict):
            raise DatasetError(f"{image}: its .json holds no object with a caption")
        named = {plain_header(str(name)): value for name, value in row.items()}
        given, label, group = texts_of(named, str(image), wants=not captions)
        captions = captions or given
    return captions, label, group


def _decoded(file: BinaryIO, image: Path, member: Member) -> str:
    if member.size > _LARGEST_TEXT:
        raise DatasetError(f"{image}: its text has {member.size} bytes; {_LARGEST_TEXT} are the most")
    try:
        return read_member(file, member).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DatasetError(f"{image}: its text is not UTF-8") from error
