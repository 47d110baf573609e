"""Images with captions: text files, lists and class folders, and what is said of the captions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from tao_like.data.captions.layouts import find_caption_sources
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


@pytest.mark.parametrize("mark", ["\t", ";", ","])
def test_lists_are_separated_as_their_header_is(mark: str, tmp_path: Path) -> None:
    image(tmp_path / "a.png")
    lines = ["\ufeffimage", "caption"], ["a.png", f'"red{mark} and blue"']
    (tmp_path / "pairs.csv").write_text("\r\n".join(map(mark.join, lines)), encoding="utf-8", newline="")
    (record,) = read_captions(source(None, captions_file=tmp_path / "pairs.csv")).records
    assert record.captions == (f"red{mark} and blue",)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('image,caption\na.png,"red\nb.png,"blue"\n', "line 3: not valid CSV"),
        (f'image,caption\na.png,"{"x" * 140_000}\n', "not valid CSV"),
        ("image,caption,caption\na.png,red,blue\n", "line 1: two columns are named caption"),
        ("image,caption\na.png,red, blue\n", "line 2: 3 cells, and the header names 2"),
        ("image,caption,group\na.png,red,x\na.png,blue,y\n", "line 3: a.png is in another group"),
    ],
)
def test_a_csv_list_that_loses_something_is_refused(text: str, words: str, tmp_path: Path) -> None:
    image(tmp_path / "a.png")
    (tmp_path / "pairs.csv").write_text(text, encoding="utf-8")
    with pytest.raises(DatasetError, match=words):
        read_captions(source(None, captions_file=tmp_path / "pairs.csv"))


def test_labels_and_groups_may_be_numbers(tmp_path: Path) -> None:
    rows = [{"image": f"{n}.png", "caption": "x", "label": n, "group": n} for n in range(3)]
    rows[2] |= {"label": float("nan"), "group": None}
    for row in rows:
        image(tmp_path / str(row["image"]))
    file = tmp_path / "pairs.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    records = read_captions(source(None, captions_file=file)).records
    assert [(one.labels, one.group) for one in records] == [(("0",), "0"), (("1",), "1"), ((), "")]
    file.write_text(json.dumps({**rows[0], "label": ["a", "b"]}), encoding="utf-8")
    with pytest.raises(DatasetError, match=r"line 1: label is \['a', 'b'\]; it must be one text or number"):
        read_captions(source(None, captions_file=file))


def test_a_group_stays_where_a_later_row_names_none(tmp_path: Path) -> None:
    image(tmp_path / "a.png")
    (tmp_path / "pairs.csv").write_text("image,caption,group\na.png,red,x\na.png,blue,\n", encoding="utf-8")
    (record,) = read_captions(source(None, captions_file=tmp_path / "pairs.csv")).records
    assert (record.captions, record.group) == (("red", "blue"), "x")


def test_splits_may_have_any_usual_name(tmp_path: Path) -> None:
    for split in ("Training", "validation", "test"):
        image(tmp_path / split / "a.png")
        (tmp_path / split / "a.txt").write_text(split, encoding="utf-8")
    (tmp_path / "Valid.jsonl").write_text("", encoding="utf-8")
    found = find_caption_sources(tmp_path, str)
    assert {split: (one.images_dir, one.captions_file) for split, one in found.items()} == {
        "train": (tmp_path / "Training", None),
        "val": (None, tmp_path / "Valid.jsonl"),
        "test": (tmp_path / "test", None),
    }


def test_the_only_list_of_a_folder_stands_for_it(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "train"):
        image(folder / "a.png")
        (folder / "metadata.csv").write_text("file_name,text\na.png,red\n", encoding="utf-8")
        (folder / "classes.json").write_text('["red"]', encoding="utf-8")
        (found,) = find_caption_sources(tmp_path, str).values()
        assert (found.images_dir, found.captions_file) == (None, folder / "metadata.csv")
    (tmp_path / "train" / "a.txt").write_text("red", encoding="utf-8")
    (found,) = find_caption_sources(tmp_path, str).values()
    assert (found.images_dir, found.captions_file) == (tmp_path / "train", None)


def test_images_without_a_caption_are_not_asked_for_class_folders(tmp_path: Path) -> None:
    image(tmp_path / "a.png")
    with pytest.raises(DatasetError, match=r"has no image with a caption; put a text file \(\.txt\) beside"):
        read_captions(source(tmp_path))


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
