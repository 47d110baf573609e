"""Images in rows: by more and more of their principal components, or with a word written upon them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from tao_like.contract.sample import Sample
from tao_like.errors import DatasetError, SpecError
from tao_like.plots.text import drawable, load_font
from tao_like.runtime.generation.base import SEED, TEXT
from tao_like.runtime.inputs.image import image_files
from tao_like.tasks.text_to_image.spec_blocks.stages import PCA, GenerateInferenceSpec

PAPER_WIDTH, PAPER_HEIGHT = 0.9, 0.5
"""The largest slip of paper that a word stands on, as fractions of the image's sides."""
PAPER_CENTER = 0.75
"""How far down its middle is."""
SMALLEST_LETTERS = 6
"""In pixels; smaller ones are no letters."""

Pixels = npt.NDArray[np.uint8]


def image_paths(given: str) -> list[Path]:
    """The image, or all of a folder. Raises DatasetError."""
    path = Path(given)
    if not path.is_dir():
        return [path]
    files = image_files(path)
    if not files:
        raise DatasetError(f"inference.image: there is no image in {path}")
    return files


def kept_components(inference: GenerateInferenceSpec, embedding: int) -> list[int]:
    """How many components each image of a row keeps: those asked for, or 1, 2, 4 and so on, up to all.

    Args:
        inference: its block.
        embedding: length of an embedding.

    Raises:
        SpecError: there are not so many.
    """
    if too_many := [one for one in inference.components if one > embedding]:
        raise SpecError(
            f"inference.components: {too_many} are more than the embedding has numbers, {embedding}; give at "
            "most that many"
        )
    doubled = [2**power for power in range(embedding.bit_length()) if 2**power < embedding]
    return list(inference.components) or [*doubled, embedding]


def row_samples(inference: GenerateInferenceSpec, embedding: int) -> list[Sample]:
    """What is made, row by row, the given image first: samples whose seeds say where they stand.

    Args:
        inference: its block, with ``mode`` `PCA` or the typographic attack.
        embedding: length of an embedding.
    """
    if inference.mode == PCA:
        begins = [path.stem for path in image_paths(str(inference.image))]
        kept = kept_components(inference, embedding)
        names = [f"{count} component" if count == 1 else f"{count} components" for count in kept]
    else:
        stem = Path(str(inference.image)).stem
        begins = [stem, f"{stem} with {inference.word}"]
        names = [f"variation {number}" for number in range(1, inference.num_images + 1)]
    keys = [f"{begin}{name}" for begin in begins for name in ("", *(f", {one}" for one in names))]
    return [Sample(key, {TEXT: "", SEED: inference.seed + number}) for number, key in enumerate(keys)]


def row_settings(
    inference: GenerateInferenceSpec,
    embedding: int,
    pixels: Callable[[Path], Pixels],
    ids: Callable[[str], npt.NDArray[np.int64]],
) -> dict[str, Any]:
    """What the way of generating is told; see `Journey`.

    Args:
        inference, embedding: as of `row_samples`.
        pixels: reads and preprocesses an image.
        ids: tokens (T,) of a caption.
    """
    if inference.mode == PCA:
        images = [pixels(path) for path in image_paths(str(inference.image))]
        components = kept_components(inference, embedding)
        return {"image": images, "components": components, "first": inference.seed}
    plain = pixels(Path(str(inference.image)))
    written = with_word(Image.fromarray(plain), str(inference.word))
    return {
        "image": [plain, np.asarray(written, np.uint8)],
        "labels": np.stack([ids(label) for label in inference.prompts]),
        "frames": inference.num_images,
        "first": inference.seed,
    }


def with_word(image: Image.Image, word: str) -> Image.Image:
    """A copy of an image with a word upon it, black on a slip of white paper in its lower half.

    Raises:
        DatasetError: the word does not fit.
    """
    wide, tall = PAPER_WIDTH * image.width, PAPER_HEIGHT * image.height
    for size in range(max(SMALLEST_LETTERS, round(tall)), SMALLEST_LETTERS - 1, -1):
        font = load_font(size, word)
        text = drawable(word, font)
        left, top, right, bottom = font.getbbox(text)
        if right - left + 2 <= wide and bottom - top + 2 <= tall:
            break
    else:
        raise DatasetError(
            f"inference.word: {word} does not fit upon {image.width} by {image.height} pixels in letters of "
            f"{SMALLEST_LETTERS} pixels; give a shorter one"
        )
    paper = Image.new("RGB", (round(right - left) + 2, round(bottom - top) + 2), "white")
    ImageDraw.Draw(paper).text((1 - left, 1 - top), text, fill="black", font=font)
    written = image.convert("RGB")
    down = round(PAPER_CENTER * image.height - paper.height / 2)
    written.paste(paper, ((image.width - paper.width) // 2, min(down, image.height - paper.height)))
    return written
