"""Data of detection: classes, splits, epochs, and what a training sees of it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from box_images import SIZES, write_coco
from tiny_detection import data_overrides, run, tiny_spec

from tao_like.bundle import read_bundle
from tao_like.contract.trained import TrainedState
from tao_like.data.boxes.annotation import Box
from tao_like.errors import DatasetError, SpecError
from tao_like.stages.lib.loading import SampleKey, SeededDataset
from tao_like.tasks.detection.task import DetectionTask


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_coco(tmp_path_factory.mktemp("boxes"))


def task(folder: Path, *overrides: str) -> DetectionTask:
    return DetectionTask(tiny_spec(*data_overrides(folder), *overrides))


def test_classes_come_in_the_order_of_their_ids(folder: Path) -> None:
    assert task(folder).data.labels.names == ["blue", "green", "red"]
    assert task(folder).data.count("train") == SIZES["train"]


def test_a_file_of_classes_may_name_fewer(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("red\nblue\n")
    some = task(folder, f"dataset.classes_file={tmp_path / 'classes.txt'}")
    assert some.data.labels.names == ["red", "blue"]
    every, kept = task(folder).data.dataset("train"), some.data.dataset("train")
    green = 1
    for index in range(len(every)):
        labels = every[index].labels.tolist()
        assert len(kept[index].labels) == len([label for label in labels if label != green])
    found = {finding.code: finding for finding in some.data.check(full=False).findings}
    assert found["unknown_class"].level == "warning"


def test_a_wrong_number_of_classes_is_an_error(folder: Path) -> None:
    with pytest.raises(DatasetError, match=r"num_classes is 5.*blue, green, red"):
        _ = task(folder, "dataset.num_classes=5").data.labels


def test_training_data_is_divided_and_the_bundle_knows_how(folder: Path, tmp_path: Path) -> None:
    alone = [data_overrides(folder)[0], "dataset.split.val=0.25", "dataset.split.test=0.25"]
    result = run("train", tmp_path, *alone, "train.num_epochs=1", "train.max_steps=1")
    split = read_bundle(result.bundle).split
    assert split is not None
    files = {name: {entry["file"] for entry in entries} for name, entries in split.items()}
    assert sum(map(len, files.values())) == len(set().union(*files.values())) == SIZES["train"]
    assert len(files["test"]) == 4
    other_seed = [*alone, "dataset.split.seed=5"]
    scored = run("evaluate", tmp_path, *other_seed)
    assert scored.report["samples"] == 4
    rows = scored.predictions.read_text()
    assert all(name in rows for name in files["test"])


def test_strong_augmentation_ends_before_the_last_epochs(folder: Path) -> None:
    data = task(
        folder,
        "train.num_epochs=5",
        "dataset.augmentation.plain_epochs=2",
        "dataset.augmentation.horizontal_flip_prob=0",
        "dataset.augmentation.random_color.enable=false",
        "dataset.augmentation.mosaic_prob=1",
    ).data.dataset("train", augment=True)
    plain = task(folder).data.dataset("train")
    seeded = SeededDataset(data, seed=1)
    for epoch in range(5):
        item = seeded[SampleKey(epoch, 3)]
        assert item.plain == (epoch >= 3)
        assert item.epoch == epoch
        assert (item.pixels == plain[3].pixels).all() == (epoch >= 3)
    again = SeededDataset(data, seed=1)[SampleKey(1, 3)]
    assert (again.pixels == seeded[SampleKey(1, 3)].pixels).all()


def test_crowds_are_scored_but_not_learnt(folder: Path) -> None:
    data = task(folder).data.dataset("train")
    record = data.records[1]
    crowd = Box("red", 0, 0, 96, 64, crowd=True)
    data.records[1] = dataclasses.replace(record, boxes=(*record.boxes, crowd))
    item = data[1]
    assert len(item.labels) == len(record.boxes)
    assert item.ground_truth.arrays.crowd.tolist() == [False] * len(record.boxes) + [True]


def test_batches_move_to_a_device_with_their_targets(folder: Path) -> None:
    one = task(folder)
    batch = one.data.collate([one.data.dataset("train")[index] for index in range(3)])
    moved = batch.to(torch.device("meta"))
    assert moved.input.device.type == "meta"
    assert {box.device.type for box in moved.targets.boxes} == {"meta"}
    assert moved.targets.ground_truth == batch.targets.ground_truth


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("dataset.img_size=100", r"img_size.*multiple of 32.*96"),
        ("dataset.train_data_sources=[{image_dir: x}]", r"train_data_sources.*json_file.*label_dir"),
        ("dataset.augmentation.multi_scale_range=3", "multi_scale_range"),
        ("model.backbone.type=yolox_huge", r"yolox_huge.*yolox_nano"),
        ("dataset.augmentation.random_affine.scale_range=[2,1]", "smaller first"),
    ],
)
def test_specs_that_make_no_sense_are_refused(folder: Path, override: str, words: str) -> None:
    with pytest.raises(SpecError, match=words):
        tiny_spec(*data_overrides(folder), override)


def test_a_warm_start_with_other_classes_keeps_all_but_the_last_layer(folder: Path, tmp_path: Path) -> None:
    first = run(
        "train", tmp_path / "first", *data_overrides(folder), "train.num_epochs=1", "train.max_steps=2"
    )
    (tmp_path / "classes.txt").write_text("red\n")
    overrides = [
        *data_overrides(folder),
        f"dataset.classes_file={tmp_path / 'classes.txt'}",
        f"train.pretrained_model_path={first.bundle}",
    ]
    network, notes = DetectionTask(tiny_spec(*overrides)).model(pretrained=True)
    assert "new" in notes[0]
    weights, own = read_bundle(first.bundle).weights, network.state_dict()
    differing = [
        name for name in own if own[name].shape != weights[name].shape or not own[name].equal(weights[name])
    ]
    assert {name.rpartition(".")[0].rpartition(".")[0] for name in differing} <= {"head.class_outputs"}
    with pytest.raises(SpecError, match=r"pretrained_model_path.*model\.neck"):
        DetectionTask(tiny_spec(*overrides, "model.neck.width=32")).model(pretrained=True)


@pytest.mark.parametrize("arguments", [(), ("model.backbone.type=yolox_nano",)])
def test_a_rank_without_objects_gives_every_parameter_a_gradient(
    folder: Path, arguments: tuple[str, ...]
) -> None:
    one = task(folder, *arguments)
    network, _ = one.model(pretrained=True)
    batch = one.data.collate([one.data.dataset("train")[0]] * 2)
    assert all(len(boxes) == 0 for boxes in batch.targets.boxes)
    torch.stack(list(one.phases()[0].losses(network, batch).values())).sum().backward()
    assert [name for name, value in network.named_parameters() if value.grad is None] == []


def test_the_schema_and_the_defaults_are_written(folder: Path) -> None:
    from tao_like.config import default_yaml, json_schema
    from tao_like.tasks.detection.spec import Spec

    assert "train_data_sources" in default_yaml(Spec)
    schema: dict[str, Any] = json_schema(Spec)
    assert "mosaic_prob" in json.dumps(schema)


def test_sources_whose_files_bear_the_same_names_keep_their_own_images(tmp_path: Path) -> None:
    # Each camera counts from 000.png: the images differ, and so do their boxes.
    cameras = [tmp_path / f"camera{number}" for number in range(3)]
    seed_sizes = [{"skipped": 8 * number, "train": 8} for number in range(3)]
    for camera, sizes in zip(cameras, seed_sizes, strict=True):
        write_coco(camera, sizes)
    sources = ", ".join(
        f"{{image_dir: '{one / 'train'}', json_file: '{one / 'train'}.json'}}" for one in cameras
    )
    spec = tiny_spec(
        f"dataset.train_data_sources=[{sources}]", "dataset.split.val=0.25", "dataset.split.test=0"
    )
    first = DetectionTask(spec)
    split = json.loads(json.dumps(first.data.manifest()))
    trained = TrainedState(first.data.labels.names, first.data.image_input.preprocessing, {}, split)
    again = DetectionTask(spec, trained)
    for name in ("train", "val"):
        assert again.data.source.records(name) == first.data.source.records(name)
    every = [one.path for name in ("train", "val") for one in again.data.source.records(name)]
    # The first image of each camera is the same empty one; the other 21 differ.
    assert len(set(every)) == len(every) == 24
    dataset = again.data.dataset("train")
    names = [dataset.sample(index).key for index in range(len(dataset))]
    assert len(set(names)) == len(names)
