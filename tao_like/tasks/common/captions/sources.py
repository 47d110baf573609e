"""Where the images and captions of a split are, for the tasks that learn from both."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tao_like.config.blocks.captions import CaptionDataSpec
from tao_like.data.captions.reading import CaptionSource, ReadCaptions, read_captions
from tao_like.errors import DatasetError


def caption_sources(
    block: CaptionDataSpec, key: str, templates: Sequence[str], *, training: bool = True
) -> list[CaptionSource]:
    """The sources that a block names, in its order.

    Args:
        block: of the split.
        key: of the block, such as ``dataset.train_dataset``.
        templates: sentences for the classes of class folders.
        training: whether the split is trained on.

    Raises:
        DatasetError: there is no such list.
    """
    sentences = tuple(templates)
    if block.datasets:
        return [
            CaptionSource(
                f"{key}.datasets[{number}]",
                Path(one.image_dir),
                None,
                _path(one.caption_dir),
                one.caption_file_suffix,
                one.layout,
                sentences,
                training=training,
                list_file=_path(one.image_list_file),
            )
            for number, one in enumerate(block.datasets)
        ]
    file = _path(block.captions_file)
    if file is not None and not file.is_file():
        raise DatasetError(f"{key}.captions_file: there is no file {file}")
    return [
        CaptionSource(
            key,
            _path(block.images_dir),
            file,
            _path(block.caption_dir),
            block.caption_file_suffix,
            block.layout,
            sentences,
            training=training,
        )
    ]


def read_sources(sources: Sequence[CaptionSource]) -> ReadCaptions:
    """The images with captions of all sources, one after the other. Raises DatasetError."""
    joined = ReadCaptions([])
    for source in sources:
        found = read_captions(source)
        joined.records += found.records
        joined.findings += found.findings
    return joined


def _path(text: str | None) -> Path | None:
    return Path(text) if text else None
