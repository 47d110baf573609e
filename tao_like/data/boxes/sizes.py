"""The size of an image with boxes."""

from __future__ import annotations

from tao_like.data.boxes.annotation import BoxRecord
from tao_like.data.images.files import read_header
from tao_like.errors import DatasetError


def image_size(record: BoxRecord) -> tuple[int, int]:
    """Width and height of the image itself, whatever a file states: boxes are in its pixels.

    An image that cannot be read has the size that its annotation states; `dataset_check` names it.

    Raises:
        DatasetError: the image cannot be read, and no size is stated.
    """
    try:
        header = read_header(record.path)
    except DatasetError:
        if min(record.width, record.height) > 0:
            return record.width, record.height
        raise
    return header.width, header.height
