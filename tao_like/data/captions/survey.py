"""What captions are like: counts, lengths, how many are cut off, which are equal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import median_low
from typing import Any

from tao_like.data.captions.record import CaptionRecord
from tao_like.data.checks.findings import Finding
from tao_like.runtime.choices import WORDS
from tao_like.runtime.inputs.text import UNKNOWN, Tokenizer

MANY_CUT = 0.05
_LONGEST_SHOWN = 5


def survey_captions(splits: Mapping[str, Sequence[CaptionRecord]], tokenizer: Tokenizer) -> dict[str, Any]:
    """Figures of each split, as JSON.

    For each: ``pictures``, ``captions``, ``captions_a_picture``, ``tokens`` (smallest, median, largest
    number), ``cut_off`` (fraction of the captions with more tokens than fit), ``equal`` (fraction of the
    captions that another image has too), ``unknown`` (fraction of the tokens that the vocabulary lacks).
    """
    return {name: _figures(records, tokenizer) for name, records in splits.items() if records}


def _figures(records: Sequence[CaptionRecord], tokenizer: Tokenizer) -> dict[str, Any]:
    captions = [caption for record in records for caption in record.captions]
    distinct = {caption: tokenizer.encode(caption) for caption in dict.fromkeys(captions)}
    lengths = [len(distinct[caption]) for caption in captions]
    holders = Counter(caption for record in records for caption in set(record.captions))
    unknown = 0
    if tokenizer.preprocessing.type == WORDS:
        unknown = sum(distinct[caption].count(UNKNOWN) for caption in captions)
    return {
        "pictures": len(records),
        "captions": len(captions),
        "captions_a_picture": round(len(captions) / len(records), 3),
        "distinct_captions": len(distinct),
        "tokens": {"least": min(lengths), "median": median_low(lengths), "most": max(lengths)},
        "cut_off": sum(length > tokenizer.room for length in lengths) / len(lengths),
        "equal": sum(holders[caption] > 1 for caption in captions) / len(captions),
        "unknown": unknown / max(1, sum(lengths)),
    }


def caption_findings(
    splits: Mapping[str, Sequence[CaptionRecord]], tokenizer: Tokenizer, figures: Mapping[str, Any]
) -> Iterator[Finding]:
    """What a user should know of them, from `survey_captions`' figures."""
    for name, of_split in figures.items():
        if of_split["cut_off"]:
            level = "warning" if of_split["cut_off"] >= MANY_CUT else "info"
            longest = _some(splits[name], tokenizer.is_cut)
            yield Finding(
                level,  # type: ignore[arg-type]
                "cut_off",
                f"{of_split['cut_off']:.1%} of the captions of {name} have more than {tokenizer.room} "
                f"tokens (up to {of_split['tokens']['most']}); the rest of them is not seen. "
                "model.tokenizer.context_length sets the room:",
                longest,
            )
        if of_split["unknown"] and name != "train":
            yield Finding(
                "info",
                "unknown_words",
                f"{of_split['unknown']:.1%} of the words of {name} do not occur in the training captions; "
                "all of them are one word to the network; model.tokenizer.type=bpe tells them apart",
            )
        if of_split["equal"]:
            yield Finding(
                "info",
                "equal_captions",
                f"{of_split['equal']:.1%} of the captions of {name} stand under several images; they count "
                "as right for each of these",
            )


def _some(records: Sequence[CaptionRecord], wanted: Callable[[str], bool]) -> tuple[str, ...]:
    found = (f"{r.key}: {caption[:80]}" for r in records for caption in r.captions if wanted(caption))
    return tuple(one for one, _ in zip(found, range(_LONGEST_SHOWN), strict=False))
