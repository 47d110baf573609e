"""Boxes from LabelMe's JSON files, one beside each image."""

from __future__ import annotations

import json
import math
from base64 import b64decode
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tao_like.data.boxes.annotation import Box, around
from tao_like.data.boxes.formats.text_files import side_of
from tao_like.data.boxes.notes import Notes
from tao_like.data.images.files import label_text
from tao_like.data.masks.runs import Runs, box_of_runs, encode_mask
from tao_like.errors import DatasetError

_OUTLINES = ("polygon", "rotation")


class LabelMeReader:
    """Reads rectangles, polygons, masks and circles; points and lines are left out.

    Args:
        notes: gets what was left out.
    """

    def __init__(self, notes: Notes) -> None:
        self.notes = notes

    def __call__(self, label_file: Path, image: Path) -> tuple[list[Box], int, int]:
        """Boxes of an image, and the width and height that the file states. Raises DatasetError."""
        del image
        content = labelme_content(label_file)
        if content is None:
            raise DatasetError(f"{label_file} has no list `shapes`; it is no file of LabelMe's")
        width = side_of(content.get("imageWidth"), f"{label_file}: imageWidth")
        height = side_of(content.get("imageHeight"), f"{label_file}: imageHeight")
        boxes = []
        for index, shape in enumerate(content["shapes"]):
            where = f"{label_file}: shapes[{index}]"
            box = self._box(shape, where, width, height)
            if box is None:
                message = "{count} points and lines of LabelMe have no box; left out"
                self.notes.add("info", "no_box", message, [where])
            else:
                boxes.append(box)
        return boxes, width, height

    @staticmethod
    def _box(shape: Any, where: str, width: int, height: int) -> Box | None:
        label = label_text(str(shape.get("label") or "").strip()) if isinstance(shape, dict) else ""
        if not label:
            raise DatasetError(f"{where} has no label")
        kind = shape.get("shape_type") or "polygon"
        try:
            points = [(float(x), float(y)) for x, y in shape["points"]]
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise DatasetError(f"{where}: points are not pairs of numbers") from error
        if kind == "mask" and len(points) == 2 and isinstance(shape.get("mask"), str) and width and height:
            runs = _runs_of_image(shape["mask"], points[0], (width, height), where)
            return Box(label, *(box_of_runs(runs) or around(points)), segmentation=dict(runs))
        if kind in ("rectangle", "mask") and len(points) >= 2:
            return Box(label, *around(points))
        if kind == "circle" and len(points) == 2:
            (x, y), edge = points
            radius = math.dist((x, y), edge)
            return Box(label, x - radius, y - radius, x + radius, y + radius)
        if kind in _OUTLINES and len(points) >= 3:
            return Box(label, *around(points), segmentation=[[side for point in points for side in point]])
        return None


def _runs_of_image(text: str, corner: tuple[float, float], size: tuple[int, int], where: str) -> Runs:
    """The runs of a shape that is drawn by pixels: a PNG in base64, whose first pixel lies at a corner.

    Args:
        text: the PNG.
        corner: column and row of its first pixel on the image.
        size: width and height of the image.
        where: file and position in it, for messages.

    Raises:
        DatasetError: it is no such image, or lies outside of the labelled one.
    """
    try:
        with Image.open(BytesIO(b64decode(text, validate=True)), formats=["PNG"]) as image:
            left, top = round(corner[0]), round(corner[1])
            if left < 0 or top < 0 or left + image.width > size[0] or top + image.height > size[1]:
                raise ValueError(f"its {image.width} x {image.height} pixels leave the image")
            mask = np.zeros((size[1], size[0]), np.uint8)
            mask[top : top + image.height, left : left + image.width] = np.asarray(image.convert("L"))
    except (ValueError, OSError, SyntaxError, OverflowError, Image.DecompressionBombError) as error:
        raise DatasetError(f"{where}: the mask cannot be read: {error}") from error
    return encode_mask(mask)


def labelme_content(path: Path) -> dict[str, Any] | None:
    """A LabelMe file's content; None for another JSON file. Raises DatasetError where it is no JSON."""
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{path} is not valid JSON: {error}") from error
    return content if isinstance(content, dict) and isinstance(content.get("shapes"), list) else None
