"""Names of the files that the predictions of samples are written to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import PurePath


def file_names(keys: Iterable[str], form: str) -> list[str]:
    """A file for each sample, in the samples' order; of samples of the same name the later ones get a number.

    Args:
        keys: name of each sample, perhaps with folders.
        form: with ``{}`` for the name without its suffix, such as ``labels/{}.txt``.
    """
    names: dict[str, None] = {}
    seen: Counter[str] = Counter()
    for key in keys:
        stem = PurePath(key).stem
        path = form.format(stem)
        # Another sample may bear the name with a number by itself.
        while path in names:
            seen[stem] += 1
            path = form.format(f"{stem}_{seen[stem] + 1}")
        names[path] = None
    return list(names)


def label_files(samples: Iterable[tuple[str, Sequence[str]]]) -> dict[str, str]:
    """For each sample ``labels/<name>.txt`` and its text; see `file_names`.

    Args:
        samples: name of each sample, perhaps with folders, and its lines.
    """
    given = list(samples)
    names = file_names((key for key, _ in given), "labels/{}.txt")
    return {
        name: "".join(f"{line}\n" for line in lines) for name, (_, lines) in zip(names, given, strict=True)
    }
