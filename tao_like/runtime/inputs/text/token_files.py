"""Vocabularies that other libraries wrote and read: SentencePiece's, and Hugging Face's ``tokenizer.json``.

Each is read by its own library, so that ids are the original's; they are imported where one is used.
"""

from __future__ import annotations

import base64
import binascii
import re
import string
from typing import Any, Protocol

from tao_like.errors import BundleError

SENTENCEPIECE, TOKENIZERS = "sentencepiece", "tokenizers"
LARGEST_VOCABULARY = 64 * 2**20
"""Bytes of such a file."""
_SPACES = re.compile(r"\s+")
_WITHOUT_PUNCTUATION = str.maketrans("", "", string.punctuation)


class TokenFile(Protocol):
    """A vocabulary that is read by its own library.

    Attributes:
        size: ids that there are.
        end: the id that ends a text.
    """

    size: int
    end: int

    def own(self, text: str) -> list[int]:
        """The ids of a text's own tokens, however many."""

    def room(self, length: int) -> int:
        """How many of a text's own tokens fit into a number of ids."""

    def row(self, text: str, length: int) -> list[int]:
        """A text's ids with those that begin and end it; what is too long loses its last tokens."""


def canonical(text: str) -> str:
    """Lower case without punctuation, as SigLIP's authors and transformers' SiglipTokenizer have it."""
    return _SPACES.sub(" ", text.lower().translate(_WITHOUT_PUNCTUATION)).strip()


class SentencePieces:
    """A ``spiece.model`` (Kudo and Richardson 2018). A text ends with its end piece and has no start.

    Args:
        vocabulary: the file in base64.
    """

    def __init__(self, vocabulary: str) -> None:
        try:
            import sentencepiece
        except ModuleNotFoundError as error:
            raise BundleError(_missing("sentencepiece")) from error
        try:
            content = base64.b64decode(vocabulary, validate=True)
            self._pieces: Any = sentencepiece.SentencePieceProcessor(model_proto=content)
            self.size, self.end = int(self._pieces.get_piece_size()), int(self._pieces.eos_id())
        except (RuntimeError, TypeError, ValueError, binascii.Error) as error:
            raise BundleError(f"this is no vocabulary of SentencePiece ({error})") from error
        if self.end < 0:
            raise BundleError("the vocabulary of SentencePiece has no piece that ends a text")

    def own(self, text: str) -> list[int]:
        """See ``TokenFile``."""
        return list(map(int, self._pieces.encode(text)))

    def room(self, length: int) -> int:
        """See ``TokenFile``."""
        return length - 1

    def row(self, text: str, length: int) -> list[int]:
        """See ``TokenFile``."""
        return [*self.own(text)[: length - 1], self.end]


class HubTokens:
    """A ``tokenizer.json``, with the tokens that it puts before and behind a text.

    Args:
        vocabulary: the file's content.
    """

    def __init__(self, vocabulary: str) -> None:
        try:
            import tokenizers
        except ModuleNotFoundError as error:
            raise BundleError(_missing("tokenizers")) from error
        try:
            self._tokens = tokenizers.Tokenizer.from_str(vocabulary)
        except Exception as error:  # the library raises plain Exceptions
            raise BundleError(f"this is no tokenizer.json that its library can read ({error})") from error
        self._tokens.no_truncation()
        self._tokens.no_padding()
        self.size = self._tokens.get_vocab_size()
        around = self._tokens.encode("").ids
        if not around:
            raise BundleError("the tokenizer.json puts no token behind a text that would end it")
        self.end = around[-1]

    def own(self, text: str) -> list[int]:
        """See ``TokenFile``."""
        return list(self._tokens.encode(text, add_special_tokens=False).ids)

    def room(self, length: int) -> int:
        """See ``TokenFile``."""
        return length - self._tokens.num_special_tokens_to_add(False)

    def row(self, text: str, length: int) -> list[int]:
        """See ``TokenFile``."""
        encoding = self._tokens.encode(text, add_special_tokens=False)
        encoding.truncate(self.room(length))
        return list(self._tokens.post_process(encoding).ids)


READERS: dict[str, type[SentencePieces] | type[HubTokens]] = {
    SENTENCEPIECE: SentencePieces,
    TOKENIZERS: HubTokens,
}


def _missing(package: str) -> str:
    return (
        f"the texts of this model are read by the package {package}, which is not installed; "
        f"pip install {package}"
    )
