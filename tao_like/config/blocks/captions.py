"""The block that says where images with captions are, for tasks on both. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tao_like.config import MISSING, Problem, spec_field

LAYOUTS = ("auto", "text_files", "class_folders", "shards")
"""What a folder holds: text files beside images, a folder of images for each class, or shards."""


@dataclass
class CaptionFolderSpec:
    """One of several folders of a split, with TAO's keys."""

    image_dir: str = spec_field(
        MISSING,
        "Folder of images, or of shards (.tar, .tar.gz), or a shard",
        path=True,
        aliases=("images_dir",),
    )
    caption_dir: str | None = spec_field(
        None, "Folder of the text files; empty: they lie beside the images", path=True
    )
    caption_file_suffix: str = spec_field(".txt", "Suffix of the text files", pattern=r"\.\w+")
    image_list_file: str | None = spec_field(
        None, "Text file with the names of the images to take, one a line; empty: all", path=True
    )
    layout: str = spec_field("auto", "As that of the split", choices=LAYOUTS)


@dataclass
class CaptionDataSpec:
    """Where the images and captions of a split are."""

    images_dir: str | None = spec_field(
        None,
        "Folder of images with a text file beside each, or of one folder of images a class, or of WebDataset "
        "shards (.tar, .tar.gz), or one shard; with captions_file: what its paths start from",
        path=True,
        aliases=("image_dir",),
    )
    captions_file: str | None = spec_field(
        None,
        "CSV or JSONL with `image` and `caption` (or `captions`), perhaps `label` and `group`",
        path=True,
    )
    caption_dir: str | None = spec_field(
        None, "Folder of the text files; empty: they lie beside the images", path=True
    )
    caption_file_suffix: str = spec_field(".txt", "Suffix of the text files", pattern=r"\.\w+")
    layout: str = spec_field(
        "auto", "What images_dir holds; auto: text files where there is any", choices=LAYOUTS
    )
    datasets: list[CaptionFolderSpec] = spec_field([], "Several folders instead, as TAO has them")

    @property
    def is_given(self) -> bool:
        """Whether it names any data."""
        return bool(self.images_dir or self.captions_file or self.datasets)

    def check(self) -> Iterator[Problem]:
        """Data is named one way."""
        if self.datasets and (self.images_dir or self.captions_file):
            yield Problem(
                "datasets",
                "is given together with images_dir or captions_file; name all folders in `datasets`, or one "
                "source without it",
            )
