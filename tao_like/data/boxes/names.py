"""Finding images by the names that lists and annotation files give them."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from tao_like.data.boxes.notes import Notes
from tao_like.data.images.files import find_images, passed_over_notes, read_text, split_name
from tao_like.data.images.named import same_file
from tao_like.errors import DatasetError
from tao_like.runtime.inputs.image import IMAGE_SUFFIXES

_VOC_FLAGS = ("-1", "0", "1")
"""Second words in VOC's lists of one class: whether the image shows it."""


class ImageNames:
    """The images of a folder, by name.

    A name may be written on Windows (``sub\\a.png``), begin with ``./``, lack its suffix, or begin with
    folders that are not here (``data/images/a.png``), unless these name another split than the folder does.

    Args:
        image_dir: folder of the images.
        notes: gets what was noticed.
    """

    def __init__(self, image_dir: Path, notes: Notes) -> None:
        self.image_dir = image_dir
        self.notes = notes
        self._found: list[Path] | None = None
        self._by_name: dict[str, Path] = {}

    def every(self) -> list[Path]:
        """All images below the folder, sorted. Raises DatasetError where there are none, or no folder."""
        if self._found is None:
            if not self.image_dir.is_dir():
                raise DatasetError(f"there is no folder {self.image_dir}; give the folder of the images")
            passed_over: list[Path] = []
            self._found = sorted(find_images(self.image_dir, passed_over=passed_over))
            for message, files in passed_over_notes(passed_over):
                self.notes.add("warning", "passed_over", message, files)
            for path in self._found:
                self._by_name.setdefault(path.relative_to(self.image_dir).with_suffix("").as_posix(), path)
            self._by_name |= {path.relative_to(self.image_dir).as_posix(): path for path in self._found}
        if not self._found:
            others = "".join(f"\n{finding.message}" for finding in self.notes.findings())
            raise DatasetError(f"{self.image_dir} holds no images{others}")
        return self._found

    def key(self, path: Path) -> str:
        """The name of an image for reports: from the folder on, with forward slashes."""
        below = path.is_relative_to(self.image_dir)
        return path.relative_to(self.image_dir).as_posix() if below else path.as_posix()

    def find(self, name: str) -> Path | None:
        """The image of a name; None where there is none."""
        direct = same_file(self.image_dir / name) if name else None
        if direct is not None:
            return direct
        if not self.image_dir.is_dir():
            return None
        self.every()
        plain = plain_name(name)
        for dropped, tail in name_tails(plain):
            path = self._by_name.get(tail) or (same_file(self.image_dir / tail) if tail else None)
            if path is not None and not self._is_of_another_split(dropped):
                if dropped:
                    message = f"found in {self.image_dir} without the folders in front of the name: {{count}}"
                    self.notes.add("info", "shortened_names", message, [name])
                return path
        return None

    def listed(self, lines: Sequence[str]) -> list[Path]:
        """The images that a list names, each once.

        Raises:
            DatasetError: an image is not there.
        """
        found: dict[Path, str] = {}
        for line in lines:
            path = self.find(line)
            words = line.rsplit(maxsplit=1)
            if path is None and len(words) == 2 and words[1] in _VOC_FLAGS:
                path = self.find(words[0])
            if path is None:
                self.every()
                suffixes = ", ".join(sorted(IMAGE_SUFFIXES))
                raise DatasetError(
                    f"the listed image {line} is not in {self.image_dir} (with one of {suffixes})"
                )
            if path in found and plain_name(line) != plain_name(found[path]):
                raise DatasetError(f"the list names {path} as {found[path]} and as {line}; take one out")
            if path in found:
                self.notes.add("info", "listed_twice", "{count} images are listed twice; read once", [path])
            found.setdefault(path, line)
        return list(found)

    def _is_of_another_split(self, dropped: Sequence[str]) -> bool:
        here = {split_name(part) for part in self.image_dir.absolute().parts[-2:]} - {None}
        there = {split_name(part) for part in dropped} - {None}
        return bool(here and there and not here & there)


def read_names(list_file: Path) -> list[str]:
    """Names of images, one a line, as VOC's ``ImageSets/Main`` and darknet's ``train.txt`` have them.

    Raises:
        DatasetError: the file is missing, empty or no UTF-8 text.
    """
    if not list_file.is_file():
        raise DatasetError(f"there is no file {list_file}; give a text file with an image's name a line")
    lines = read_text(list_file, "an image's name a line").splitlines()
    names = [line.strip() for line in lines if line.strip()]
    if not names:
        raise DatasetError(f"{list_file} is empty; give an image's name a line")
    return names


def plain_name(name: str) -> str:
    """A name with forward slashes, without ``./`` and empty parts."""
    return posixpath.normpath(name.strip().replace("\\", "/")) if name.strip() else ""


def name_tails(name: str) -> Iterator[tuple[tuple[str, ...], str]]:
    """A name without its first 0, 1, 2, ... folders, and what was taken away each time."""
    parts = PurePosixPath(name).parts
    for count in range(len(parts)):
        yield parts[:count], "/".join(parts[count:])
