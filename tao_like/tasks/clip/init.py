"""``init``: looks at somebody's images and captions and writes a spec that runs. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median_low

from tao_like.config.writing.annotated import AnnotatedValue
from tao_like.config.writing.suggested import GIVEN, refuse_existing, write_suggested
from tao_like.data.captions.layouts import find_caption_sources
from tao_like.data.captions.reading import CaptionSource, read_captions
from tao_like.data.captions.record import CaptionRecord
from tao_like.data.images.files import read_header
from tao_like.data.text.vocabulary import words_preprocessing
from tao_like.networks.weights.offline import available_offline
from tao_like.runtime.inputs.text import Tokenizer
from tao_like.tasks.clip.presets import find_preset
from tao_like.tasks.clip.spec import Spec
from tao_like.tasks.common.suggested import BATCH_KEY, EPOCHS_KEY, asked, named

MODEL_KEY = "model.type"
SMALL_SIDE, SMALL_PRESET, LARGER_BACKBONE = 64, "conv_tiny", "tf_efficientnet_lite0"
STEPS = 1500
"""As many as a small pair of towers needs to learn a few hundred captions."""
MANY_WORDS = 5000
_LOOKED_AT = 200


def write_spec(folder: Path, target: Path, overrides: Sequence[str] = (), *, force: bool) -> list[str]:
    """Writes a spec for a folder or a list of images with captions, and reads it back as a check.

    Args:
        folder: images with text files or class folders, perhaps below ``train``, ``val`` and ``test``; a
            folder with ``train.jsonl`` or ``train.csv``, or with one list; or such a list itself.
        target: the spec file.
        overrides: ``key=value`` texts that take the place of what is suggested.
        force: overwrite ``target``.

    Returns:
        Lines that say what was found and written.

    Raises:
        DatasetError: there are no images with captions.
        SpecError: an override is wrong, or ``target`` is there already.
    """
    refuse_existing(target, force=force)
    sources = find_caption_sources(folder, lambda split: "init")
    splits = {split: read_captions(source) for split, source in sources.items()}
    records = splits["train"].records
    values = [*_model(records, overrides), *_dataset(sources), *_training(records, sources, overrides)]
    captions = sum(len(record.captions) for record in records)
    labels = {label for record in records for label in record.labels}
    words = f"{len(records)} training images with {captions} captions"
    written = write_suggested(Spec, "clip", folder, target, values, overrides, found=words)
    notes = [finding.text() for read in splits.values() for finding in read.findings]
    told = f", {len(labels)} classes" if labels else ""
    return [f"{words}{told}; splits: {', '.join(sources)}.", *notes, written]


def _model(records: Sequence[CaptionRecord], overrides: Sequence[str]) -> Iterator[AnnotatedValue]:
    sides = [min(read_header(record.path)[:2]) for record in records[:: max(1, len(records) // _LOOKED_AT)]]
    side = median_low(sides)
    given = named(overrides, MODEL_KEY)
    if given not in ("", SMALL_PRESET if side <= SMALL_SIDE else LARGER_BACKBONE):
        # Its own size, and no weights of another network.
        yield AnnotatedValue(MODEL_KEY, given, GIVEN)
    elif side <= SMALL_SIDE:
        size = max(16, -(-side // 8) * 8)
        yield AnnotatedValue(MODEL_KEY, SMALL_PRESET, f"images of {side} pixels need no large network")
        yield AnnotatedValue("model.image_size", size, "the images' own side, to a multiple of 8")
    else:
        yield AnnotatedValue(
            MODEL_KEY,
            LARGER_BACKBONE,
            "quick on a CPU; a pretrained pair of towers is better, see the README",
        )
        weights = available_offline(LARGER_BACKBONE)
        if weights:
            why = "ImageNet weights from an installed package"
            yield AnnotatedValue("model.pretrained_vision_path", weights, why)
        yield AnnotatedValue("model.image_size", 128, "larger shows more, and takes longer")
    captions = [caption for record in records for caption in record.captions]
    tokenizer = Tokenizer(words_preprocessing(captions, 77, most_words=10**6))
    if len(tokenizer.preprocessing.words) > MANY_WORDS:
        yield AnnotatedValue("model.tokenizer.type", "bpe", "the captions have many different words")
        return
    longest = max(len(tokenizer.encode(caption)) for caption in set(captions))
    room = find_preset(SMALL_PRESET).context_length
    yield AnnotatedValue(
        "model.tokenizer.context_length",
        max(8, min(77, longest + 4)) if longest + 2 > room or longest + 10 < room else room,
        f"the longest caption has {longest} words, and start and end are two more",
    )


def _dataset(sources: dict[str, CaptionSource]) -> Iterator[AnnotatedValue]:
    for split, source in sources.items():
        key, path = (
            ("captions_file", source.captions_file)
            if source.captions_file
            else ("images_dir", source.images_dir)
        )
        yield AnnotatedValue(f"dataset.{split}_dataset.{key}", str(path), "as it was found")
    if "val" not in sources:
        yield AnnotatedValue("dataset.split.val", 0.15, "there is no split of its own for validation")


def _training(
    records: Sequence[CaptionRecord], sources: dict[str, CaptionSource], overrides: Sequence[str]
) -> Iterator[AnnotatedValue]:
    size = min(96, max(8, len(records) // 4))
    why = "each image is told from the others of its batch"
    batch = asked(overrides, AnnotatedValue(BATCH_KEY, size, why))
    yield batch
    usual = max(10, min(100, round(STEPS / max(1, len(records) / batch.value))))
    why = f"about {STEPS} steps, or as many as 100 epochs have"
    epochs = asked(overrides, AnnotatedValue(EPOCHS_KEY, usual, why))
    yield epochs
    yield AnnotatedValue(
        "train.optim.warmup_epochs", round(epochs.value / 20, 1), "the scale of the loss is steep at first"
    )
