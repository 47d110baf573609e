"""Names of the label files that detections are written to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import PurePath


def label_files(samples: Iterable[tuple[str, Sequence[str]]]) -> dict[str, str]:
    """For each sample ``labels/<name>.txt`` and its text; samples of the same name get a number behind it.

    Args:
        samples: name of each sample, perhaps with folders, and its lines.
    """
    texts: dict[str, str] = {}
    seen: Counter[str] = Counter()
    for key, lines in samples:
        stem = PurePath(key).stem
        path = f"labels/{stem}.txt"
        # Another sample may bear the name with a number by itself.
        while path in texts:
            seen[stem] += 1
            path = f"labels/{stem}_{seen[stem] + 1}.txt"
        texts[path] = "".join(f"{line}\n" for line in lines)
    return texts
