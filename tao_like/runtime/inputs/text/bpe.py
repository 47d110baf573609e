"""Byte pair encoding as CLIP has it (Sennrich et al. 2016, on bytes, with a mark at the end of each word)."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import pairwise

WORD_END = "</w>"
SPECIALS = ("<|startoftext|>", "<|endoftext|>")
_CONTRACTIONS = ("'re", "'ve", "'ll", "'s", "'t", "'m", "'d")
_MOST_CACHED = 2**16


@lru_cache(maxsize=1)
def byte_symbols() -> dict[int, str]:
    """A printable character for each byte, in the order of their ids; printable bytes are themselves."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {
        byte: chr(256 + number) for number, byte in enumerate(others)
    }


def clip_tokens(text: str) -> Iterator[str]:
    """What a clean text is cut into before its bytes are paired.

    A run of letters, a digit, a contraction, or a run of what is neither letter, digit nor space: the
    original's pattern, which Python's own regular expressions cannot say for all scripts.
    """
    at = 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        end = at + _token_length(text, at)
        yield text[at:end]
        at = end


def _token_length(text: str, at: int) -> int:
    for special in (*SPECIALS, *_CONTRACTIONS):
        if text.startswith(special, at):
            return len(special)
    kind = _kind(text[at])
    if kind == "N":
        return 1
    end = at + 1
    while end < len(text) and _kind(text[end]) == kind:
        end += 1
    return end - at


def _kind(character: str) -> str:
    """L: letter; N: number; a space; or nothing of these."""
    if character.isspace():
        return " "
    category = unicodedata.category(character)[0]
    return category if category in "LN" else ""


class BytePairs:
    """A vocabulary of byte pairs: 256 bytes, the same at a word's end, one token a merge, start and end.

    Args:
        merges: "left right" each, the first one first.
    """

    def __init__(self, merges: Sequence[str]) -> None:
        symbols = list(byte_symbols().values())
        pairs = [tuple(merge.split(" ")) for merge in merges]
        entries = [*symbols, *(symbol + WORD_END for symbol in symbols), *map("".join, pairs), *SPECIALS]
        # Two merges may come to the same text; the last one's id counts, as in the original.
        self._ids = {entry: number for number, entry in enumerate(entries)}
        self._ranks = {pair: number for number, pair in enumerate(pairs)}
        self._cache: dict[str, list[int]] = {}
        self.size = len(entries)
        self.start, self.end = self.size - 2, self.size - 1

    @property
    def vocabulary(self) -> dict[str, int]:
        """Token to id."""
        return dict(self._ids)

    def ids(self, token: str) -> list[int]:
        """The ids of one token."""
        if token in SPECIALS:
            return [self._ids[token]]
        if token not in self._cache:
            if len(self._cache) >= _MOST_CACHED:
                self._cache.clear()
            self._cache[token] = [self._ids[part] for part in self._merged(token)]
        return self._cache[token]

    def _merged(self, token: str) -> list[str]:
        symbols = byte_symbols()
        parts = [symbols[byte] for byte in token.encode("utf-8")]
        parts[-1] += WORD_END
        while len(parts) > 1:
            pairs = list(pairwise(parts))
            best = min(pairs, key=lambda pair: self._ranks.get(pair, len(self._ranks)))
            if best not in self._ranks:
                break
            parts = joined_parts(parts, best)
        return parts


def joined_parts(parts: Sequence[str], pair: tuple[str, ...]) -> list[str]:
    """The parts with the pair joined wherever it stands, from the left."""
    result: list[str] = []
    for part in parts:
        if result and (result[-1], part) == pair:
            result[-1] += part
        else:
            result.append(part)
    return result
