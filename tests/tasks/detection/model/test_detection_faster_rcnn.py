"""Faster R-CNN: regions, predictions and losses of torchvision's own, and through the stages."""

from __future__ import annotations

import importlib
from pathlib import Path

import onnxruntime
import pytest
import torch
from tiny_detection import tiny_spec
from torch import Tensor, nn

from tao_like.errors import SpecError
from tao_like.networks import _torchvision  # noqa: F401
from tao_like.runtime.predictions.boxes import Selection
from tao_like.tasks.detection.model import for_export
from tao_like.tasks.detection.model.build import build_network
from tao_like.tasks.detection.model.faster_rcnn import FasterRcnn
from tao_like.tasks.detection.model.for_export import suppressed
from tao_like.tasks.detection.model.torchvision_files import load_torchvision

# isort: split
from torchvision.models.detection import fasterrcnn_resnet50_fpn
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import box_iou

SIZE = (96, 128)
REGIONS = 100
TINY = (
    "model.arch=faster_rcnn",
    "model.neck.width=16",
    "model.faster_rcnn.representation_size=32",
    "model.faster_rcnn.rpn_post_nms_top_n_test=40",
    "model.faster_rcnn.anchor_sizes=[12,20,30,45,64]",
)
BOXES = [
    torch.tensor([[8.0, 10, 60, 70], [40, 30, 90, 64]]),
    torch.zeros(0, 4),
]
LABELS = [torch.tensor([2, 5]), torch.zeros(0, dtype=torch.int64)]


@pytest.fixture(scope="module")
def theirs() -> nn.Module:
    """torchvision's model with random weights, such that features stay small and answers differ."""
    torch.manual_seed(0)
    model = fasterrcnn_resnet50_fpn(
        weights=None,
        weights_backbone=None,
        num_classes=7,
        rpn_post_nms_top_n_test=REGIONS,
        rpn_post_nms_top_n_train=3 * REGIONS,
        box_batch_size_per_image=64,
    ).eval()
    for name, value in model.named_parameters():
        if name.endswith(("cls_score.weight", "bbox_pred.weight", "cls_logits.weight")):
            value.data.normal_(0, 0.1)
        elif name.endswith("bn3.weight"):
            value.data.fill_(0.2)
    return model


@pytest.fixture(scope="module")
def ours(theirs: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> FasterRcnn:
    """The network here, from their checkpoint."""
    file = tmp_path_factory.mktemp("weights") / "faster_rcnn.pth"
    torch.save(theirs.state_dict(), file)
    spec = tiny_spec(
        "model.arch=faster_rcnn",
        "model.neck.width=256",
        f"model.faster_rcnn.rpn_post_nms_top_n_test={REGIONS}",
        f"model.faster_rcnn.rpn_post_nms_top_n_train={3 * REGIONS}",
        "model.faster_rcnn.box_batch_size_per_image=64",
        "model.backbone.type=resnet50",
        f"model.backbone.pretrained_backbone_path={file}",
    )
    network, notes = build_network(spec, list("abcdef"), SIZE, pretrained=True)
    assert len(notes) == 1
    assert notes[0].startswith(f"all weights come from {file} (")
    assert "the layer that tells classes is new, since its file does not name its classes" in notes[0]
    # Here they are known to be the same.
    assert "new" not in load_torchvision(network, file, "faster_rcnn", keep_classes=True)
    assert isinstance(network, FasterRcnn)
    return network.eval()


@pytest.fixture
def plain_operators(monkeypatch: pytest.MonkeyPatch) -> None:
    """torchvision's operators without its compiled ones: its RoIAlign in Python, and a slow suppression."""
    pooling = importlib.import_module("torchvision.ops.roi_align")._roi_align.__wrapped__

    def roi_align(
        features: Tensor,
        rois: Tensor,
        output_size: tuple[int, int],
        spatial_scale: float,
        sampling_ratio: int,
    ) -> Tensor:
        pooled: Tensor = pooling(features, rois, spatial_scale, *output_size, sampling_ratio, False)
        return pooled

    def nms(boxes: Tensor, scores: Tensor, threshold: float) -> Tensor:
        order = scores.argsort(descending=True, stable=True).tolist()
        ious = box_iou(boxes, boxes)
        kept: list[int] = []
        for place in order:
            if not kept or ious[place, kept].max() <= threshold:
                kept.append(place)
        return torch.tensor(kept, dtype=torch.int64)

    monkeypatch.setattr("torchvision.ops.poolers.roi_align", roi_align)
    monkeypatch.setattr("torchvision.ops.boxes.nms", nms)


def features_of(theirs: nn.Module, inputs: Tensor) -> dict[str, Tensor]:
    with torch.no_grad():
        features: dict[str, Tensor] = theirs.backbone(inputs)  # type: ignore[operator]
    return features


@pytest.mark.usefixtures("plain_operators")
def test_it_finds_what_torchvisions_finds(theirs: nn.Module, ours: FasterRcnn) -> None:
    torch.manual_seed(1)
    inputs = torch.randn(2, 3, *SIZE)
    images = ImageList(inputs, [SIZE, SIZE])
    features = features_of(theirs, inputs)
    with torch.no_grad():
        proposals, _ = theirs.rpn(images, features)  # type: ignore[operator]
        expected, _ = theirs.roi_heads(features, proposals, images.image_sizes)  # type: ignore[operator]
        values = ours.from_normalized(inputs)
        regions, counts = ours._regions(ours._first_stage(values))
        selection = Selection(score_threshold=0.05, iou_threshold=0.5, limit=100, candidates=1000)
        boxes, scores, labels, found = suppressed(*ours.decode(values), selection)
    for image, prediction in enumerate(expected):
        assert counts[image] == len(proposals[image])
        torch.testing.assert_close(regions[image, : counts[image]], proposals[image], rtol=0, atol=1e-3)
        count = int(found[image])
        assert count == len(prediction["scores"]) > 20
        torch.testing.assert_close(scores[image, :count], prediction["scores"], rtol=0, atol=1e-5)
        torch.testing.assert_close(boxes[image, :count], prediction["boxes"], rtol=0, atol=1e-3)
        assert labels[image, :count].tolist() == (prediction["labels"] - 1).tolist()


@pytest.mark.usefixtures("plain_operators")
def test_its_losses_are_torchvisions(theirs: nn.Module, ours: FasterRcnn) -> None:
    torch.manual_seed(1)
    inputs = torch.randn(2, 3, *SIZE)
    images = ImageList(inputs, [SIZE, SIZE])
    targets = [{"boxes": box, "labels": label + 1} for box, label in zip(BOXES, LABELS, strict=True)]
    features = features_of(theirs, inputs)
    theirs.rpn.train(), theirs.roi_heads.train(), ours.head.train()  # type: ignore[operator, union-attr]
    try:
        with torch.no_grad():
            torch.manual_seed(2)
            proposals, expected = theirs.rpn(images, features, targets)  # type: ignore[operator]
            _, of_boxes = theirs.roi_heads(features, proposals, images.image_sizes, targets)  # type: ignore[operator]
            torch.manual_seed(2)
            found = ours.losses(ours.from_normalized(inputs), BOXES, LABELS, refine=False)
    finally:
        theirs.eval(), ours.eval()
    assert set(found) == {"loss_objectness", "loss_rpn_box_reg", "loss_classifier", "loss_box_reg"}
    for name, value in {**expected, **of_boxes}.items():
        assert found[name].item() == pytest.approx(value.item(), rel=1e-4), name


@pytest.mark.usefixtures("plain_operators")
def test_suppression_on_a_gpu_keeps_the_same_boxes() -> None:
    torch.manual_seed(3)
    corners = torch.rand(400, 2) * 60
    boxes = torch.cat([corners, corners + torch.rand(400, 2) * 40], dim=1)
    scores = torch.rand(400).sort(descending=True).values
    labels = torch.randint(0, 3, (400,))
    selection = Selection(score_threshold=0.2, iou_threshold=0.5, limit=60, candidates=400)
    kept = for_export._kept_on_gpu(boxes, scores, labels, selection)
    assert kept.tolist() == for_export._kept(boxes, scores, labels, selection).tolist()
    assert len(kept) == 60


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore::DeprecationWarning")
def test_equal_scores_have_the_same_order_in_the_file(tmp_path: Path) -> None:
    """As where no channel responds: anchors have the bias for a score, regions those of the classes."""
    network, _ = build_network(tiny_spec(*TINY), ["a", "b"], (64, 96), pretrained=True)
    for layer in (network.rpn.head.cls_logits, network.roi_heads.box_predictor.cls_score):
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
    selection = Selection(score_threshold=0.05, iou_threshold=0.5, limit=20, candidates=60)
    module = for_export.DetectorForExport(network, "uint8_nhwc", selection).eval()
    pixels = torch.randint(0, 256, (2, 64, 96, 3), dtype=torch.uint8)
    torch.onnx.export(module, (pixels,), tmp_path / "model.onnx", dynamo=False, input_names=["image"])
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    with torch.no_grad():
        expected = module(pixels)
    assert expected[1].unique().tolist() == pytest.approx([1 / 3])
    for one, other in zip(expected, session.run(None, {"image": pixels.numpy()}), strict=True):
        torch.testing.assert_close(one, torch.from_numpy(other), rtol=0, atol=1e-3)


def test_every_parameter_gets_a_gradient_without_objects() -> None:
    network, _ = build_network(tiny_spec(*TINY), ["a", "b"], (64, 96), pretrained=True)
    values = network(torch.randint(0, 256, (2, 3, 64, 96), dtype=torch.uint8))
    losses = network.losses(values, BOXES[1:] * 2, LABELS[1:] * 2, refine=False)
    torch.stack(list(losses.values())).sum().backward()
    assert [name for name, value in network.named_parameters() if value.grad is None] == []


def test_a_backbone_without_fine_features_is_refused() -> None:
    with pytest.raises(SpecError, match=r"model\.backbone\.type.*4, 8, 16, 32"):
        build_network(
            tiny_spec(*TINY, "model.backbone.type=vit_tiny_patch16_224"), ["a"], (64, 96), pretrained=False
        )


def test_anchor_sizes_are_one_a_map() -> None:
    with pytest.raises(SpecError, match=r"model\.faster_rcnn\.anchor_sizes.*give 5"):
        tiny_spec("model.faster_rcnn.anchor_sizes=[32,64]")
