"""Text towers that are sentence models, and vocabularies that other libraries wrote."""

from __future__ import annotations

import io
import json
import re
import string
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from many_scripts import WORDS_MIXED, texts
from sample_images import write_class_folders
from stage_runs import csv_rows
from tiny_clip import data_overrides, run
from tiny_sentence_model import SENTENCES, write_sentence_model

from tao_like import runtime
from tao_like.bundle import read_bundle
from tao_like.data.captions.record import CaptionRecord
from tao_like.data.captions.survey import survey_captions
from tao_like.data.text.vocabulary import file_preprocessing
from tao_like.errors import BundleError, DatasetError, SpecError
from tao_like.runtime.inputs.text import Tokenizer
from tao_like.tasks.clip.model.sentence_files import described, load_sentence, sentence_shape
from tao_like.tasks.clip.model.sentence_tower import SentenceTower
from tao_like.tasks.clip.spec import TextEncoderSpec

WITHOUT_TORCH = """\
import json, sys
from tao_like.runtime import load

model = load(sys.argv[1])
ids = [model.inputs["text"].tokenizer.ids(text).tolist() for text in json.loads(sys.argv[2])]
named = model.predict(sys.argv[3], classes=["a red thing", "a blue thing"])
print(json.dumps([ids, named.probabilities, "torch" in sys.modules]))
"""
FEW = ("train.num_epochs=1", "train.optim.warmup_epochs=0", "train.accelerator=cpu")


@pytest.fixture(scope="module")
def pieces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ``spiece.model`` trained on many scripts, numbered as T5's and SigLIP's are."""
    sentencepiece = pytest.importorskip("sentencepiece")
    buffer = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([*SENTENCES, *WORDS_MIXED] * 20),
        model_writer=buffer,
        vocab_size=200,
        hard_vocab_limit=False,
        character_coverage=0.98,
        normalization_rule_name="nmt_nfkc",
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        minloglevel=2,
    )
    file = tmp_path_factory.mktemp("pieces") / "spiece.model"
    file.write_bytes(buffer.getvalue())
    return file


def cleaned(text: str) -> str:
    """SigLIP's rule, written once more."""
    kept = "".join(one for one in text.lower() if one not in string.punctuation)
    return " ".join(re.split(r"\s+", kept)).strip()


def test_ids_are_those_of_sentencepiece_and_transformers(pieces: Path) -> None:
    transformers = pytest.importorskip("transformers")
    import sentencepiece

    own = Tokenizer(file_preprocessing(pieces, 16, canonicalize=None))
    reference = sentencepiece.SentencePieceProcessor(model_file=str(pieces))
    theirs = transformers.SiglipTokenizer(str(pieces))
    unknown = 0
    for text in [*texts(1000), "", "!?", "क्षि", "ﷺ", "a" * 50]:
        ids = reference.encode(cleaned(text))
        unknown += 2 in ids
        expected = ([*ids[:15], 1] + [1] * 16)[:16]
        assert own.ids(text).tolist() == expected, text
        assert own.is_cut(text) == (len(ids) > 15), text
        # transformers encodes behind "<unk>", so its sums round otherwise, and of two equally good ways to
        # cut the three dots of an ellipsis it takes the other one.
        if "…" not in text:
            padded = theirs(text, padding="max_length", truncation=True, max_length=16)
            assert padded["input_ids"] == expected, text
    assert unknown > 10
    assert own.vocabulary_size == reference.get_piece_size()


def test_punctuation_stays_where_the_spec_says_so(pieces: Path) -> None:
    raw = Tokenizer(file_preprocessing(pieces, 16, canonicalize=False))
    assert raw.clean("A, b!") == "A, b!"
    assert Tokenizer(file_preprocessing(pieces.parent, 16, canonicalize=True)).clean("A, b!") == "a b"


def test_a_survey_counts_the_room_of_the_file(pieces: Path) -> None:
    """SentencePiece puts an end behind a text and no start before it."""
    own = Tokenizer(file_preprocessing(pieces, 16, canonicalize=None))
    by_length = {
        len(own.encode(text)): text for text in (" ".join(["red"] * count) for count in range(1, 20))
    }
    record = CaptionRecord(Path("a.png"), (), "", "a.png", (by_length[15], by_length[16]))
    assert survey_captions({"train": [record]}, own)["train"]["cut_off"] == 0.5


def test_a_damaged_vocabulary_is_named(tmp_path: Path) -> None:
    pytest.importorskip("sentencepiece")
    file = tmp_path / "spiece.model"
    file.write_bytes(b"\x0a\xffno model")
    with pytest.raises(DatasetError, match=r"spiece\.model: this is no vocabulary of SentencePiece"):
        file_preprocessing(file, 16, canonicalize=None)
    json_file = tmp_path / "tokenizer.json"
    json_file.write_text('{"model": {"type": "Unigram"}}', encoding="utf-8")
    with pytest.raises(DatasetError, match=r"tokenizer\.json: this is no tokenizer"):
        file_preprocessing(json_file, 16, canonicalize=None)


def test_a_missing_library_is_named(pieces: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = file_preprocessing(pieces, 16, canonicalize=None)
    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    with pytest.raises(BundleError, match="pip install sentencepiece"):
        Tokenizer(stored).ids("a")


def answers_without_torch(folder: Path, image: Path, texts: list[str]) -> tuple[Any, Any]:
    """Ids and probabilities of an exported folder in a process of its own."""
    command = [sys.executable, "-c", WITHOUT_TORCH, str(folder), json.dumps(texts), str(image)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    ids, probabilities, has_torch = json.loads(done.stdout)
    assert not has_torch
    return ids, dict(probabilities)


def ship(results: Path, data: list[str], words: list[str]) -> tuple[Any, Path, dict[str, float]]:
    """Trains, exports and asks; returns the bundle, the folder, and what inference answers for an image."""
    trained = run("train", results, *data, *words, *FEW)
    exported = run("export", results, f"export.checkpoint={trained.bundle}")
    image = next(Path(data[0].partition("=")[2]).rglob("*.png"))
    asked = ["inference.classes=[a red thing,a blue thing]", f"inference.source={image}"]
    found = run("inference", results, *asked, f"inference.checkpoint={trained.bundle}")
    (row,) = csv_rows(found.predictions)
    return (
        read_bundle(trained.bundle),
        exported.onnx_file,
        {k[2:]: float(v) for k, v in row.items() if k[:2] == "p_"},
    )


def test_a_vocabulary_of_sentencepiece_ships_in_bundle_and_folder(pieces: Path, tmp_path: Path) -> None:
    write_class_folders(tmp_path / "data")
    data = data_overrides(tmp_path / "data")
    words = [
        "model.type=siglip_tiny",
        "model.image_size=16",
        "model.embed_dim=null",
        "train.loss_type=siglip",
    ]
    words += [f"model.tokenizer={{type: file, path: {pieces}, context_length: 12}}", "model.text={layers: 1}"]
    bundle, folder, expected = ship(tmp_path / "results", data, words)
    own = Tokenizer(file_preprocessing(pieces, 12, canonicalize=None))
    assert bundle.preprocessing["text"] == own.preprocessing.to_dict()
    given = texts(50)
    image = next((tmp_path / "data" / "train").rglob("*.png"))
    pieces_gone = pieces.rename(pieces.with_name("gone.model"))
    try:
        ids, probabilities = answers_without_torch(folder, image, given)
    finally:
        pieces_gone.rename(pieces)
    assert ids == [own.ids(text).tolist() for text in given]
    assert probabilities == pytest.approx(expected, abs=1e-4)


@pytest.fixture(scope="module")
def sentence_model(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """One of BERT's kind."""
    folder = tmp_path_factory.mktemp("sentences") / "model"
    return write_sentence_model(folder), folder


def pooled(network: Any, folder: Path, given: list[str], pooling: str, pad: int) -> torch.Tensor:
    """Embeddings as transformers and the rule of sentence-transformers give them."""
    import tokenizers

    tokens = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokens.enable_truncation(20)
    tokens.enable_padding(pad_id=pad)
    encoded = tokens.encode_batch(given)
    ids = torch.tensor([one.ids for one in encoded])
    mask = torch.tensor([one.attention_mask for one in encoded])
    with torch.no_grad():
        states = network(input_ids=ids, attention_mask=mask).last_hidden_state
    if pooling == "cls":
        return states[:, 0]  # type: ignore[no-any-return]
    return (states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)  # type: ignore[no-any-return]


@pytest.mark.parametrize(("kind", "pooling"), [("bert", "mean"), ("bert", "cls"), ("xlm-roberta", "mean")])
def test_embeddings_are_those_of_transformers(kind: str, pooling: str, tmp_path: Path) -> None:
    from tao_like.data.text.sentence_files import sentence_preprocessing

    theirs = write_sentence_model(tmp_path, kind)
    if pooling == "cls":
        (tmp_path / "1_Pooling").mkdir()
        says = {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}
        (tmp_path / "1_Pooling" / "config.json").write_text(json.dumps(says), encoding="utf-8")
    tower = SentenceTower(shape_of(tmp_path), 20, 32, logit_scale=2.0, logit_bias=None).eval()
    load_sentence(tower, tmp_path)
    own = Tokenizer(sentence_preprocessing(tmp_path, 20))
    given = [*SENTENCES, "word " * 40]
    with torch.no_grad():
        found = tower(torch.from_numpy(np.stack([own.ids(text) for text in given])))
    expected = pooled(theirs, tmp_path, given, pooling, own.preprocessing.pad)
    assert torch.allclose(found, expected, atol=1e-5)


def shape_of(folder: Path) -> Any:
    """The sizes of a folder's model."""
    return sentence_shape(described(TextEncoderSpec(path=str(folder))))


@pytest.mark.parametrize("learns", ["frozen", "lora", pytest.param("full", marks=pytest.mark.acceptance)])
def test_a_sentence_model_is_a_text_tower(
    learns: str, sentence_model: tuple[Any, Path], tmp_path: Path
) -> None:
    theirs, folder = sentence_model
    write_class_folders(tmp_path / "data")
    data = data_overrides(tmp_path / "data")
    words = [
        f"model.text_encoder.path={folder}",
        "model.embed_dim=null",
        "model.tokenizer={context_length: 20}",
    ]
    words += ["model.text={}"]
    if learns == "frozen":
        words.append("model.freeze_text_encoder=true")
    if learns == "lora":
        words.append("train.peft={enabled: true, vision: {mode: full}, text: {mode: lora}, rank: 2}")
    bundle, shipped, expected = ship(tmp_path / "results", data, words)
    stored = bundle.spec["model"]["text_encoder"]
    assert (stored["width"], stored["pooling"], stored["pad_id"]) == (32, "mean", 0)
    image = next((tmp_path / "data" / "train").rglob("*.png"))
    _, probabilities = answers_without_torch(shipped, image, ["a"])
    assert probabilities == pytest.approx(expected, abs=1e-4)
    found = np.stack([runtime.load(shipped).predict({"text": text}).embedding for text in SENTENCES])
    rows = torch.nn.functional.normalize(pooled(theirs, folder, SENTENCES, "mean", 0), dim=1).numpy()
    # Left as it is, the exported tower still is the sentence model; else it has learnt.
    assert np.allclose(found, rows, atol=1e-5) == (learns == "frozen")


@pytest.mark.acceptance
def test_a_sentence_model_is_pruned_and_quantized(sentence_model: tuple[Any, Path], tmp_path: Path) -> None:
    write_class_folders(tmp_path / "data")
    data = data_overrides(tmp_path / "data")
    words = [f"model.text_encoder.path={sentence_model[1]}", "model.embed_dim=null", "model.text={}"]
    words += ["model.tokenizer={context_length: 20}", "train.optim.lr=3e-3"]
    trained = run("train", tmp_path / "r", *data, *words, *FEW, "train.num_epochs=3")
    pruned = run("prune", tmp_path / "r", *data, f"prune.checkpoint={trained.bundle}", "prune.ratio=0.3")
    before, after = (
        sum(one.numel() for one in read_bundle(file).parts["text"].weights.values())
        for file in (trained.bundle, pruned.bundle)
    )
    assert after < before
    again = [f"train.pruned_model_path={pruned.bundle}", *FEW]
    run("train", tmp_path / "again", *data, *again)
    run("export", tmp_path / "r", *data, f"export.checkpoint={pruned.bundle}")
    small = run("quantize", tmp_path / "r", *data, "quantize.max_drop=1")
    assert small.onnx_file.is_file()


def test_a_frozen_sentence_model_leads_into_another_space_by_a_layer_that_learns(
    sentence_model: tuple[Any, Path], tmp_path: Path
) -> None:
    write_class_folders(tmp_path / "data")
    data = data_overrides(tmp_path / "data")
    words = [f"model.text_encoder.path={sentence_model[1]}", "model.embed_dim=24", "model.text={}"]
    words += ["model.freeze_text_encoder=true", "model.tokenizer={context_length: 20}"]
    trained = run("train", tmp_path, *data, *words, *FEW, "train.seed=3")
    tower = SentenceTower(shape_of(sentence_model[1]), 20, 24, logit_scale=2.6592, logit_bias=None)
    load_sentence(tower, sentence_model[1])
    after = read_bundle(trained.bundle).parts["text"].weights
    changed = {name for name, value in tower.state_dict().items() if not torch.equal(value, after[name])}
    assert changed == {"projection.weight", "logit_scale"}
    lines = (trained.bundle.parent / "log.txt").read_text("utf-8")
    assert "the text tower is the sentence model of" in lines


def test_what_cannot_be_a_text_tower_is_refused(sentence_model: tuple[Any, Path], tmp_path: Path) -> None:
    folder = sentence_model[1]
    with pytest.raises(SpecError, match=r"model\.text_encoder\.width=64: .* has 32"):
        described(TextEncoderSpec(path=str(folder), width=64))
    with pytest.raises(SpecError, match=r"no folder with a config\.json"):
        described(TextEncoderSpec(path=str(tmp_path)))
    config = json.loads((folder / "config.json").read_text("utf-8"))
    (tmp_path / "config.json").write_text(json.dumps({**config, "model_type": "mpnet"}), encoding="utf-8")
    with pytest.raises(SpecError, match="model_type mpnet; encoders of the kind bert"):
        described(TextEncoderSpec(path=str(tmp_path)))
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    block = described(TextEncoderSpec(path=str(folder)))
    tower = SentenceTower(sentence_shape(block), 20, 32, logit_scale=2.0, logit_bias=None)
    with pytest.raises(SpecError, match=r"holds none of model\.safetensors"):
        load_sentence(tower, tmp_path)
    block.layers = 3
    tower = SentenceTower(sentence_shape(block), 20, 32, logit_scale=2.0, logit_bias=None)
    with pytest.raises(SpecError, match=r"others than its config\.json says: blocks\.2"):
        load_sentence(tower, folder)
