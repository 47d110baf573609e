"""The file that a name means, where another system wrote the name or unpacked the file."""

from __future__ import annotations

import os
import unicodedata
from collections import defaultdict
from functools import lru_cache
from pathlib import Path

from tao_like.data.images.files import suffix


def named_file(root: Path, name: str) -> Path | None:
    """The file of a name that starts from a folder; None where there is none.

    As `same_file`, with Windows' separators too.
    """
    for spelling in (name, name.replace("\\", "/")):
        path = same_file(Path(os.path.normpath(root / spelling)))
        if path is not None:
            return path
    return None


def same_file(path: Path) -> Path | None:
    """A file by its path; also where its name is in Unicode's other form, or its suffix in another case.

    macOS writes an accent as a character of its own, and Windows tells ``.TXT`` from ``.txt`` no more than
    people do. Where several files differ in nothing else, none of them is meant.
    """
    if path.is_file():
        return path
    try:
        changed = path.parent.stat().st_mtime_ns
    except (OSError, ValueError):
        return None
    found = _by_plain_name(path.parent, changed).get(_plain(path.name))
    return None if found is None else path.with_name(found)


@lru_cache(maxsize=4096)
def _by_plain_name(folder: Path, changed: int) -> dict[str, str]:
    """The names of the files in a folder by what all spellings share; remembered until the folder changes."""
    del changed
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if entry.is_file()]
    except OSError:
        return {}
    spellings: defaultdict[str, list[str]] = defaultdict(list)
    for name in names:
        spellings[_plain(name)].append(name)
    return {plain: same[0] for plain, same in spellings.items() if len(same) == 1}


def _plain(name: str) -> str:
    end = suffix(name)
    return unicodedata.normalize("NFC", name[: len(name) - len(end)]) + end
