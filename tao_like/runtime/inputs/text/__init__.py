"""Texts as a model takes them: vocabularies and tokens."""

from __future__ import annotations

from tao_like.runtime.choices import BPE, LONGEST_CONTEXT, WORDS
from tao_like.runtime.inputs.text.preprocessing import (
    END,
    PAD,
    START,
    UNKNOWN,
    TextPreprocessing,
    Tokenizer,
    words_of,
)

__all__ = [
    "BPE",
    "END",
    "LONGEST_CONTEXT",
    "PAD",
    "START",
    "UNKNOWN",
    "WORDS",
    "TextPreprocessing",
    "Tokenizer",
    "words_of",
]
