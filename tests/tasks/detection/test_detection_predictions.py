"""A trained detector gives the same boxes as a bundle, as an ONNX file, and in the runtime."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from box_images import IDS, annotation, scene, write_coco
from onnx import numpy_helper
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from tiny_detection import data_overrides, run

from tao_like import runtime
from tao_like.errors import DatasetError
from tao_like.runtime.geometry.boxes import box_iou
from tao_like.runtime.metadata import METADATA_KEY
from tao_like.runtime.predictions.boxes import Detection, Selection
from tao_like.runtime.predictions.detections import Detections
from tao_like.runtime.predictions.tiles import Tiling
from tao_like.tasks.common.boxes.box_agreement import largest_difference
from tao_like.tasks.detection.metrics.agreement import comparison
from tao_like.tasks.detection.metrics.coco import COCO_NAMES

LEARN = (
    "train.num_epochs=9",
    "train.seed=2",  # finds the squares with AVX2 alone too, where sums are rounded otherwise
    "train.validation_interval=9",
    "dataset.cache=ram",
    "dataset.augmentation.plain_epochs=3",
    "dataset.augmentation.random_color.enable=false",
    "train.optim.lr=5e-3",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data, and a detector that has learnt to find its squares."""
    place = tmp_path_factory.mktemp("detection")
    write_coco(place / "data", {"train": 40, "val": 10, "test": 10})
    run("train", place / "results", *data_overrides(place / "data"), *LEARN)
    return place


@pytest.fixture(scope="module")
def overrides(folder: Path) -> list[str]:
    return data_overrides(folder / "data")


@pytest.fixture(scope="module")
def exported(folder: Path, overrides: list[str]) -> Path:
    file: Path = run("export", folder / "results", *overrides).onnx_file
    return file


def boxes_of(result: Any, file: str = "detections_thresholded.json") -> list[list[Any]]:
    content = json.loads((result.folder / file).read_text())
    names = {entry["id"]: entry["name"] for entry in content["categories"]}
    return [
        [entry["image_id"], names[entry["category_id"]], *entry["bbox"], entry["score"]]
        for entry in content["annotations"]
    ]


def assert_same_boxes(one: list[list[Any]], other: list[list[Any]]) -> None:
    assert len(one) == len(other) > 5
    for first, second in zip(one, other, strict=True):
        assert first[:2] == second[:2]
        assert first[2:6] == pytest.approx(second[2:6], abs=0.02)
        assert first[6] == pytest.approx(second[6], abs=1e-4)


def test_it_finds_the_squares_and_says_so_alike_in_every_form(
    folder: Path, overrides: list[str], exported: Path
) -> None:
    bundle = run("evaluate", folder / "bundle" / "results", *overrides, checkpoint(folder))
    assert bundle.metrics["mAP50"] > 0.8
    onnx_file = run("evaluate", folder / "onnx", *overrides, f"evaluate.checkpoint={exported}")
    assert_same_boxes(boxes_of(bundle), boxes_of(onnx_file))
    assert onnx_file.metrics == pytest.approx(bundle.metrics, abs=1e-3)


def test_cocos_own_code_gives_the_reports_metrics_for_the_file_of_all_boxes(
    folder: Path, overrides: list[str]
) -> None:
    result = run("evaluate", folder / "file", *overrides, checkpoint(folder))
    found = json.loads((result.folder / "detections.json").read_text())
    with contextlib.redirect_stdout(io.StringIO()):
        # pycocotools takes an object of id 0 for one that is not found.
        content = json.loads((folder / "data" / "test.json").read_text())
        for number, entry in enumerate(content["annotations"], start=1):
            entry["id"] = number
        labels = COCO()
        labels.dataset = content
        labels.createIndex()
        images = {image["file_name"]: number for number, image in labels.imgs.items()}
        categories = {category["name"]: number for number, category in labels.cats.items()}
        names = {image["id"]: images[Path(image["file_name"]).name] for image in found["images"]}
        numbers = {category["id"]: categories[category["name"]] for category in found["categories"]}
        results = [
            {
                "image_id": names[box["image_id"]],
                "category_id": numbers[box["category_id"]],
                "bbox": box["bbox"],
                "score": box["score"],
            }
            for box in found["annotations"]
        ]
        evaluation = COCOeval(labels, labels.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    reported = [result.metrics[name] for name in COCO_NAMES]
    assert evaluation.stats.tolist() == pytest.approx(reported, abs=1e-12)
    # Boxes below the thresholds count too, which the other file leaves out.
    assert len(found["annotations"]) > len(boxes_of(result))
    assert any("detections.json" in line and "detections_thresholded.json" in line for line in result.summary)


def checkpoint(folder: Path) -> str:
    return f"evaluate.checkpoint={folder / 'results' / 'train' / 'model.tltb'}"


def test_the_graph_is_standard_and_its_batch_is_free(exported: Path) -> None:
    graph = onnx.load(exported)
    onnx.checker.check_model(graph, full_check=True)
    assert {item.domain for item in graph.opset_import} <= {"", "ai.onnx"}
    assert [node.op_type for node in graph.graph.node].count("NonMaxSuppression") == 1
    assert [item.name for item in graph.graph.output] == ["boxes", "scores", "labels", "num_detections"]
    model = runtime.load(exported)
    images = np.stack([model.prepare(scene(number)[0]) for number in range(5)])
    together = model.run_preprocessed(images)
    assert together["num_detections"].sum() > 5
    for number, image in enumerate(images):
        alone = model.run_preprocessed(image[None])
        for name, values in alone.items():
            assert together[name][number] == pytest.approx(values[0], abs=1e-3), name
    assert (together["scores"][:, -1] == 0).any()


def test_the_runtime_gives_boxes_in_pixels_of_the_original(exported: Path) -> None:
    model = runtime.load(exported)
    image, objects = scene(3)
    large = image.resize((image.width * 3, image.height * 3))
    small_prediction, large_prediction = model.predict([image, large])
    assert len(objects) == 3
    for name, (left, top, width, height) in objects:
        assert contains(small_prediction.detections, name, (left, top, left + width, top + height))
        tripled = (3 * left, 3 * top, 3 * (left + width), 3 * (top + height))
        assert contains(large_prediction.detections, name, tripled)


def contains(detections: tuple[Detection, ...], name: str, box: tuple[float, ...]) -> bool:
    return any(
        found.label == name and box_iou(np.array([found.box]), np.array([box]))[0, 0] > 0.6
        for found in detections
    )


def test_raw_heads_by_key_give_the_same_answers(folder: Path, overrides: list[str], exported: Path) -> None:
    raw = run("export", folder / "raw", *overrides, f"export.{checkpoint(folder)[9:]}", "export.nms=false")
    graph = onnx.load(raw.onnx_file)
    assert "NonMaxSuppression" not in {node.op_type for node in graph.graph.node}
    assert [item.name for item in graph.graph.output] == ["boxes", "class_scores"]
    images = [scene(number)[0] for number in range(4)]
    first, second = (runtime.load(path).predict(images) for path in (exported, raw.onnx_file))
    for one, other in zip(first, second, strict=True):
        assert [found.label for found in one.detections] == [found.label for found in other.detections]
        for found, again in zip(one.detections, other.detections, strict=True):
            assert found.box == pytest.approx(again.box, abs=0.02)
    scored = run("evaluate", folder / "raw", *overrides, f"evaluate.checkpoint={raw.onnx_file}")
    whole = run("evaluate", folder / "whole", *overrides, f"evaluate.checkpoint={exported}")
    assert scored.metrics == pytest.approx(whole.metrics, abs=1e-3)


def test_inference_leaves_images_coco_and_kitti_files(folder: Path, overrides: list[str]) -> None:
    source = folder / "data" / "test"
    result = run(
        "inference",
        folder / "infer",
        *overrides,
        f"inference.{checkpoint(folder)[9:]}",
        f"inference.source={source}",
        "inference.label_files=kitti",
    )
    boxes = boxes_of(result)
    assert sum(int(row["objects"]) for row in result.rows) == len(boxes) > 5
    lines = [
        line.split()
        for path in sorted((result.folder / "labels").glob("*.txt"))
        for line in path.read_text().splitlines()
    ]
    assert len(list((result.folder / "labels").glob("*.txt"))) == 10
    every = boxes_of(result, "detections.json")
    assert len(every) > len(boxes)
    assert all(box in every for box in boxes)
    assert [line[0] for line in lines] == [box[1] for box in boxes]
    for line, box in zip(lines, boxes, strict=True):
        assert len(line) == 16
        left, top, width, height = box[2:6]
        assert [float(value) for value in line[4:8]] == pytest.approx(
            [left, top, left + width, top + height], abs=0.02
        )


def test_thresholds_of_the_bundle_are_in_the_file_and_in_use(folder: Path, exported: Path) -> None:
    metadata = runtime.load(exported).metadata
    assert metadata.thresholds["kind"] == "per_class"
    assert len(metadata.thresholds["values"]) == 3
    for value in metadata.thresholds["values"]:
        assert 0.01 < value < 1
    report = json.loads((folder / "results" / "train" / "report.json").read_text())
    assert report["thresholds"] == metadata.thresholds


def found(boxes: list[list[float]], scores: list[float], labels: list[int]) -> Detections:
    return Detections(
        np.array(boxes, np.float32).reshape(-1, 4), np.array(scores, np.float32), np.array(labels)
    )


TWO = found([[0, 0, 10, 10], [50, 50, 80, 80]], [0.9, 0.5], [0, 1])


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (TWO, 0.0),
        (found([[50, 50, 80, 80], [0, 0, 10, 10]], [0.5, 0.9], [1, 0]), 0.0),
        (found([[0, 0, 10, 10], [50, 50, 80, 80]], [0.9, 0.47], [0, 1]), 0.03),
        (found([[0, 0, 10, 10], [50, 50, 81, 80]], [0.9, 0.5], [0, 1]), 0.01),
        (found([[0, 0, 10, 10]], [0.9], [0]), 0.49),
        (found([[0, 0, 10, 10], [50, 50, 80, 80]], [0.9, 0.5], [0, 0]), 0.49),
        (found([[0, 0, 10, 10], [50, 50, 80, 80], [20, 20, 30, 30]], [0.9, 0.5, 0.0101], [0, 1, 0]), 1e-4),
    ],
)
def test_detections_are_compared_as_sets(other: Detections, expected: float) -> None:
    by = comparison(Selection(), 100)
    assert largest_difference([TWO], [other], by) == pytest.approx(expected, abs=1e-6)
    assert largest_difference([other], [TWO], by) == pytest.approx(expected, abs=1e-6)


def test_int8_keeps_what_it_finds(folder: Path, overrides: list[str], exported: Path) -> None:
    given = [f"quantize.checkpoint={exported}", "quantize.max_drop=0.1", "quantize.num_samples=20"]
    result = run("quantize", folder / "int8", *overrides, *given)
    assert result.float_metrics["mAP50"] > 0.8
    # All layers but the last ones are in int8, and none had to be given up.
    assert len(result.float_layers) == 9
    assert result.metrics["mAP50"] > result.float_metrics["mAP50"] - 0.05


def big_scene(seed: int) -> tuple[Image.Image, list[tuple[str, list[int]]]]:
    """Nine scenes side by side, with their squares."""
    image, objects = Image.new("RGB", (288, 192)), []
    for place in range(9):
        left, top = place % 3 * 96, place // 3 * 64
        part, found = scene(seed + place)
        image.paste(part, (left, top))
        objects += [(name, [box[0] + left, box[1] + top, box[2], box[3]]) for name, box in found]
    return image, objects


def test_squares_of_a_big_image_are_found_once_whatever_tile_borders_cut_them(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = onnx.load(exported)
    # So small a network says some squares twice on one tile; a strict suppression leaves what tiles add.
    (suppression,) = (node for node in graph.graph.node if node.op_type == "NonMaxSuppression")
    threshold = numpy_helper.from_array(np.array([0.3], np.float32), "threshold")
    graph.graph.initializer.append(threshold)
    suppression.input[3] = "threshold"
    (entry,) = (entry for entry in graph.metadata_props if entry.key == METADATA_KEY)
    stated = json.loads(entry.value)
    tiling = Tiling(96, 64, 0.5, 0.5)
    stated["extra"]["tiling"] = tiling.to_dict()
    entry.value = json.dumps(stated)
    onnx.save(graph, tmp_path / "tiled.onnx")
    images, annotations, targets = [], [], []
    (tmp_path / "val").mkdir()
    for number in range(2):
        image, objects = big_scene(700 + 20 * number)
        image.save(tmp_path / "val" / f"{number}.png")
        images.append({"id": number, "file_name": f"{number}.png", "width": 288, "height": 192})
        annotations += [annotation(len(annotations) + at, number, *each) for at, each in enumerate(objects)]
        targets.append(objects)
    categories = [{"id": number, "name": name} for name, number in IDS.items()]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (tmp_path / "val.json").write_text(json.dumps(content))
    # Images beyond the limit are read where they are seen tile by tile, and nowhere else.
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 288 * 192 // 2 - 1)
    with pytest.raises(
        DatasetError, match=r"0\.png: 288 x 192 pixels .*export the model with dataset\.tiling"
    ):
        runtime.load(exported).predict(tmp_path / "val")

    predictions = runtime.load(tmp_path / "tiled.onnx").predict(tmp_path / "val")
    found = 0
    for prediction, objects in zip(predictions, targets, strict=True):
        for name, (left, top, width, height) in objects:
            box = np.array([[left, top, left + width, top + height]], np.float32)
            same = [each for each in prediction.detections if each.label == name]
            ious = box_iou(box, np.array([each.box for each in same], np.float32).reshape(-1, 4))
            assert (ious > 0.5).sum() <= 1
            found += int((ious > 0.5).sum())
    assert found > 0.7 * len(annotations)
    # Some squares do lie on borders of tiles, so this could fail.
    borders = {tile.right for tile in tiling.tiles(288, 192)}
    assert any(left < border < left + width for border in borders for _, (left, _, width, _) in targets[0])

    given = [f"evaluate.checkpoint={tmp_path / 'tiled.onnx'}", "evaluate.split=val"]
    source = (
        f"dataset.val_data_sources={{image_dir: '{tmp_path / 'val'}', json_file: '{tmp_path / 'val.json'}'}}"
    )
    scored = run("evaluate", tmp_path, *data_overrides(exported.parents[2] / "data"), source, *given)
    assert scored.metrics["mAP50"] > 0.6
    assert scored.report["samples"] == 2
    infer = [f"inference.checkpoint={tmp_path / 'tiled.onnx'}", f"inference.source={tmp_path / 'val'}"]
    rows = run("inference", tmp_path, *data_overrides(exported.parents[2] / "data"), *infer).rows
    assert [row["objects"] for row in rows] == [len(prediction.detections) for prediction in predictions]
