"""Texts to ids: CLIP's byte pairs as transformers has them, words, and what does not fit."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from many_scripts import CAPTIONS, texts

from tao_like.data.text.vocabulary import read_merges, trained_pairs, words_preprocessing
from tao_like.errors import BundleError, DatasetError, SpecError
from tao_like.runtime.choices import BPE, WORDS
from tao_like.runtime.inputs.text import END, START, UNKNOWN, TextPreprocessing, Tokenizer
from tao_like.runtime.inputs.text.bpe import BytePairs, clip_tokens


@pytest.fixture(scope="module")
def merges() -> list[str]:
    """Trained on many scripts."""
    return trained_pairs(CAPTIONS * 3, 77, vocabulary_size=900).merges


@pytest.fixture(scope="module")
def own(merges: list[str]) -> Tokenizer:
    """Ours, with CLIP's rules."""
    return Tokenizer(TextPreprocessing(BPE, 77, merges=merges))


def vocabulary_folder(folder: Path, merges: list[str]) -> Path:
    """``vocab.json`` and ``merges.txt``, numbered as CLIP's are."""
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = BytePairs(merges).vocabulary
    (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n", encoding="utf-8")
    return folder


def test_ids_are_those_of_transformers_tokenizer(own: Tokenizer, merges: list[str], tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    folder = vocabulary_folder(tmp_path, merges)
    theirs = transformers.CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))
    given = texts(1000)
    expected = theirs(given, padding=False, truncation=True, max_length=77)["input_ids"]
    different = []
    for text, ids in zip(given, expected, strict=True):
        found = own.ids(text)
        length = int((found == own.end).argmax()) + 1
        if found[:length].tolist() != ids[:length]:
            different.append((text, found[:length].tolist(), ids))
    assert different == []


def test_a_known_word_is_spelt_as_the_merges_say() -> None:
    pairs = BytePairs(["l o", "lo w</w>", "e r</w>"])
    vocabulary = pairs.vocabulary
    assert pairs.ids("low") == [vocabulary["low</w>"]]
    assert pairs.ids("lower") == [vocabulary["lo"], vocabulary["w"], vocabulary["er</w>"]]
    assert (pairs.start, pairs.end) == (515, 516)


def test_contractions_digits_and_runs_are_cut_as_in_the_original() -> None:
    found = list(clip_tokens("they're 12 a_b!?  it's"))
    assert found == ["they", "'re", "1", "2", "a", "_", "b", "!?", "it", "'s"]


def test_long_texts_lose_their_last_tokens_and_keep_their_end(own: Tokenizer) -> None:
    long = "red " * 200
    ids = own.ids(long)
    assert (ids[0], ids[-1], len(ids)) == (own.start, own.end, 77)
    assert own.is_cut(long)
    assert not own.is_cut("red")


def test_html_and_case_are_cleaned_as_the_original_does(own: Tokenizer) -> None:
    assert own.clean("  A &amp;amp; B\n c ") == "a & b c"
    keeps = Tokenizer(TextPreprocessing(WORDS, 8, lower=False, unescape=False))
    assert keeps.clean("A &amp; B") == "A &amp; B"
    plain = Tokenizer(TextPreprocessing(WORDS, 8, canonicalize=True))
    assert plain.clean("Hello, world!") == "hello world"


def test_words_have_ids_by_frequency_and_strangers_are_unknown() -> None:
    tokenizer = Tokenizer(words_preprocessing(["a red car", "a blue car", "a red sky"], 8, most_words=3))
    assert tokenizer.preprocessing.words == ["a", "car", "red"]
    assert tokenizer.ids("A red, boat").tolist() == [START, 4, 6, UNKNOWN, UNKNOWN, END, 0, 0]
    assert tokenizer.vocabulary_size == 7


def test_byte_pairs_are_those_of_the_paper() -> None:
    """Sennrich et al. 2016, figure 1: low 5, lower 2, newest 6, widest 3 begin with e s, es t, ..., l o."""
    captions = ["low"] * 5 + ["lower"] * 2 + ["newest"] * 6 + ["widest"] * 3
    merges = trained_pairs(captions, 8, vocabulary_size=514 + 4).merges
    # In their figure the end of a word is a symbol of its own; here it is a part of the last letter.
    assert merges[:2] == ["e s", "es t</w>"]
    assert "l o" in merges


@pytest.mark.parametrize("name", ["merges.txt", "bpe_simple_vocab_16e6.txt.gz", "tokenizer.json", ""])
def test_vocabulary_files_of_others_are_read(name: str, merges: list[str], tmp_path: Path) -> None:
    folder = vocabulary_folder(tmp_path / "folder", merges)
    path = folder / name
    if name.endswith(".gz"):
        content = "\n".join(['"bpe_simple_vocab_16e6.txt#version: 0.2', *merges])
        path.write_bytes(gzip.compress(content.encode("utf-8")))
    if name == "tokenizer.json":
        model = {
            "type": "BPE",
            "vocab": BytePairs(merges).vocabulary,
            "merges": [m.split(" ") for m in merges],
        }
        path.write_text(json.dumps({"model": model}), encoding="utf-8")
    assert read_merges(path) == merges


def test_other_vocabularies_are_refused(merges: list[str], tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="no such vocabulary"):
        read_merges(tmp_path / "none.txt")
    folder = vocabulary_folder(tmp_path / "other", merges)
    vocabulary = BytePairs(merges).vocabulary
    vocabulary["!"], vocabulary["a"] = vocabulary["a"], vocabulary["!"]
    (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    with pytest.raises(DatasetError, match="another kind than CLIP's"):
        read_merges(folder)
    (tmp_path / "poem.txt").write_text("roses are red\n", encoding="utf-8")
    with pytest.raises(DatasetError, match="not pairs"):
        read_merges(tmp_path / "poem.txt")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"type": "letters"}, "type must be"),
        ({"context_length": 2}, "context_length must be 3"),
        ({"merges": ["a"]}, "merges must be pairs"),
        ({"words": ["a", "a"]}, "words must be a list without"),
        ({"more": 1}, "more must be"),
    ],
)
def test_settings_without_meaning_are_refused(changes: dict[str, object], words: str) -> None:
    good = TextPreprocessing(WORDS, 8, words=["a"]).to_dict()
    assert TextPreprocessing.from_dict(good).words == ["a"]
    with pytest.raises(BundleError, match=words):
        TextPreprocessing.from_dict({**good, **changes})
