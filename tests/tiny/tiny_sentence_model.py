"""The smallest sentence model of transformers, with a vocabulary of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from many_scripts import CAPTIONS
from sample_images import CLASSES

SENTENCES = [*CAPTIONS, *(f"a photo of a {name}" for name in CLASSES), "a red thing", "a blue thing"]


def write_sentence_model(folder: Path, kind: str = "bert", **changes: Any) -> Any:
    """A small encoder of transformers with random weights, and a WordPiece vocabulary trained on captions."""
    transformers, tokenizers = pytest.importorskip("transformers"), pytest.importorskip("tokenizers")
    pad = 0 if kind == "bert" else 1
    marks = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"] if pad == 0 else ["[CLS]", "[PAD]", "[UNK]", "[SEP]"]
    tokens = tokenizers.Tokenizer(tokenizers.models.WordPiece(unk_token="[UNK]"))
    tokens.normalizer = tokenizers.normalizers.BertNormalizer(lowercase=True)
    tokens.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    trainer = tokenizers.trainers.WordPieceTrainer(vocab_size=200, special_tokens=marks, show_progress=False)
    tokens.train_from_iterator(SENTENCES * 3, trainer)
    ends = [(mark, tokens.token_to_id(mark)) for mark in ("[CLS]", "[SEP]")]
    tokens.post_processor = tokenizers.processors.TemplateProcessing("[CLS] $A [SEP]", special_tokens=ends)
    folder.mkdir(parents=True, exist_ok=True)
    tokens.save(str(folder / "tokenizer.json"))
    sizes = {"vocab_size": 210, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    sizes |= {"intermediate_size": 48, "max_position_embeddings": 24, "pad_token_id": pad, **changes}
    torch.manual_seed(5)
    names = {"bert": "Bert", "xlm-roberta": "XLMRoberta"}
    config = getattr(transformers, f"{names[kind]}Config")(**sizes)
    network = getattr(transformers, f"{names[kind]}Model")(config).eval()
    with torch.no_grad():  # what starts as 0 or 1 would hide a mistake
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    network.save_pretrained(folder)
    return network
