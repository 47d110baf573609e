"""Images with captions: text files, lists and class folders, and what is said of the captions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from tao_like.data.captions.reading import CaptionSource, read_captions
from tao_like.data.captions.survey import caption_findings, survey_captions
from tao_like.data.text.vocabulary import words_preprocessing
from tao_like.errors import DatasetError
from tao_like.runtime.inputs.text import Tokenizer

KEY = "dataset.train_dataset"


def image(path: Path) -> Path:
    """A small image."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (20, 20), "red").save(path)
    return path


def source(folder: Path | None, **changes: object) -> CaptionSource:
    """A source below a folder."""
    return CaptionSource(KEY, folder, **changes)  # type: ignore[arg-type]


def test_text_files_stand_beside_images_a_caption_a_line(tmp_path: Path) -> None:
    for name in ("b.png", "sub/a.png", "lonely.png"):
        image(tmp_path / name)
    (tmp_path / "b.txt").write_text("a red square\n\n  a square \n", encoding="utf-8")
    (tmp_path / "sub" / "a.txt").write_text("ein rotes Quadrat", encoding="utf-8")
    found = read_captions(source(tmp_path))
    assert [(one.key, one.captions) for one in found.records] == [
        ("b.png", ("a red square", "a square")),
        ("sub/a.png", ("ein rotes Quadrat",)),
    ]
    (finding,) = found.findings
    assert (finding.code, finding.files) == ("no_caption", ("lonely.png",))


def test_text_files_may_lie_in_a_folder_of_their_own(tmp_path: Path) -> None:
    image(tmp_path / "images" / "a.png")
    (tmp_path / "captions").mkdir()
    (tmp_path / "captions" / "a.cap").write_text("red", encoding="utf-8")
    given = source(tmp_path / "images", caption_dir=tmp_path / "captions", suffix=".cap")
    assert read_captions(given).records[0].captions == ("red",)


@pytest.mark.parametrize("form", ["csv", "jsonl", "json"])
def test_lists_join_the_rows_of_an_image(form: str, tmp_path: Path) -> None:
    image(tmp_path / "pictures" / "a.png")
    image(tmp_path / "pictures" / "b.png")
    file = tmp_path / f"pairs.{form}"
    rows = [
        {"image": "pictures/b.png", "caption": "two, red|red", "label": "red", "group": "g"},
        {"image": "pictures/a.png", "caption": "one", "label": "", "group": ""},
        {"image": "pictures/a.png", "caption": "uno", "label": "", "group": ""},
    ]
    if form == "csv":
        lines = ["Image,Caption,label,group"]
        lines += [f'{one["image"]},"{one["caption"]}",{one["label"]},{one["group"]}' for one in rows]
        file.write_text("\n".join(lines), encoding="utf-8")
    else:
        listed = [{**one, "captions": one["caption"].split("|")} for one in rows]
        for one in listed:
            del one["caption"]
        text = json.dumps(listed) if form == "json" else "\n".join(map(json.dumps, listed))
        file.write_text(text, encoding="utf-8")
    records = read_captions(source(None, captions_file=file)).records
    assert [(one.key, one.captions, one.labels, one.group) for one in records] == [
        ("pictures/a.png", ("one", "uno"), (), ""),
        ("pictures/b.png", ("two, red", "red"), ("red",), "g"),
    ]


def test_class_folders_speak_through_templates(tmp_path: Path) -> None:
    for name in ("guinea_pig", "hen"):
        image(tmp_path / name / "1.png")
    templates = ("a photo of a {}", "a {}")
    records = read_captions(source(tmp_path, templates=templates)).records
    assert records[0].captions == ("a photo of a guinea pig", "a guinea pig")
    assert [one.labels for one in records] == [("guinea_pig",), ("hen",)]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"image": "a.png"}', "line 1: a record needs `caption`"),
        ('{"image": "none.png", "caption": "x"}', "1 files are not there"),
        ("{", "neither JSON nor JSONL"),
        ('["a"]', "no object"),
        ('{"image": "a.png", "captions": [1]}', "captions must be texts"),
        ('{"image": "a.png", "caption": ""}', "no image with a caption"),
    ],
)
def test_bad_lists_are_named_with_their_line(content: str, words: str, tmp_path: Path) -> None:
    image(tmp_path / "a.png")
    file = tmp_path / "pairs.jsonl"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(DatasetError, match=words) as caught:
        read_captions(source(None, captions_file=file))
    assert str(file) in str(caught.value)


def test_a_survey_counts_what_is_cut_equal_and_unknown(tmp_path: Path) -> None:
    texts = {"a": "red car", "b": "red car", "c": "a very long caption of a red car"}
    for name, text in texts.items():
        image(tmp_path / f"{name}.png")
        (tmp_path / f"{name}.txt").write_text(text, encoding="utf-8")
    records = read_captions(source(tmp_path)).records
    tokenizer = Tokenizer(words_preprocessing(["red car", "a red car"], 6, most_words=99))
    figures = survey_captions({"train": records, "val": records[:1]}, tokenizer)
    train = figures["train"]
    assert train["tokens"] == {"least": 2, "median": 2, "most": 8}
    assert train["cut_off"] == pytest.approx(1 / 3)
    assert train["equal"] == pytest.approx(2 / 3)
    assert train["unknown"] == pytest.approx(4 / 12)
    codes = {one.code for one in caption_findings({"train": records, "val": records[:1]}, tokenizer, figures)}
    assert codes == {"cut_off", "equal_captions"}
