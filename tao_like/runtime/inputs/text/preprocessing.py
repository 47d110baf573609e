"""Texts as a network's input: cleaning, tokens, ids.

Python's standard library and numpy alone, except for vocabularies that other libraries wrote.
"""

from __future__ import annotations

import html
import re
import string
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from tao_like.errors import BundleError
from tao_like.runtime.choices import BPE, LONGEST_CONTEXT, WORDS
from tao_like.runtime.inputs.text.bpe import BytePairs, clip_tokens
from tao_like.runtime.inputs.text.token_files import (
    LARGEST_VOCABULARY,
    READERS,
    SENTENCEPIECE,
    TOKENIZERS,
    TokenFile,
    canonical,
)

PAD, START, END, UNKNOWN = range(4)
"""Ids of a vocabulary of words, before those of its words. Byte pairs have theirs after all merges."""
_SPACES = re.compile(r"\s+")
_MOST_ENTRIES = 2_000_000


@dataclass(frozen=True)
class TextPreprocessing:
    """How a text becomes the ids that a network takes.

    Attributes:
        type: ``words``: each word of a list has an id; ``bpe``: byte pairs, as CLIP has them;
            ``sentencepiece`` or ``tokenizers``: a vocabulary of these libraries.
        context_length: ids of every text, with start, end and padding.
        words: the vocabulary of ``words``, in the order of its ids.
        merges: the merges of ``bpe``, "left right" each, in their order.
        lower: texts are lower-cased first.
        unescape: HTML entities such as ``&amp;`` become their characters first.
        canonicalize: punctuation is taken out first, as SigLIP's authors do.
        vocabulary: of ``sentencepiece`` its file in base64, of ``tokenizers`` the content of tokenizer.json.
            Texts are then cleaned by `canonicalize` alone.
        pad: the id behind a text's end.
    """

    type: str
    context_length: int
    words: list[str] = field(default_factory=list)
    merges: list[str] = field(default_factory=list)
    lower: bool = True
    unescape: bool = True
    canonicalize: bool = False
    vocabulary: str = ""
    pad: int = 0

    def __post_init__(self) -> None:
        """Refuse settings without meaning, with a BundleError."""
        kinds = (WORDS, BPE, SENTENCEPIECE, TOKENIZERS)
        _require(self.type in kinds, "type", f"one of {', '.join(kinds)}")
        known = isinstance(self.vocabulary, str) and len(self.vocabulary) <= 2 * LARGEST_VOCABULARY
        _require(known and bool(self.vocabulary) == (self.type in READERS), "vocabulary", "that of its type")
        _require(type(self.pad) is int and 0 <= self.pad < _MOST_ENTRIES, "pad", "an id")
        length = self.context_length
        _require(
            type(length) is int and 3 <= length <= LONGEST_CONTEXT,
            "context_length",
            f"3 to {LONGEST_CONTEXT}",
        )
        for name in ("words", "merges"):
            entries = getattr(self, name)
            known = isinstance(entries, list) and all(isinstance(entry, str) for entry in entries)
            _require(known and len(entries) <= _MOST_ENTRIES, name, "a list of texts")
            _require(len(set(entries)) == len(entries), name, "a list without repetitions")
        _require(all(len(one.split(" ")) == 2 for one in self.merges), "merges", "pairs: left right")
        for name in ("lower", "unescape", "canonicalize"):
            _require(isinstance(getattr(self, name), bool), name, "true or false")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TextPreprocessing:
        """Read what `to_dict` gave. Raises BundleError."""
        values = {"vocabulary": "", "pad": 0, **values}  # files from before lack them
        different = sorted(set(values).symmetric_difference(one.name for one in fields(cls)))
        _require(not different, ", ".join(different), "a field of a text's preprocessing, and none missing")
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


class Tokenizer:
    """Texts to ids. The settings are those of `TextPreprocessing`."""

    def __init__(self, preprocessing: TextPreprocessing) -> None:
        self.preprocessing = preprocessing

    @property
    def vocabulary_size(self) -> int:
        """How many ids there are."""
        preprocessing = self.preprocessing
        if self._file is not None:
            return self._file.size
        return len(preprocessing.words) + UNKNOWN + 1 if preprocessing.type == WORDS else self._pairs.size

    @property
    def end(self) -> int:
        """The id that ends every text. It may be followed by padding, never by itself."""
        if self._file is not None:
            return self._file.end
        return END if self.preprocessing.type == WORDS else self._pairs.end

    @property
    def start(self) -> int:
        """The id that every text begins with, of words and byte pairs."""
        return START if self.preprocessing.type == WORDS else self._pairs.start

    def clean(self, text: str) -> str:
        """The text whose tokens are looked up.

        The original's rules: HTML unescaped twice, Unicode's canonical composition, white space joined,
        lower case. It repairs wrongly decoded text first (ftfy), which is left out here.
        """
        preprocessing = self.preprocessing
        if preprocessing.type in READERS:
            return canonical(text) if preprocessing.canonicalize else text
        if preprocessing.unescape:
            text = html.unescape(html.unescape(text))
        text = _SPACES.sub(" ", unicodedata.normalize("NFC", text)).strip()
        if preprocessing.canonicalize:
            text = text.translate(str.maketrans("", "", string.punctuation))
            text = " ".join(text.split())
        return text.lower() if preprocessing.lower else text

    def encode(self, text: str) -> list[int]:
        """The ids of a text's own tokens, however many, without start and end."""
        text = self.clean(text)
        if self._file is not None:
            return self._file.own(text)
        if self.preprocessing.type == BPE:
            return [one for token in clip_tokens(text) for one in self._pairs.ids(token)]
        return [self._words.get(word, UNKNOWN) for word in words_of(text)]

    def ids(self, text: str) -> npt.NDArray[np.int64]:
        """(context_length,): start, the text, end, and padding; what is too long loses its last tokens."""
        length = self.preprocessing.context_length
        row = np.full(length, self.preprocessing.pad, np.int64)
        if self._file is not None:
            ids = self._file.row(self.clean(text), length)
            row[: len(ids)] = ids
            return row
        own = self.encode(text)[: length - 2]
        row[: len(own) + 2] = [self.start, *own, self.end]
        return row

    @property
    def room(self) -> int:
        """How many of a text's own tokens fit, beside those of its start and end."""
        length = self.preprocessing.context_length
        return length - 2 if self._file is None else self._file.room(length)

    def is_cut(self, text: str) -> bool:
        """Whether a text has more tokens than fit."""
        return len(self.encode(text)) > self.room

    @cached_property
    def _file(self) -> TokenFile | None:
        preprocessing = self.preprocessing
        reader = READERS.get(preprocessing.type)
        return None if reader is None else reader(preprocessing.vocabulary)

    @cached_property
    def _words(self) -> dict[str, int]:
        return {word: number for number, word in enumerate(self.preprocessing.words, UNKNOWN + 1)}

    @cached_property
    def _pairs(self) -> BytePairs:
        return BytePairs(self.preprocessing.merges)


def words_of(text: str) -> Iterator[str]:
    """The words of a clean text: letters, marks and digits in a row; every other character alone."""
    word = ""
    for character in text:
        if unicodedata.category(character)[0] in "LMN":
            word += character
            continue
        if word:
            yield word
            word = ""
        if not character.isspace():
            yield character
    if word:
        yield word


def _require(holds: bool, name: str, rule: str) -> None:
    if not holds:
        raise BundleError(f"the preprocessing of texts is wrong: {name} must be {rule}.")
