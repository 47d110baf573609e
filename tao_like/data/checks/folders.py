"""What lies in a folder of images and is not used."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tao_like.data.checks.findings import Finding
from tao_like.data.images.files import find_images, is_image_name, listing, passed_over_notes


def unused_findings(folder: Path, *, class_folders: bool) -> Iterator[Finding]:
    """Images of kinds that cannot be read, with what to do, and those that lie in no class folder.

    Args:
        folder: whose images are taken, nested ones too.
        class_folders: the folders in it are classes.

    Raises:
        DatasetError: it cannot be read.
    """
    passed_over: list[Path] = []
    for _ in find_images(folder, passed_over=passed_over):
        pass
    for message, files in passed_over_notes(passed_over):
        yield Finding("warning", "passed_over", message, tuple(map(str, files)))
    if not class_folders:
        return
    loose = tuple(entry.path for entry in listing(folder) if is_image_name(entry.name) and not entry.is_dir())
    if loose:
        words = "1 image lies" if len(loose) == 1 else f"{len(loose)} images lie"
        yield Finding(
            "warning",
            "loose_pictures",
            f"{words} in {folder} beside the class folders, and so in no class: not used. Put them into the "
            "folder of their class:",
            loose,
        )
