"""The block that says where pictures with captions are, for tasks on both. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass

from tao_like.config import spec_field

LAYOUTS = ("auto", "text_files", "class_folders")
"""What a folder holds: text files beside pictures, or a folder of pictures for each class."""


@dataclass
class CaptionDataSpec:
    """Where the pictures and captions of a split are."""

    images_dir: str | None = spec_field(
        None,
        "Folder of pictures with a text file beside each, or of one folder of pictures a class; with "
        "captions_file: what its paths start from",
        path=True,
        aliases=("image_dir",),
    )
    captions_file: str | None = spec_field(
        None,
        "CSV or JSONL with `image` and `caption` (or `captions`), perhaps `label` and `group`",
        path=True,
    )
    caption_dir: str | None = spec_field(
        None, "Folder of the text files; empty: they lie beside the pictures", path=True
    )
    caption_file_suffix: str = spec_field(".txt", "Suffix of the text files", pattern=r"\.\w+")
    layout: str = spec_field(
        "auto", "What images_dir holds; auto: text files where there is any", choices=LAYOUTS
    )
