"""Images as a model takes them: reading, then preprocessing."""

from __future__ import annotations

from tao_like.runtime.inputs.image.preprocessing import ImagePreprocessing, letterbox_region, preprocess
from tao_like.runtime.inputs.image.reading import (
    FULL_WINDOW,
    IMAGE_FORMATS,
    IMAGE_SUFFIXES,
    Window,
    deep_values,
    image_files,
    read_image,
    to_rgb,
)

__all__ = [
    "FULL_WINDOW",
    "IMAGE_FORMATS",
    "IMAGE_SUFFIXES",
    "ImagePreprocessing",
    "Window",
    "deep_values",
    "image_files",
    "letterbox_region",
    "preprocess",
    "read_image",
    "to_rgb",
]
