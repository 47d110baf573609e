"""The quick and the full check of labelled images."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tao_like.data.checks.findings import CheckReport, Finding
from tao_like.data.checks.folders import unused_findings
from tao_like.data.checks.images import check_images
from tao_like.data.images.class_folders import read_class_folders
from tao_like.data.images.files import read_header
from tao_like.data.images.pixel_range import found_pixel_range
from tao_like.data.images.sample import ImageRecord
from tao_like.errors import DatasetError

Paint = Callable[..., Path]
Check = Callable[..., CheckReport]
quick_check = partial(check_images, full=False)
full_check = partial(check_images, full=True)


def record(path: Path, *labels: str) -> ImageRecord:
    return ImageRecord(path, labels, key=path.name)


def found(report: CheckReport, code: str) -> Finding:
    (finding,) = [finding for finding in report.findings if finding.code == code]
    return finding


def codes(report: CheckReport) -> set[str]:
    return {finding.code for finding in report.findings}


@pytest.fixture
def good(tmp_path: Path, paint: Paint) -> dict[str, list[ImageRecord]]:
    splits = {}
    for offset, (name, count) in enumerate((("train", 12), ("val", 3))):
        for label in "ab":
            for i in range(count):
                paint(tmp_path / name / label / f"{i}.png", seed=1000 * offset + 100 * ord(label) + i)
        splits[name] = read_class_folders(tmp_path / name)
    return splits


@pytest.mark.parametrize("check", [quick_check, full_check])
def test_nothing_is_found_in_good_data(good: dict[str, list[ImageRecord]], check: Check) -> None:
    report = check(good, ["a", "b"])
    assert report.findings == ()
    assert report.counts == {"train": {"a": 12, "b": 12}, "val": {"a": 3, "b": 3}}
    assert report.images == {"train": 24, "val": 6}
    assert report.sizes is not None
    assert report.sizes.width == (48, 48, 48)
    assert report.sizes.height == (32, 32, 32)
    assert report.grey_fraction == 0
    assert not report.errors
    assert report.classes == ("a", "b")


def test_files_that_cannot_be_used(good: dict[str, list[ImageRecord]], tmp_path: Path, paint: Paint) -> None:
    whole = paint(tmp_path / "whole.jpg", seed=7, size=(200, 200))
    cut = tmp_path / "cut.jpg"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    (tmp_path / "none.jpg").touch()
    (tmp_path / "text.jpg").write_text("this is no image")
    bad = [record(tmp_path / name, "a") for name in ("cut.jpg", "none.jpg", "text.jpg", "gone.jpg")]
    splits = {**good, "train": good["train"] + bad}

    quick = quick_check(splits, ["a", "b"])
    assert {finding.code for finding in quick.errors} == {"empty", "corrupt", "missing"}
    assert [str(tmp_path / "text.jpg") in line for line in found(quick, "corrupt").files] == [True]
    assert found(quick, "missing").files[0].startswith(str(tmp_path / "gone.jpg"))

    # That the lower half is gone shows only when the image is decoded.
    full = full_check(splits, ["a", "b"])
    assert full.errors
    assert sorted(Path(line.split()[0]).name.rstrip(":") for line in found(full, "corrupt").files) == [
        "cut.jpg",
        "text.jpg",
    ]


@pytest.mark.parametrize("check", [quick_check, full_check])
def test_copies_across_splits_and_labels(
    good: dict[str, list[ImageRecord]], tmp_path: Path, check: Check
) -> None:
    first, second = good["train"][0], good["train"][1]
    leaked, relabelled = tmp_path / "leaked.png", tmp_path / "relabelled.png"
    leaked.write_bytes(first.path.read_bytes())
    relabelled.write_bytes(second.path.read_bytes())
    splits = {"train": [*good["train"], record(relabelled, "b")], "val": [*good["val"], record(leaked, "a")]}
    report = check(splits, ["a", "b"])
    assert codes(report) == {"same_picture_in_splits", "same_picture_two_labels"}
    assert found(report, "same_picture_in_splits").groups == ((str(first.path), str(leaked)),)
    assert found(report, "same_picture_two_labels").groups == ((f"{second.path} (a)", f"{relabelled} (b)"),)
    assert not report.errors
    assert f"{first.path} = {leaked}" in found(report, "same_picture_in_splits").text()


def test_the_very_same_file_in_two_splits(good: dict[str, list[ImageRecord]]) -> None:
    report = quick_check({"train": good["train"], "test": good["train"][:2]}, ["a", "b"])
    assert len(found(report, "same_picture_in_splits").groups) == 2


def test_images_that_only_look_the_same(
    good: dict[str, list[ImageRecord]], tmp_path: Path, paint: Paint
) -> None:
    # The same image saved again, in another format, size and quality.
    original = paint(tmp_path / "original.png", seed=42, size=(320, 240))
    again = tmp_path / "again.jpg"
    Image.open(original).resize((200, 150), Image.Resampling.LANCZOS).save(again, quality=60)
    splits = {"train": [*good["train"], record(original, "a")], "val": [*good["val"], record(again, "b")]}
    assert codes(quick_check(splits, ["a", "b"])) == set()
    report = full_check(splits, ["a", "b"])
    assert codes(report) == {"similar_picture_in_splits", "similar_picture_two_labels"}
    assert found(report, "similar_picture_in_splits").groups == ((str(original), str(again)),)


def test_flat_images_are_not_taken_for_one_another(tmp_path: Path) -> None:
    records = []
    for number, level in enumerate((0, 1, 2, 128, 255)):
        path = tmp_path / f"{number}.png"
        Image.new("L", (40, 40), level).save(path)
        records.append(record(path, "ab"[number % 2]))
    assert not any(code.startswith("similar") for code in codes(full_check({"train": records}, ["a", "b"])))


@pytest.mark.parametrize("check", [quick_check, full_check])
def test_classes_and_balance(good: dict[str, list[ImageRecord]], check: Check) -> None:
    train, val = good["train"], good["val"]
    only_a = [each for each in val if each.labels == ("a",)]
    report = check({"train": train, "val": only_a, "test": []}, ["a", "b"])
    assert found(report, "class_missing").message == "no images in val of: b"
    assert found(report, "empty_split").level == "warning"

    assert found(check({"train": []}, ["a", "b"]), "empty_split").level == "error"
    assert found(check({"train": train[:12]}, ["a"]), "one_class").level == "error"
    assert "one_class" not in codes(check({"train": train[:12]}, ["a"], multi_label=True))


def test_an_unknown_label_in_one_split_alone(good: dict[str, list[ImageRecord]]) -> None:
    strange = [record(each.path, "c") for each in good["val"]]
    report = quick_check({"train": good["train"], "val": strange}, ["a", "b"])
    finding = found(report, "unknown_label")
    assert finding.message.startswith(
        "6 files of val with a label that is not among the classes: c; the classes are a, b."
    )


def test_few_and_unequal_classes(good: dict[str, list[ImageRecord]], tmp_path: Path, paint: Paint) -> None:
    a = [each for each in good["train"] if each.labels == ("a",)]
    lone = record(paint(tmp_path / "lone.png", seed=5), "b")
    report = quick_check({"train": [*a, lone]}, ["a", "b"])
    assert "b (1)" in found(report, "few_pictures").message
    told = found(report, "imbalance").message
    assert told == "'a' has 12 times as many training images as 'b' (12 and 1)"
    # Only a task that has such a key names it.
    report = quick_check({"train": [*a, lone]}, ["a", "b"], remedy="model.key=balanced")
    assert found(report, "imbalance").message == f"{told}; model.key=balanced makes up for it"
    # A test set alone is not judged as training data.
    assert codes(quick_check({"test": [*a, lone]}, ["a", "b"])) == set()


@pytest.mark.parametrize("check", [quick_check, full_check])
def test_tiny_long_and_grey_images(
    good: dict[str, list[ImageRecord]], tmp_path: Path, paint: Paint, check: Check
) -> None:
    tiny = paint(tmp_path / "tiny.png", seed=1, size=(40, 12))
    long = paint(tmp_path / "long.png", seed=2, size=(200, 40))
    grey = tmp_path / "grey.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (32, 48), np.uint8)).save(grey)
    extra = [record(path, "a") for path in (tiny, long, grey)]
    report = check({"train": good["train"] + extra}, ["a", "b"])
    assert found(report, "tiny").files == (str(tiny),)
    assert found(report, "extreme_shape").files == (f"{long} (200 x 40)",)
    assert found(report, "grey").message == "grey images: 1 of 27"
    assert report.grey_fraction == pytest.approx(1 / 27)


def test_only_decoding_shows_that_an_rgb_file_is_grey(tmp_path: Path) -> None:
    paths = []
    for number in range(2):
        level = np.random.default_rng(number).integers(0, 255, (32, 32), np.uint8)
        paths.append(tmp_path / f"{number}.png")
        Image.fromarray(level).convert("RGB").save(paths[-1])
    splits = {"train": [record(paths[0], "a"), record(paths[1], "b")]}
    assert quick_check(splits, ["a", "b"]).grey_fraction == 0
    assert full_check(splits, ["a", "b"]).grey_fraction == 1


def test_a_sideways_photo_counts_upright(tmp_path: Path, paint: Paint) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path = paint(tmp_path / "photo.jpg", seed=3, size=(60, 40), exif=exif)
    for check in (quick_check, full_check):
        report = check({"test": [record(path, "a")]}, ["a", "b"])
        assert report.sizes is not None
        assert (report.sizes.width[1], report.sizes.height[1]) == (40, 60)


def test_progress_and_json(good: dict[str, list[ImageRecord]], tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_text("no")
    steps: list[tuple[int, int]] = []
    splits = {**good, "test": [record(tmp_path / "bad.png", "a")]}
    report = full_check(splits, ["a", "b"], on_progress=lambda done, total: steps.append((done, total)))
    assert steps == [(done, 31) for done in range(1, 32)]
    plain = json.loads(json.dumps(report.to_dict()))
    assert (plain["errors"], plain["full"]) == (1, True)
    assert plain["findings"][0]["level"] == "error"
    assert plain["counts"]["train"] == {"a": 12, "b": 12}
    assert plain["sizes"]["width"] == {"smallest": 48, "median": 48, "largest": 48}


def test_a_stop_during_decoding_does_not_wait_for_all(good: dict[str, list[ImageRecord]]) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        full_check(good, ["a", "b"], on_progress=stop)


def test_text_names_at_most_ten_files() -> None:
    finding = Finding(
        "error", "corrupt", "12 files that cannot be read:", tuple(f"{n}.jpg" for n in range(12))
    )
    assert finding.text().splitlines()[0] == "error: 12 files that cannot be read:"
    assert finding.text().splitlines()[-2:] == ["  9.jpg", "  and 2 more"]


def test_classes_that_capitals_alone_tell_apart_are_named(good: dict[str, list[ImageRecord]]) -> None:
    for other in ("A", " a"):
        report = quick_check({"train": good["train"]}, ["a", other, "b"])
        assert repr(other) in found(report, "alike_classes").message
    assert "alike_classes" not in codes(quick_check(good, ["a", "b"]))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
def test_what_a_folder_holds_and_nobody_uses_is_named(tmp_path: Path, paint: Paint) -> None:
    root = tmp_path / "data"
    paint(root / "a" / "0.png", seed=1)
    paint(root / "loose.png", seed=2)
    (root / "a" / "1.HEIC").touch()
    (root / "lost+found").mkdir()
    os.mkfifo(root / "a" / "pipe.png")  # opening it would wait for ever
    findings = {finding.code: finding for finding in unused_findings(root, class_folders=True)}
    assert findings.keys() == {"passed_over", "loose_pictures"}
    assert findings["passed_over"].files == (str(root / "a" / "1.HEIC"),)
    assert "beside the class folders" in findings["loose_pictures"].message
    assert findings["loose_pictures"].files == (str(root / "loose.png"),)
    assert [finding.code for finding in unused_findings(root, class_folders=False)] == ["passed_over"]
    assert [each.key for each in read_class_folders(root, training=False)] == ["a/0.png"]
    with pytest.raises(DatasetError, match=r"pipe\.png: not a readable image"):
        read_header(root / "a" / "pipe.png")
    assert found_pixel_range([root / "a" / "pipe.png"]) is None
