"""Labelled images of every sort, through training, evaluation, export and the runtime."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sample_images import CLASSES, damage, shape, write_class_folders, write_multi_label_csv
from stage_runs import assert_rows_agree, assert_same_weights, csv_rows
from tiny_classification import data_overrides, run

from tao_like.bundle import read_bundle
from tao_like.errors import BundleError, DatasetError, SpecError
from tao_like.runtime import load
from tao_like.runtime.inputs.image import preprocess, read_image

ONE_EPOCH = "train.num_epochs=1"


# --- several labels ---


def test_several_labels_from_csv_to_runtime_with_a_threshold_for_each(tmp_path: Path) -> None:
    file = write_multi_label_csv(tmp_path / "data")
    data = ["dataset.multi_label=true", f"dataset.train_dataset.csv_file={file}", "train.num_epochs=4"]
    trained = run("train", tmp_path, *data, "train.optim.monitor_name=val_mean_average_precision")
    bundle = read_bundle(trained.bundle)
    assert bundle.classes == list(CLASSES)
    assert bundle.thresholds["kind"] == "per_class"
    assert len(bundle.thresholds["values"]) == 3
    assert {"exact_match", "mean_average_precision"} <= trained.metrics.keys()
    evaluated = run("evaluate", tmp_path, *data)
    rows = csv_rows(evaluated.predictions)
    exported = run("export", tmp_path, *data)
    onnx = run("evaluate", tmp_path / "onnx", *data, f"evaluate.checkpoint={exported.onnx_file}",
               f"results_dir={tmp_path}")  # fmt: skip
    assert_rows_agree(rows, csv_rows(onnx.predictions))
    model = load(exported.onnx_file)
    assert model.metadata.thresholds == bundle.thresholds
    cuts = dict(zip(CLASSES, bundle.thresholds["values"], strict=True))
    for row in rows:
        prediction = model.predict(file.parent / row["path"])
        assert ";".join(prediction.labels) == row["label"]
        assert set(prediction.labels) == {name for name in CLASSES if float(row[f"p_{name}"]) >= cuts[name]}
        assert row["truth"] == targets(file)[row["path"]]


def targets(file: Path) -> dict[str, str]:
    """Path to labels, as the CSV has them."""
    with file.open(newline="", encoding="utf-8") as stream:
        return {row["path"]: row["label"] for row in csv.DictReader(stream)}


def test_one_label_an_image_from_a_csv(tmp_path: Path) -> None:
    folder = write_class_folders(tmp_path / "data", {"all": 10})
    lines = [f"{path.relative_to(folder)},{path.parent.name}" for path in sorted(folder.rglob("*.png"))]
    (folder / "list.csv").write_text("\n".join(["path,label", *lines]), encoding="utf-8")
    data = [f"dataset.train_dataset.csv_file={folder / 'list.csv'}"]
    run("train", tmp_path, *data, ONE_EPOCH)
    rows = csv_rows(run("evaluate", tmp_path, *data).predictions)
    assert {(row["path"], row["truth"]) for row in rows} <= {tuple(line.split(",")) for line in lines}
    # Four fifths of thirty go to training and validation.
    assert 3 <= len(rows) <= 6


def test_folders_cannot_say_several_labels(class_folders: Path, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="csv_file"):
        run("train", tmp_path, *data_overrides(class_folders), "dataset.multi_label=true")


# --- images of all modes ---


def write_odd_images(folder: Path) -> None:
    """Writes a green or grey image, bright above, in nine ways of storing it."""
    rows = np.linspace(250, 30, 40).astype(np.uint8)
    pixels = np.zeros((40, 24, 3), np.uint8)
    pixels[..., 1] = rows[:, None]
    image, grey = Image.fromarray(pixels), Image.fromarray(np.repeat(rows[:, None], 24, axis=1))
    palette = image.quantize(16)
    wide = np.repeat(rows[:, None].astype(np.uint16) * 257, 24, axis=1)
    image.save(folder / "plain.png")
    grey.save(folder / "grey.png")
    Image.fromarray(wide).save(folder / "sixteen bits.png")
    palette.save(folder / "palette.png")
    palette.save(folder / "palette with hole.png", transparency=0)
    image.convert("RGBA").save(folder / "rgba.png")
    grey.convert("LA").save(folder / "grey with alpha.png")
    image.convert("CMYK").save(folder / "cmyk.jpg", quality=95)
    exif = Image.Exif()
    exif[0x0112] = 6
    image.transpose(Image.Transpose.ROTATE_90).save(folder / "turned.jpg", exif=exif, quality=95)


def test_images_of_all_modes_are_trained_on_and_scored(tmp_path: Path) -> None:
    folder = write_class_folders(tmp_path / "data")
    write_odd_images(folder / "train" / "green")
    run("train", tmp_path, *data_overrides(folder), ONE_EPOCH)
    result = run("evaluate", tmp_path, *data_overrides(folder), "evaluate.split=train")
    rows = {row["path"]: row for row in csv_rows(result.predictions)}
    assert len(rows) == 3 * 8 + 9
    plain = float(rows["green/plain.png"]["p_green"])
    for name in ("rgba.png", "cmyk.jpg", "turned.jpg"):
        assert float(rows[f"green/{name}"]["p_green"]) == pytest.approx(plain, abs=0.05), name
    assert rows["green/grey.png"]["p_green"] == rows["green/sixteen bits.png"]["p_green"]


def test_an_image_cut_short_is_named_even_where_another_process_reads_it(tmp_path: Path) -> None:
    """Its head is whole, so that only reading it shows the damage: in the middle of the training."""
    folder = write_class_folders(tmp_path / "data")
    damage(folder / "train" / "red" / "003.png")
    for workers in (0, 1):
        with pytest.raises(DatasetError, match=r"003\.png") as caught:
            run("train", tmp_path / str(workers), *data_overrides(folder), f"dataset.workers={workers}")
        assert "Traceback" not in str(caught.value)


# --- splits and classes ---


def test_the_stored_split_is_scored_even_after_files_were_added(tmp_path: Path) -> None:
    folder = write_class_folders(tmp_path / "data", {"all": 12}) / "all"
    data = [f"dataset.train_dataset.images_dir={folder}", "dataset.split={val: 0.25, test: 0.25}"]
    trained = run("train", tmp_path, *data, ONE_EPOCH)
    stored = read_bundle(trained.bundle).split
    assert [len(stored[split]) for split in ("train", "val", "test")] == [18, 9, 9]
    files = [entry["file"] for split in stored.values() for entry in split]
    assert len(set(files)) == 36
    first = run("evaluate", tmp_path, *data)
    assert sorted(row["path"] for row in csv_rows(first.predictions)) == sorted(
        entry["file"] for entry in stored["test"]
    )
    rows = csv_rows(first.predictions)
    for number in range(10):
        shape(["red"], 900 + number).save(folder / "red" / f"0{number}0 new.png")
    exported = run("export", tmp_path, *data)
    again = run("evaluate", tmp_path, *data)
    assert csv_rows(again.predictions) == rows
    onnx = run("evaluate", tmp_path, *data, f"evaluate.checkpoint={exported.onnx_file}")
    assert_rows_agree(csv_rows(onnx.predictions), rows)


def test_a_file_of_the_stored_split_that_is_gone_is_named(tmp_path: Path) -> None:
    folder = write_class_folders(tmp_path / "data", {"all": 12}) / "all"
    data = [f"dataset.train_dataset.images_dir={folder}"]
    trained = run("train", tmp_path, *data, ONE_EPOCH)
    gone = read_bundle(trained.bundle).split["test"][0]["file"]
    (folder / gone).unlink()
    with pytest.raises(DatasetError, match=gone):
        run("evaluate", tmp_path, *data)


def test_without_test_data_the_validation_data_is_scored(class_folders: Path, tmp_path: Path) -> None:
    data = data_overrides(class_folders)[:2]
    run("train", tmp_path, *data, ONE_EPOCH)
    result = run("evaluate", tmp_path, *data)
    assert result.report["split"] == "val"


def test_a_classes_file_gives_the_order_of_the_outputs(class_folders: Path, tmp_path: Path) -> None:
    names = ["red", "blue", "green"]
    (tmp_path / "names.txt").write_text("\n".join(names) + "\n", encoding="utf-8")
    data = [*data_overrides(class_folders), f"dataset.classes_file={tmp_path / 'names.txt'}"]
    trained = run("train", tmp_path, *data, "train.num_epochs=2")
    assert read_bundle(trained.bundle).classes == names
    assert trained.metrics["accuracy"] > 0.6
    rows = csv_rows(run("evaluate", tmp_path, *data).predictions)
    assert [name for name in rows[0] if name.startswith("p_")] == ["p_red", "p_blue", "p_green"]
    for row in rows:
        assert row["truth"] == row["path"].split("/")[0]
        likeliest = max(names, key=lambda name: float(row[f"p_{name}"]))
        assert row["label"] in (likeliest, "")


def test_the_number_of_classes_is_held_against_the_data(class_folders: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"dataset\.num_classes is 4.*3 classes"):
        run("train", tmp_path, *data_overrides(class_folders), "dataset.num_classes=4")


def test_a_class_that_the_network_does_not_know_cannot_be_scored(class_folders: Path, tmp_path: Path) -> None:
    run("train", tmp_path, *data_overrides(class_folders), ONE_EPOCH)
    shutil.copytree(class_folders / "test", tmp_path / "other")
    (tmp_path / "other" / "red").rename(tmp_path / "other" / "crimson")
    test = f"dataset.test_dataset.images_dir={tmp_path / 'other'}"
    with pytest.raises(DatasetError, match="crimson"):
        run("evaluate", tmp_path, *data_overrides(class_folders), test)


def test_a_warm_start_with_other_classes_keeps_all_but_the_head(class_folders: Path, tmp_path: Path) -> None:
    first = run("train", tmp_path / "three", *data_overrides(class_folders), ONE_EPOCH)
    shutil.copytree(class_folders, tmp_path / "two")
    for split in ("train", "val", "test"):
        shutil.rmtree(tmp_path / "two" / split / "green")
    warm = [f"train.pretrained_model_path={first.bundle}", "train.optim.lr=1e-12", ONE_EPOCH]
    second = run("train", tmp_path, *data_overrides(tmp_path / "two"), *warm)
    before, after = read_bundle(first.bundle).weights, read_bundle(second.bundle).weights
    assert after["backbone.fc.weight"].shape[0] == 2
    for name in before:
        if before[name].is_floating_point() and "running_" not in name and ".fc." not in name:
            assert before[name].allclose(after[name], atol=1e-6), name
    other = [f"train.pretrained_model_path={first.bundle}", "model.backbone.type=test_vit", ONE_EPOCH]
    with pytest.raises((SpecError, BundleError), match="test_vit"):
        run("train", tmp_path / "other", *data_overrides(class_folders), *other)


# --- caches ---


@pytest.mark.parametrize("cache", [pytest.param("ram", marks=pytest.mark.acceptance), "disk"])
def test_a_cache_changes_nothing(cache: str, tmp_path: Path) -> None:
    folder = write_class_folders(tmp_path / "data")
    data = [*data_overrides(folder), ONE_EPOCH]
    plain = run("train", tmp_path / "plain", *data)
    cached = run("train", tmp_path / cache, *data, f"dataset.cache={cache}", "dataset.workers=1")
    assert_same_weights(plain.bundle, cached.bundle)
    again = run("train", tmp_path / cache, *data, f"dataset.cache={cache}")
    assert_same_weights(plain.bundle, again.bundle)


def test_the_disk_cache_sees_that_an_image_has_changed(tmp_path: Path) -> None:
    folder = write_class_folders(tmp_path / "data")
    data = [*data_overrides(folder), "dataset.cache=disk"]
    run("train", tmp_path, *data, ONE_EPOCH)
    changed = folder / "test" / "red" / "000.png"
    before = csv_rows(run("evaluate", tmp_path, *data).predictions)
    shape(["blue"], 77).save(changed)
    after = csv_rows(run("evaluate", tmp_path, *data).predictions)
    different = [row["path"] for row, new in zip(before, after, strict=True) if row != new]
    assert different == ["red/000.png"]


def test_a_cache_larger_than_the_memory_is_refused(
    class_folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tao_like.data.images.cache.free_memory", lambda: 1000)
    with pytest.raises(SpecError, match=r"dataset\.cache"):
        run("train", tmp_path, *data_overrides(class_folders), "dataset.cache=ram")


def test_12_bit_images_keep_their_window_in_the_exported_file(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    for split, count in (("train", 6), ("val", 2), ("test", 2)):
        for name, low in (("bright", 3000), ("dark", 20)):
            folder = tmp_path / "data" / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                values = draw.integers(low, low + 1000, (40, 40)).astype(np.uint16)
                Image.fromarray(values).save(folder / f"{number}.png")
    data = data_overrides(tmp_path / "data")
    results = tmp_path / "results"
    checked = run("dataset_check", results, *data)
    assert "values up to 4095 only" in str(checked.report["findings"])
    trained = run("train", results, *data, "train.num_epochs=1", "train.max_steps=1")
    assert read_bundle(trained.bundle).preprocessing["window"] == [0, 4095]
    exported = run("export", results, *data)
    model = load(exported.onnx_file)
    assert model.metadata.preprocessing["window"] == [0, 4095]
    path = tmp_path / "data" / "val" / "bright" / "0.png"
    preprocessed = preprocess(read_image(path, model.preprocessing.window), model.preprocessing)
    with Image.open(path) as image:
        mean = np.asarray(image).astype(float).mean() * 255 / 4095
    assert abs(preprocessed.mean() - mean) < 3
    # The runtime's prediction for the file is that for the same image in 8 bits.
    direct, eight_bit = model.predict(path), model.predict(read_image(path, (0, 4095)))
    assert direct.probabilities == eight_bit.probabilities
    assert direct.probabilities != model.predict(read_image(path)).probabilities
    evaluated = run("evaluate", results, *data, f"evaluate.checkpoint={exported.onnx_file}")
    rows = {row["path"]: row for row in csv_rows(evaluated.predictions)}
    shown = model.predict(tmp_path / "data" / "test" / "dark" / "1.png")
    assert abs(float(rows["dark/1.png"]["p_dark"]) - shown.probabilities["dark"]) < 1e-5
