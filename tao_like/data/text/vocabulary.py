"""Making a vocabulary: the words of the captions, byte pairs trained on them, or a file's merges."""

from __future__ import annotations

import base64
import gzip
import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

from tao_like.errors import BundleError, DatasetError, SpecError
from tao_like.runtime.choices import BPE, WORDS
from tao_like.runtime.inputs.text import TextPreprocessing, Tokenizer, words_of
from tao_like.runtime.inputs.text.bpe import WORD_END, BytePairs, byte_symbols, clip_tokens, joined_parts
from tao_like.runtime.inputs.text.token_files import LARGEST_VOCABULARY, READERS, SENTENCEPIECE, TOKENIZERS

FILE = "file"
CLIP_MERGES = 49152 - 256 - 2
"""As many merges of its file as CLIP uses: it was made with more."""


def words_preprocessing(
    captions: Iterable[str], context_length: int, *, most_words: int, canonicalize: bool = False
) -> TextPreprocessing:
    """The words of the captions, the most frequent ones first.

    Args:
        captions: of the training data.
        context_length: ids of a text.
        most_words: rarer ones beyond this number become unknown.
        canonicalize: punctuation is taken out of texts.
    """
    cleaning = Tokenizer(TextPreprocessing(WORDS, context_length, canonicalize=canonicalize))
    counts = Counter(word for caption in captions for word in words_of(cleaning.clean(caption)))
    words = [word for word, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))]
    return TextPreprocessing(WORDS, context_length, words=words[:most_words], canonicalize=canonicalize)


def trained_pairs(
    captions: Iterable[str], context_length: int, *, vocabulary_size: int, canonicalize: bool = False
) -> TextPreprocessing:
    """Byte pairs that shorten the captions most (Sennrich et al. 2016, algorithm 1).

    Args:
        captions: of the training data.
        context_length: ids of a text.
        vocabulary_size: ids in all; 514 of them are bytes, start and end.
        canonicalize: punctuation is taken out of texts.
    """
    cleaning = Tokenizer(TextPreprocessing(BPE, context_length, canonicalize=canonicalize))
    counts = Counter(token for caption in captions for token in clip_tokens(cleaning.clean(caption)))
    symbols = byte_symbols()
    words = []
    for token in sorted(counts):
        parts = [symbols[byte] for byte in token.encode("utf-8")]
        parts[-1] += WORD_END
        words.append((parts, counts[token]))
    merges = _merges(words, vocabulary_size - BytePairs([]).size)
    return TextPreprocessing(BPE, context_length, merges=merges, canonicalize=canonicalize)


def _merges(words: list[tuple[list[str], int]], most: int) -> list[str]:
    """The merges, the pair first that is most frequent by then; of equal ones the first by its text."""
    totals: Counter[tuple[str, str]] = Counter()
    holders: defaultdict[tuple[str, str], set[int]] = defaultdict(set)
    for number, (parts, count) in enumerate(words):
        for pair in pairwise(parts):
            totals[pair] += count
            holders[pair].add(number)
    merges: list[str] = []
    while len(merges) < most and totals:
        pair = min(totals, key=lambda one: (-totals[one], one))
        if totals[pair] < 2:
            break
        merges.append(" ".join(pair))
        for number in sorted(holders.pop(pair)):
            parts, count = words[number]
            _count(totals, holders, number, parts, -count)
            joined = joined_parts(parts, pair)
            words[number] = (joined, count)
            _count(totals, holders, number, joined, count)
    return merges


def _count(
    totals: Counter[tuple[str, str]],
    holders: defaultdict[tuple[str, str], set[int]],
    number: int,
    parts: list[str],
    count: int,
) -> None:
    """Adds a word's pairs to the totals, or with a negative count takes them out."""
    for pair in pairwise(parts):
        totals[pair] += count
        if count > 0:
            holders[pair].add(number)
        if totals[pair] <= 0:
            del totals[pair]


def file_preprocessing(
    path: Path, context_length: int, *, canonicalize: bool | None, key: str = "model.tokenizer.path"
) -> TextPreprocessing:
    """The vocabulary of a file, with the kind of cleaning that belongs to it.

    Args:
        path: ``spiece.model`` (SentencePiece), ``tokenizer.json``, CLIP's merges, or a folder with one.
        context_length: ids of a text.
        canonicalize: texts are lower-cased and lose their punctuation; None: where a SentencePiece
            vocabulary is given, as SigLIP's authors do.
        key: of the spec, for messages.

    Raises:
        SpecError: there is no such file.
        DatasetError: it is none of these, or its library is not installed.
    """
    file = _file(path, f"{key}={path}")
    if file.suffix == ".model":
        content = _content(file, key)
        stored, kind = base64.b64encode(content).decode("ascii"), SENTENCEPIECE
        cleans = canonicalize is not False
    elif file.suffix == ".json" and _kind_of_json(file, key) != "BPE":
        stored, kind, cleans = _content(file, key).decode("utf-8"), TOKENIZERS, bool(canonicalize)
    else:
        return TextPreprocessing(
            BPE, context_length, merges=read_merges(file), canonicalize=bool(canonicalize)
        )
    try:
        pad = READERS[kind](stored).end
    except BundleError as error:
        raise DatasetError(f"{key}={file}: {error}") from error
    return TextPreprocessing(
        kind,
        context_length,
        lower=cleans,
        unescape=False,
        canonicalize=cleans,
        vocabulary=stored,
        pad=pad,
    )


def _content(file: Path, key: str) -> bytes:
    if file.stat().st_size > LARGEST_VOCABULARY:
        raise DatasetError(
            f"{key}={file}: the file is larger than {LARGEST_VOCABULARY // 2**20} MiB; that is no vocabulary"
        )
    return file.read_bytes()


def _kind_of_json(file: Path, key: str) -> object:
    try:
        return json.loads(_content(file, key))["model"]["type"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DatasetError(f"{key}={file}: this is no tokenizer.json ({error})") from error


def read_merges(path: Path) -> list[str]:
    """The merges of CLIP's own vocabulary file, of a ``merges.txt``, or of a ``tokenizer.json``.

    Args:
        path: ``bpe_simple_vocab_16e6.txt.gz`` or the same unpacked; ``merges.txt``, perhaps beside its
            ``vocab.json``; ``tokenizer.json``; or a folder that holds one of these.

    Raises:
        SpecError: there is no such file.
        DatasetError: it is none of these, or its ids are others than the merges give.
    """
    key = f"model.tokenizer.path={path}"
    path = _file(path, key)
    if path.stat().st_size > LARGEST_VOCABULARY:
        raise DatasetError(
            f"{key}: the file is larger than {LARGEST_VOCABULARY // 2**20} MiB; that is no vocabulary"
        )
    try:
        if path.suffix == ".gz":
            with gzip.open(path) as packed:
                content = packed.read(LARGEST_VOCABULARY).decode("utf-8")
        else:
            content = path.read_text("utf-8")
        vocabulary: dict[str, int] | None
        if path.suffix == ".json":
            merges, vocabulary = _of_json(json.loads(content))
        else:
            merges, vocabulary = content.split("\n"), _beside(path)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError) as error:
        raise DatasetError(f"{key}: this is no vocabulary of byte pairs ({error})") from error
    if merges and merges[0].startswith(("#version", '"bpe_simple_vocab')):
        merges = merges[1:]
    merges = [merge.strip() for merge in merges[:CLIP_MERGES] if merge.strip()]
    if not merges or any(len(merge.split(" ")) != 2 for merge in merges):
        raise DatasetError(f"{key}: its lines are not pairs such as `i n`; this is no list of merges")
    if vocabulary is not None:
        _check_ids(vocabulary, merges, key)
    return merges


def _file(path: Path, key: str) -> Path:
    if path.is_dir():
        for name in ("merges.txt", "bpe_simple_vocab_16e6.txt.gz", "spiece.model", "tokenizer.json"):
            if (path / name).is_file():
                return path / name
    if not path.is_file():
        raise SpecError(
            f"{key}: there is no such vocabulary; give merges.txt, bpe_simple_vocab_16e6.txt.gz, "
            "spiece.model or tokenizer.json"
        )
    return path


def _of_json(content: dict[str, dict[str, object]]) -> tuple[list[str], dict[str, int]]:
    model = content["model"]
    if model["type"] != "BPE":
        raise ValueError(f"its model is {model['type']}, not BPE")
    merges = [one if isinstance(one, str) else " ".join(one) for one in model["merges"]]  # type: ignore[attr-defined]
    return merges, dict(model["vocab"])  # type: ignore[call-overload]


def _beside(path: Path) -> dict[str, int] | None:
    beside = path.with_name("vocab.json")
    return dict(json.loads(beside.read_text("utf-8"))) if beside.is_file() else None


def _check_ids(vocabulary: dict[str, int], merges: list[str], key: str) -> None:
    """The ids that a vocabulary lists are those that its merges give."""
    expected = BytePairs(merges).vocabulary
    for entry, number in vocabulary.items():
        if expected.get(entry) != number:
            raise DatasetError(
                f"{key}: its vocabulary has {entry!r} as number {number}, and by its merges that would be "
                f"{expected.get(entry)}; it is of another kind than CLIP's, and cannot be used"
            )
