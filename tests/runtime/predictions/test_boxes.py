"""Boxes: between image and input, and which of them are kept."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper
from PIL import Image

from tao_like.errors import BundleError
from tao_like.runtime.geometry.boxes import box_iou, keep_best, letterbox_transform
from tao_like.runtime.inputs.image import ImagePreprocessing, preprocess
from tao_like.runtime.predictions.boxes import decide
from tao_like.runtime.predictions.detections import DEFAULT_THRESHOLD, Detections


@pytest.mark.parametrize("size", [(640, 480), (100, 333), (64, 64)])
@pytest.mark.parametrize("resize", ["letterbox", "squash"])
def test_a_box_lies_where_preprocess_puts_its_object(size: tuple[int, int], resize: str) -> None:
    width, height = size
    image = Image.new("RGB", size, "black")
    box = (width // 4, height // 4, width // 4 + width // 2, height // 4 + height // 3)
    image.paste((255, 255, 255), box)
    preprocessing = ImagePreprocessing(height=192, width=256, resize=resize, fill=0, interpolation="bilinear")
    place = letterbox_transform(width, height, preprocessing)
    rows, columns = np.nonzero(preprocess(image, preprocessing)[..., 0] > 127)
    seen = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    (moved,) = place.to_input([box])
    assert moved == pytest.approx(seen, abs=1.0)
    assert place.to_image([moved])[0] == pytest.approx(box, abs=1e-3)


def test_boxes_are_cut_off_at_the_borders_of_the_image() -> None:
    place = letterbox_transform(100, 50, ImagePreprocessing(height=100, width=100, resize="letterbox"))
    assert place.to_image([[-20, -20, 300, 300]])[0].tolist() == [0, 0, 100, 50]


def test_a_preprocessing_that_cuts_off_is_refused() -> None:
    with pytest.raises(BundleError, match=r"preprocessing\.resize.*letterbox"):
        letterbox_transform(10, 10, ImagePreprocessing(height=8, width=8, resize="crop"))


def test_overlaps_of_boxes_worked_out_by_hand() -> None:
    boxes = np.array([[0, 0, 2, 2], [1, 1, 3, 3], [0, 0, 0, 5]], np.float32)
    expected = [[1, 1 / 7, 0], [1 / 7, 1, 0], [0, 0, 0]]
    assert box_iou(boxes, boxes) == pytest.approx(np.array(expected))


def onnx_suppression(
    boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray, limit: int, iou: float, score: float
) -> set[int]:
    """What ONNX's own operator keeps, in onnxruntime."""
    classes = int(labels.max()) + 1
    of_class = np.where(labels[None, :] == np.arange(classes)[:, None], scores[None, :], 0)[None]
    node = helper.make_node("NonMaxSuppression", ["boxes", "scores", "most", "iou", "cut"], ["kept"])
    constants = [
        helper.make_tensor("most", TensorProto.INT64, [1], [limit]),
        helper.make_tensor("iou", TensorProto.FLOAT, [1], [iou]),
        helper.make_tensor("cut", TensorProto.FLOAT, [1], [score]),
    ]
    inputs = [
        helper.make_tensor_value_info("boxes", TensorProto.FLOAT, [1, None, 4]),
        helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, None, None]),
    ]
    output = helper.make_tensor_value_info("kept", TensorProto.INT64, [None, 3])
    graph = helper.make_graph([node], "suppression", inputs, [output], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (kept,) = session.run(None, {"boxes": boxes[None], "scores": of_class.astype(np.float32)})
    return set(kept[:, 2].tolist())


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("iou", [0.3, 0.65])
def test_suppression_keeps_what_onnxs_operator_keeps(seed: int, iou: float) -> None:
    draw = np.random.default_rng(seed)
    corners = draw.uniform(0, 60, (300, 2))
    boxes = np.concatenate([corners, corners + draw.uniform(0, 40, (300, 2))], axis=1).astype(np.float32)
    # Scores in steps, so that many are equal; classes overlap.
    scores = (draw.integers(0, 50, 300) / 50).astype(np.float32)
    labels = draw.integers(0, 4, 300)
    kept = keep_best(boxes, scores, labels, iou_threshold=iou, score_threshold=0.1, limit=1000)
    assert set(kept.tolist()) == onnx_suppression(boxes, scores, labels, 1000, iou, 0.1)
    assert (np.diff(scores[kept]) <= 0).all()


def test_the_limit_keeps_the_best() -> None:
    boxes = np.array([[i * 10, 0, i * 10 + 5, 5] for i in range(6)], np.float32)
    scores = np.array([0.1, 0.6, 0.3, 0.9, 0.2, 0.5], np.float32)
    kept = keep_best(boxes, scores, np.zeros(6, int), iou_threshold=0.5, score_threshold=0, limit=3)
    assert kept.tolist() == [3, 1, 5]


FOUND = Detections(
    np.array([[0, 25, 50, 75], [50, 25, 100, 75]], np.float32),
    np.array([0.8, 0.4], np.float32),
    np.array([1, 0]),
)
PLACE = letterbox_transform(200, 100, ImagePreprocessing(height=100, width=100, resize="letterbox"))


def test_each_class_has_its_own_threshold() -> None:
    thresholds = {"kind": "per_class", "values": [0.5, 0.7]}
    (only,) = decide(FOUND, PLACE, ["a", "b"], thresholds)
    assert (only.label, only.box) == ("b", (0, 0, 100, 100))
    assert only.score == pytest.approx(0.8)
    assert [found.label for found in decide(FOUND, PLACE, ["a", "b"], {})] == ["b", "a"]
    assert DEFAULT_THRESHOLD < 0.4


@pytest.mark.parametrize(
    "thresholds", [{"kind": "reject", "value": 0.5}, {"kind": "per_class", "values": [0.5]}]
)
def test_thresholds_of_another_model_are_refused(thresholds: dict[str, object]) -> None:
    with pytest.raises(BundleError, match="thresholds"):
        decide(FOUND, PLACE, ["a", "b"], thresholds)
