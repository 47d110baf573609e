"""Images and label files as texts, and what is read of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PIL import Image

from tao_like.data.boxes.notes import Notes
from tao_like.data.boxes.sources import BoxSource, read_boxes
from tao_like.data.checks.findings import Finding


def write(root: Path, files: dict[str, str | bytes]) -> Path:
    """Images of 100 x 50 pixels where the text is empty and the name is an image's; else files."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix in (".png", ".jpg"):
            Image.new("RGB", (100, 50)).save(path)
        else:
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return root


def labels(root: Path, *texts: str | bytes, suffix: str = ".txt", **more: str) -> BoxSource:
    """An image for each label file, and classes cat and dog."""
    files: dict[str, str | bytes] = {"lb/classes.txt": "cat\ndog\n"} if suffix == ".txt" else {}
    for number, text in enumerate(texts):
        files |= {f"im/{number}.png": "", f"lb/{number}{suffix}": text}
    write(root, files | more)
    return BoxSource(root / "im", label_dir=root / "lb")


def boxes(source: BoxSource, notes: Notes | None = None) -> list[tuple[Any, ...]]:
    """Class and corners of every box."""
    return [
        (box.label, *(round(value, 3) for value in box[1:5]))
        for record in read_boxes(source, "key", notes)
        for box in record.boxes
    ]


def codes(notes: Notes) -> dict[str, Finding]:
    """Findings by their kind."""
    return {finding.code: finding for finding in notes.findings()}
