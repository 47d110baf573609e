"""``init``: looks at somebody's images with captions and writes a spec that trains. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median_low

from tao_like.config.writing.annotated import AnnotatedValue
from tao_like.config.writing.suggested import refuse_existing, write_suggested
from tao_like.data.captions.layouts import find_caption_sources
from tao_like.data.captions.reading import CaptionSource, read_captions
from tao_like.data.captions.record import CaptionRecord
from tao_like.data.images.files import read_header
from tao_like.errors import DatasetError
from tao_like.runtime.choices import WORDS
from tao_like.runtime.inputs.text import TextPreprocessing, Tokenizer
from tao_like.tasks.common.suggested import BATCH_KEY, EPOCHS_KEY, asked
from tao_like.tasks.text_to_image.spec import GlideSpec, Spec

SIDES = (64, 32, 16)
STEPS = 3000
"""Optimizer steps of the suggested training."""
BATCH = 64
LOOKED_AT = 200
"""Images whose size is looked at."""


def write_spec(folder: Path, target: Path, overrides: Sequence[str] = (), *, force: bool) -> list[str]:
    """Writes a spec for the pairs in a folder, and reads it back as a check.

    Args:
        folder: images with text files beside them, or split folders of such; ``train.jsonl`` (or .csv) and
            perhaps ``val`` and ``test`` lists; a folder with one list, or that list itself.
        target: the spec file.
        overrides: ``key=value`` texts that take the place of what is suggested.
        force: overwrite ``target``.

    Returns:
        Lines that say what was found and written.

    Raises:
        DatasetError: the folder has no images with captions.
        SpecError: an override is wrong, or ``target`` is there already.
    """
    refuse_existing(target, force=force)
    sources = find_caption_sources(folder, "dataset.{}_dataset".format)
    read = {split: read_captions(source) for split, source in sources.items()}
    records = read["train"].records
    values = [*_places(sources), *_sizes(records), *_training(records, overrides, has_val="val" in read)]
    counts = ", ".join(f"{split} {len(one.records)}" for split, one in read.items())
    captions = sum(len(record.captions) for record in records)
    found = f"{counts} images with captions"
    written = write_suggested(Spec, "text_to_image", folder, target, values, overrides, found=found)
    notes = [finding.text() for one in read.values() for finding in one.findings]
    lines = [f"{counts} images; {captions} captions to train on, such as: {records[0].captions[0]}"]
    if "val" not in read:
        lines.append(
            "There is no validation data: a folder or list `val` beside the training's is looked for."
        )
    return [*lines, *notes, written]


def _places(sources: dict[str, CaptionSource]) -> Iterator[AnnotatedValue]:
    for split, source in sources.items():
        if source.captions_file is not None:
            yield AnnotatedValue(f"{source.key}.captions_file", str(source.captions_file), f"{split} pairs")
        else:
            yield AnnotatedValue(f"{source.key}.images_dir", str(source.images_dir), f"{split} pairs")


def _sizes(records: Sequence[CaptionRecord]) -> Iterator[AnnotatedValue]:
    """How large images and captions are."""
    sides = []
    for record in records[:: max(1, len(records) // LOOKED_AT)]:
        try:
            sides.append(min(read_header(record.path)[:2]))
        except DatasetError:
            continue  # dataset_check names it
    side = median_low(sides) if sides else SIDES[0]
    size = next((one for one in SIDES if one <= side), SIDES[-1])
    yield AnnotatedValue("model.arch", "glide", "the simpler training; dalle needs a dVAE first")
    yield AnnotatedValue("model.image_size", size, f"half of the images have a side of {side} or more")
    patch = max(1, size // 8)
    yield AnnotatedValue("model.glide.patch", min(patch, 8), "a grid of 8 by 8 places, for a CPU; 1 on a GPU")
    yield AnnotatedValue("model.glide.caption_sum", True, "hears every word by itself, too; not in GLIDE")
    if 3 * patch**2 > GlideSpec().channels:
        why = "places of many pixels: their noise does not fit in the network's channels, an image does"
        yield AnnotatedValue("model.diffusion.prediction", "x0", why)
    tokenizer = Tokenizer(TextPreprocessing(WORDS, 3))
    longest = max(len(tokenizer.encode(caption)) for record in records for caption in record.captions)
    length = min(longest + 2, 64)
    yield AnnotatedValue("model.context_length", max(length, 3), f"the longest caption has {longest} words")
    yield AnnotatedValue("sampling.guidance_scale", 3.0, "usual for glide; 1 is the network as it is")


def _training(
    records: Sequence[CaptionRecord], overrides: Sequence[str], *, has_val: bool
) -> Iterator[AnnotatedValue]:
    """How long to train."""
    size = min(BATCH, max(2, len(records) // 4))
    batch = asked(overrides, AnnotatedValue(BATCH_KEY, size, "small images"))
    usual = max(1, round(STEPS * batch.value / max(1, len(records))))
    epochs = asked(overrides, AnnotatedValue(EPOCHS_KEY, usual, f"about {STEPS} steps"))
    yield batch
    yield epochs
    if has_val:
        interval = max(1, epochs.value // 4)
        yield AnnotatedValue(
            "train.validation_interval", interval, "a validation makes an image of each caption"
        )
    yield AnnotatedValue("train.optim.lr", 2e-3, "for a small network trained from nothing")
    yield AnnotatedValue("train.optim.warmup_epochs", min(1.0, epochs.value / 2), "the rate rises first")
    yield AnnotatedValue("train.clip_grad_norm", 1.0, "keeps a bad batch from spoiling the rest")
