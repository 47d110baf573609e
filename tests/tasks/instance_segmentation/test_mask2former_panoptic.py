"""Segments in COCO's panoptic form: what inference writes, the reader of data reads."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_instances import COLORS, HEIGHT, SIZES, WIDTH, run, tiny_spec, write_panoptic
from tiny_mask2former import SMALL

from tao_like.contract.sample import Sample
from tao_like.contract.trained import TrainedState
from tao_like.data.boxes.sources import BoxSource, read_boxes, stated_classes, stated_regions
from tao_like.data.masks.instances import usable_instances
from tao_like.runtime.predictions.instances import Instances
from tao_like.tasks.instance_segmentation.panoptic_files import SegmentedResult
from tao_like.tasks.instance_segmentation.spec import Spec
from tao_like.tasks.instance_segmentation.task import InstanceSegmentationTask

pytest.importorskip("transformers")
NAMES = ["bar", "disk"]
PANOPTIC = (
    *SMALL,
    "model.mode=panoptic",
    "model.object_mask_threshold=0",
    "model.overlap_threshold=0",
)


def source_of(folder: Path, split: str) -> str:
    return f"{{img_dir: '{folder / split}', panoptic_json: '{folder / f'panoptic_{split}.json'}'}}"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_panoptic(tmp_path_factory.mktemp("panoptic"))


@pytest.fixture
def task() -> InstanceSegmentationTask:
    """A task as inference has it, without a network: its photos are its inputs."""
    spec: Spec = tiny_spec(*PANOPTIC, "model.mask_former.region_classes=[disk]")
    preprocessing = InstanceSegmentationTask(spec).data.preprocessing.to_dict()
    return InstanceSegmentationTask(spec, TrainedState(NAMES, preprocessing, {}, None))


def scene_of_segments() -> Instances:
    """Two bars, and two disks that are one region; stride 4."""
    shapes = np.zeros((4, HEIGHT // 4, WIDTH // 4), np.float32)
    shapes[0, 2:6, 1:6] = 0.9
    shapes[1, 8:12, 2:12] = 0.9
    shapes[2, 3:9, 14:18] = 0.9
    shapes[3, 10:14, 18:22] = 0.9
    scores = np.array([0.95, 0.9, 0.85, 0.8], np.float32)
    return Instances(
        np.zeros((4, 4), np.float32), scores, np.array([0, 0, 1, 1]), shapes=shapes, frame=(WIDTH, HEIGHT)
    )


def written(task: InstanceSegmentationTask, folder: Path) -> SegmentedResult:
    """The files of an inference on one photo, and what it said of it."""
    photo = Image.new("RGB", (WIDTH, HEIGHT))
    (folder / "photos" / "deep").mkdir(parents=True)
    photo.save(folder / "photos" / "deep" / "a.png")
    record = task.predictions.record(Sample("deep/a.png", photo, None), scene_of_segments())
    assert isinstance(record, SegmentedResult)
    for name, content in task.predictions.files([record]).items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return record


def test_a_file_holds_ids_as_colors_by_cocos_formula(task: InstanceSegmentationTask, tmp_path: Path) -> None:
    written(task, tmp_path)
    content = json.loads((tmp_path / "panoptic.json").read_text())
    assert [(one["name"], one["isthing"]) for one in content["categories"]] == [("bar", 1), ("disk", 0)]
    (entry,) = content["annotations"]
    colors = np.asarray(Image.open(tmp_path / "panoptic" / entry["file_name"])).astype(int)
    ids = colors @ [1, 256, 256**2]
    segments = entry["segments_info"]
    assert [one["category_id"] for one in segments] == [1, 1, 2]
    assert sorted(np.unique(ids)) == sorted([0, *(one["id"] for one in segments)])
    for one in segments:
        rows, columns = np.nonzero(ids == one["id"])
        left, top = columns.min(), rows.min()
        assert one["bbox"] == [left, top, columns.max() - left + 1, rows.max() - top + 1]
        assert one["area"] == len(rows)


def test_what_inference_writes_the_reader_reads(task: InstanceSegmentationTask, tmp_path: Path) -> None:
    written(task, tmp_path)
    source = BoxSource(tmp_path / "photos", tmp_path / "panoptic.json", format="coco_panoptic")
    (record,) = read_boxes(source, "key")
    assert record.key == "deep/a.png"
    assert (stated_classes(source), stated_regions(source)) == (NAMES, ["disk"])
    numbers = {name: number for number, name in enumerate(NAMES)}
    arrays, masks = usable_instances(record.boxes, numbers, WIDTH, HEIGHT)
    decided = task.predictions.decided(
        Sample("a", Image.new("RGB", (WIDTH, HEIGHT)), None), scene_of_segments()
    )
    assert [NAMES[label] for label in arrays.labels] == [found.label for found in decided]
    np.testing.assert_array_equal(masks > 0, np.stack([found.mask for found in decided]))


def test_many_objects_of_a_class_have_ids_of_their_own() -> None:
    from tao_like.tasks.instance_segmentation.panoptic_files import panoptic_image

    count = 300
    masks = [np.zeros((1, count), bool) for _ in range(count)]
    for number, mask in enumerate(masks):
        mask[0, number] = True
    found = Instances(np.zeros((count, 4), np.float32), np.ones(count, np.float32), np.zeros(count, np.int64))
    ids = [one["id"] for one in panoptic_image(found, masks, (count, 1)).segments]
    assert len(set(ids)) == count
    assert all(0 < number < 256**3 for number in ids)


def test_the_files_score_by_torchmetrics_as_the_metric_does(
    task: InstanceSegmentationTask, data: Path, tmp_path: Path
) -> None:
    """PQ of the written files against the data's files, both read by this test alone."""
    detection = pytest.importorskip("torchmetrics.detection")
    from tao_like.tasks.instance_segmentation.metrics.panoptic import PanopticQuality

    whole = ("dataset.split={val: 0, test: 0}", "train.keep=last")
    spec = tiny_spec(*PANOPTIC, f"dataset.train={source_of(data, 'train')}", *whole)
    truth = InstanceSegmentationTask(spec)
    assert truth.spec.model.mask_former.region_classes == ["disk"]
    dataset = truth.data.dataset("train")
    ours = PanopticQuality(2, frozenset([1]))
    # A target's pixels without a class, -1 below, are void there too. A prediction's are class 2, since
    # torchmetrics, otherwise than panopticapi, leaves void ones of a prediction out of a union.
    theirs = detection.PanopticQuality(things={0, 2}, stuffs={1}, return_per_class=True)
    content = json.loads((data / "panoptic_train.json").read_text())
    for number, entry in enumerate(content["annotations"]):
        sample, item = dataset.sample(number), dataset[number]
        found = blurred(sample.target.masks, sample.target.arrays.labels, number)
        record = task.predictions.record(Sample(sample.key, sample.data, None), found)
        assert record.panoptic is not None
        (tmp_path / "a.png").write_bytes(record.panoptic.png)
        segments = [(one["id"], one["category_id"] - 1) for one in record.panoptic.segments]
        prediction = categories(tmp_path / "a.png", segments)
        wanted = [(one["id"], {3: 0, 7: 1}[one["category_id"]]) for one in entry["segments_info"]]
        target = categories(data / "panoptic_train" / entry["file_name"], wanted)
        prediction[..., 0] = torch.where(prediction[..., 0] < 0, 2, prediction[..., 0])
        theirs.update(prediction[None], target[None])
        masks = [mask > 0 for mask in map(np.asarray, masks_by(tmp_path / "a.png", segments))]
        ours.add(masks, np.array([label for _, label in segments]), item.ground_truth)
    _, by_class = ours.compute()
    # Things first.
    expected = theirs.compute()[0].numpy()[[0, 2]]
    assert 0 < expected.min() < 1
    np.testing.assert_allclose([each["PQ"] for each in by_class], expected, atol=1e-6)


def blurred(masks: np.ndarray, labels: np.ndarray, seed: int) -> Instances:
    """Predictions near the masks of a target, on cells of 4 pixels: moved, and some of another class."""
    draw = np.random.default_rng(seed)
    shapes = [
        np.roll(mask.reshape(HEIGHT // 4, 4, WIDTH // 4, 4).mean(axis=(1, 3)), draw.integers(-1, 2), axis=1)
        for mask in masks
    ]
    numbers = np.where(draw.random(len(labels)) < 0.2, 1 - labels, labels)
    return Instances(
        np.zeros((len(masks), 4), np.float32),
        np.linspace(0.9, 0.8, len(masks)).astype(np.float32),
        numbers.astype(np.int64),
        shapes=np.array(shapes, np.float32).reshape(-1, HEIGHT // 4, WIDTH // 4),
        frame=(WIDTH, HEIGHT),
    )


def masks_by(path: Path, segments: list[tuple[int, int]]) -> Iterator[np.ndarray]:
    """The mask of each segment of a panoptic file."""
    ids = np.asarray(Image.open(path)).astype(int) @ [1, 256, 256**2]
    for number, _ in segments:
        yield ids == number


def categories(path: Path, segments: list[tuple[int, int]]) -> torch.Tensor:
    """(H, W, 2) class and segment of each pixel; -1 for none."""
    found = np.full((HEIGHT, WIDTH, 2), -1)
    for place, (mask, (_, label)) in enumerate(zip(masks_by(path, segments), segments, strict=True)):
        found[mask] = (label, place)
    return torch.tensor(found)


@pytest.mark.acceptance
def test_a_training_on_panoptic_files_finds_its_own_segments_again(data: Path, tmp_path: Path) -> None:
    """The segments that a network writes, given back as the data's own, score 1."""
    sources = [f"dataset.{split}={source_of(data, split)}" for split in ("train", "val")]
    trained = run(
        "train", tmp_path, *PANOPTIC, *sources, "train.num_epochs=2", "train.optim.monitor_name=val_PQ"
    )
    assert trained.bundle.is_file()
    run("inference", tmp_path, *PANOPTIC, f"inference.source={data / 'val'}")
    content = json.loads((tmp_path / "inference" / "panoptic.json").read_text())
    assert len(content["annotations"]) == SIZES["val"]
    assert any(one["segments_info"] for one in content["annotations"])
    own = (
        f"dataset.test_data_sources=[{{img_dir: '{data / 'val'}', "
        f"panoptic_json: '{tmp_path / 'inference' / 'panoptic.json'}'}}]"
    )
    report = run("evaluate", tmp_path, *PANOPTIC, own).report
    assert report["metrics"]["PQ"] == pytest.approx(1.0)


@pytest.mark.acceptance
def test_a_training_on_class_masks(tmp_path: Path) -> None:
    sources = write_class_masks(tmp_path / "data")
    words = (*SMALL, "model.mode=semantic", "model.object_mask_threshold=0", *sources, "train.num_epochs=2")
    trained = run("train", tmp_path / "results", *words)
    assert trained.bundle.is_file()
    report: dict[str, Any] = run("evaluate", tmp_path / "results", *words, "evaluate.split=val").report
    assert set(report["details"]["per_class"]) == {"bar", "disk"}


def write_class_masks(folder: Path) -> list[str]:
    """The scenes as photos and masks of class numbers, in JSON lines; overrides that name them."""
    from tiny_instances import scene

    numbers = {name: number for number, name in enumerate(COLORS, start=1)}
    words = []
    for offset, split in ((0, "train"), (100, "val")):
        for part in ("photos", "masks"):
            (folder / part / split).mkdir(parents=True)
        lines = []
        for number in range(SIZES[split]):
            image, objects = scene(offset + number)
            mask = np.zeros((HEIGHT, WIDTH), np.uint8)
            for name, pixels in objects:
                mask[pixels > 0] = numbers[name]
            names = [f"{part}/{split}/{number}.png" for part in ("photos", "masks")]
            image.save(folder / names[0])
            Image.fromarray(mask).save(folder / names[1])
            lines.append(json.dumps(dict(zip(("img", "segm"), names, strict=True))))
        (folder / f"{split}.jsonl").write_text("\n".join(lines))
        words.append(f"dataset.{split}={{type: ade, annot_file: '{folder / f'{split}.jsonl'}'}}")
    label_map = [{"id": number, "name": name, "isthing": 0} for name, number in numbers.items()]
    (folder / "labels.json").write_text(json.dumps(label_map))
    return [*words, f"dataset.label_map={folder / 'labels.json'}"]
