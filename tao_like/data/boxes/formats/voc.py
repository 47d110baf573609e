"""Boxes from Pascal VOC XML files."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

from tao_like.data.boxes.annotation import Box
from tao_like.data.boxes.formats.text_files import flag_of, number_of, side_of
from tao_like.data.images.files import label_text
from tao_like.errors import DatasetError

_DECLARED = re.compile(rb"""^\s*<\?xml[^>]*?encoding\s*=\s*["']([A-Za-z0-9._:-]+)["'][^>]*\?>""")
_WIDER = {
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "shift_jis": "cp932",
    "sjis": "cp932",
    "euc_kr": "cp949",
}
"""Encodings that files name and the ones that hold all of their characters as systems write them."""


def read_xml(path: Path) -> ElementTree.Element:
    """The root of an XML file, also in the encodings that Python's parser does not know, such as GBK.

    Raises:
        DatasetError: the file is no XML, or not in the encoding that it declares; the message names it.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DatasetError(f"{path}: the file cannot be read ({error.strerror})") from error
    try:
        return ElementTree.fromstring(content)
    except ElementTree.ParseError as error:
        hint = (
            "" if _is_utf8(content) else "; it is not in the encoding that it declares (without one: UTF-8)"
        )
        raise DatasetError(f"{path} is not valid XML: {error}{hint}") from error
    except (ValueError, LookupError):
        # The parser knows no encoding of several bytes a character but UTF-8 and UTF-16.
        return _decoded(path, content)


def _decoded(path: Path, content: bytes) -> ElementTree.Element:
    declared = _DECLARED.match(content)
    if declared is None:
        raise DatasetError(f"{path}: the encoding cannot be told; save the file in UTF-8")
    name = declared.group(1).decode("ascii")
    try:
        text = content[declared.end() :].decode(_WIDER.get(name.lower().replace("-", "_"), name))
        return ElementTree.fromstring(text)
    except LookupError as error:
        raise DatasetError(f"{path}: the encoding {name!r} is not known; save the file in UTF-8") from error
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path} is not in {name}, which it declares ({error.reason})") from error
    except (ElementTree.ParseError, ValueError) as error:
        raise DatasetError(f"{path} is not valid XML: {error}") from error


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


def read_voc_file(label_file: Path, image: Path) -> tuple[list[Box], int, int]:
    """Boxes of a Pascal VOC XML file. Columns and rows count from 1, and the last belongs to the box.

    A box of a single pixel is no object but a slip: it comes out without an area.

    Raises:
        DatasetError: the file is no such XML; the message names it.
    """
    del image
    root = read_xml(label_file)
    boxes = []
    for number, item in enumerate(root.iter("object"), start=1):
        where = f"{label_file}: object {number}"
        name = (item.findtext("name") or "").strip()
        corners = item.find("bndbox")
        if not name or corners is None:
            raise DatasetError(f"{where} has no name or no bndbox")
        left, top, right, bottom = (
            number_of(corners.findtext(side), f"{where}: {side}") for side in ("xmin", "ymin", "xmax", "ymax")
        )
        difficult = flag_of(item.findtext("difficult"), f"{where}: difficult")
        offset = 0 if (left, top) == (right, bottom) else 1
        boxes.append(Box(label_text(name), left - offset, top - offset, right, bottom, ignore=difficult))
    size = root.find("size")
    width, height = (
        side_of((size.findtext(side) or "").strip(), f"{label_file}: size: {side}") if size is not None else 0
        for side in ("width", "height")
    )
    return boxes, width, height
