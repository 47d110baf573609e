"""Images that cannot be read, found beforehand so that a stage may go on without them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from tao_like.data.checks.findings import Finding
from tao_like.data.images.files import read_header
from tao_like.data.threads import in_threads
from tao_like.errors import DatasetError
from tao_like.runtime.inputs.image import read_image
from tao_like.runtime.inputs.shards import file_status

_MOST_FRACTION = 0.5
"""Where more than this fraction cannot be read, the data is not what the spec takes it for."""


class UnreadableImages:
    """Collects images that are not there, are empty or cannot be decoded.

    Args:
        decode: decode each image as a whole; else its header is looked at, which misses images that are
            cut off.

    Attributes:
        problems: what is wrong with each of them.
        seen: images that were looked at, the readable ones too.
    """

    def __init__(self, *, decode: bool = True) -> None:
        self.decode = decode
        self.problems: dict[Path, str] = {}
        self.seen: set[Path] = set()

    def readable(self, paths: Sequence[Path]) -> list[Path]:
        """Those of the images that can be read, in their order."""
        fresh = [path for path in dict.fromkeys(paths) if path not in self.seen]
        for path, problem in zip(fresh, in_threads(self._problem, fresh), strict=True):
            self.seen.add(path)
            if problem:
                self.problems[path] = problem
        return [path for path in paths if path not in self.problems]

    def check_fraction(self) -> None:
        """Raises DatasetError where most images cannot be read."""
        if len(self.problems) > _MOST_FRACTION * len(self.seen):
            raise DatasetError(
                f"{len(self.problems)} of {len(self.seen)} images cannot be read, too many to leave out "
                f"(dataset.on_error=skip); the first: {next(iter(self.problems.values()))}"
            )

    def finding(self) -> Finding | None:
        """The images that are left out, counted and named; None where all can be read."""
        if not self.problems:
            return None
        count = len(self.problems)
        return Finding(
            "warning",
            "left_out",
            f"{count} image{'' if count == 1 else 's'} of {len(self.seen)} cannot be read and "
            f"{'is' if count == 1 else 'are'} left out (dataset.on_error=skip):",
            tuple(self.problems.values()),
        )

    def _problem(self, path: Path) -> str:
        try:
            return _looked_at(path, *file_status(path), self.decode)
        except OSError as error:
            return f"{path}: not a readable image ({error.strerror or error})"


@lru_cache(maxsize=1 << 18)
def _looked_at(path: Path, size: int, modified: int, decode: bool) -> str:
    """What is wrong with an image, in words; remembered while size and time of change stay the same."""
    del size, modified
    try:
        if decode:
            read_image(path)
        else:
            read_header(path)
    except DatasetError as error:
        return str(error)
    return ""
