"""What the folder of a sentence model says of its texts. Imports no torch."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from tao_like.data.text.vocabulary import file_preprocessing
from tao_like.errors import SpecError
from tao_like.runtime.inputs.text import TextPreprocessing

KEY = "model.text_encoder.path"
USUAL_LENGTH = 77
"""Captions are short, and every id takes time."""


def read_config(folder: Path, name: str = "config.json") -> dict[str, Any]:
    """A file of the folder; empty where there is none.

    Raises:
        SpecError: it is no JSON object.
    """
    try:
        content = json.loads((folder / name).read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise SpecError(f"{KEY}={folder}: {name} cannot be read ({error})") from error
    if not isinstance(content, dict):
        raise SpecError(f"{KEY}={folder}: {name} holds no object")
    return content


def sentence_preprocessing(folder: Path, context_length: int | None) -> TextPreprocessing:
    """How the model takes texts: its tokenizer as it stands, and a length.

    Args:
        folder: of the model.
        context_length: ids of a text; None: the model's own, 77 at most.

    Raises:
        SpecError: there is no tokenizer, or the length is more than the model has positions.
        DatasetError: the tokenizer cannot be read.
    """
    if not (folder / "tokenizer.json").is_file():
        raise SpecError(
            f"{KEY}={folder} has no tokenizer.json; transformers' AutoTokenizer.from_pretrained(...)"
            ".save_pretrained(folder) writes it"
        )
    config = read_config(folder)
    longest = read_config(folder, "sentence_bert_config.json").get("max_seq_length") or USUAL_LENGTH
    length = context_length or min(USUAL_LENGTH, int(longest))
    positions = int(config.get("max_position_embeddings", length)) - first_position(config)
    if length > positions:
        raise SpecError(
            f"model.tokenizer.context_length={length}: the sentence model has {positions} positions"
        )
    found = file_preprocessing(folder / "tokenizer.json", length, canonicalize=None, key=KEY)
    if not found.vocabulary:
        raise SpecError(
            f"{KEY}={folder}: its tokenizer.json holds byte pairs; models with WordPiece or Unigram "
            "vocabularies (BERT, MiniLM, XLM-R) can be used"
        )
    return replace(found, pad=int(config.get("pad_token_id") or 0))


def first_position(config: dict[str, Any]) -> int:
    """Which row of the model's positions belongs to a text's first token."""
    # RoBERTa counts from behind the number of its padding (fairseq's make_positions).
    return 0 if config.get("model_type") == "bert" else int(config.get("pad_token_id") or 0) + 1
