"""Mask2Former: its loss and outputs against transformers', its checkpoints, segments and panoptic quality."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tiny_instances import tiny_spec
from tiny_mask2former import SMALL

from tao_like.data.boxes.annotation import BoxArrays
from tao_like.data.masks.runs import encode_mask
from tao_like.errors import BundleError, SpecError
from tao_like.runtime.predictions.boxes import Selection
from tao_like.runtime.predictions.segments import SegmentRule, segment_masks
from tao_like.tasks.instance_segmentation.data.dataset import InstanceTarget
from tao_like.tasks.instance_segmentation.metrics.panoptic import PanopticQuality
from tao_like.tasks.instance_segmentation.model.build import build_network
from tao_like.tasks.instance_segmentation.model.mask2former import Mask2Former, mask2former_config
from tao_like.tasks.instance_segmentation.model.transformers_files import load_transformers
from tao_like.tasks.instance_segmentation.task import InstanceSegmentationTask

pytest.importorskip("transformers")
SWIN = (
    "model.backbone.type=swin",
    "model.backbone.swin={embed_dim: 16, depths: [1, 1, 1, 1], num_heads: [1, 2, 2, 4], window_size: 4}",
)


def made(*overrides: str) -> Mask2Former:
    torch.manual_seed(0)
    spec = tiny_spec(*SMALL, *overrides)
    network, _ = build_network(spec, ["bar", "disk"], (64, 96), pretrained=False)
    assert isinstance(network, Mask2Former)
    return network.eval()


@pytest.fixture(scope="module")
def published() -> torch.nn.Module:
    from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation, SwinConfig

    config = mask2former_config(tiny_spec(*SMALL, *SWIN).model, 2).to_dict()
    config["backbone_config"] = SwinConfig(
        embed_dim=16,
        depths=[1, 1, 1, 1],
        num_heads=[1, 2, 2, 4],
        window_size=4,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )
    torch.manual_seed(1)
    return Mask2FormerForUniversalSegmentation(Mask2FormerConfig(**config)).eval()


def test_a_published_checkpoint_gives_the_same_outputs_and_loss(
    published: torch.nn.Module, tmp_path: Path
) -> None:
    save_file(published.state_dict(), tmp_path / "model.safetensors")
    network = made(*SWIN)
    said = load_transformers(network, tmp_path / "model.safetensors", keep_classes=True)
    assert "all weights come from" in said
    inputs = torch.randn(2, 3, 64, 96)
    labels = [torch.tensor([0, 1]), torch.tensor([], dtype=torch.int64)]
    masks = [(torch.rand(2, 64, 96) > 0.7).float(), torch.zeros(0, 64, 96)]
    with torch.no_grad():
        values = network.from_normalized(inputs)
        torch.manual_seed(0)
        theirs = published(inputs, mask_labels=masks, class_labels=labels)
        ours = network.instance_losses(values, [], labels, masks)
    torch.testing.assert_close(values[0], theirs.class_queries_logits)
    torch.testing.assert_close(values[1], theirs.masks_queries_logits)
    assert sum(ours.values()).item() == pytest.approx(theirs.loss.item(), rel=1e-4)
    fresh = made(*SWIN)
    assert "the layer that tells classes is new" in load_transformers(fresh, tmp_path / "model.safetensors")
    with pytest.raises(BundleError, match=r"does not fit .*config\.json"):
        load_transformers(made(*SWIN, "model.mask_former.dec_layers=4"), tmp_path / "model.safetensors")


def test_a_swin_has_transformers_number_of_parameters() -> None:
    swin = "model.backbone.swin.depths=[2,2,18,2]"
    spec = tiny_spec("model.arch=mask2former", "model.backbone.type=swin", swin, "dataset.img_size=64")
    with torch.device("meta"):
        network, _ = build_network(spec, ["bar", "disk"], (64, 64), pretrained=False)
    # That of Mask2FormerForUniversalSegmentation(Mask2FormerConfig()), which has two classes.
    assert sum(value.numel() for value in network.parameters()) == 68_721_037


def test_boxes_lie_around_masks_and_scores_are_class_times_mask() -> None:
    network = made()
    masks = torch.full((1, 2, 16, 24), -9.0)
    masks[0, 0, 2:5, 3:10] = 9.0
    classes = torch.tensor([[[4.0, 0.0, 0.0], [0.0, 0.0, 9.0]]])
    boxes, scores, labels, count, shapes = network.instances([classes, masks], Selection(0.1, limit=4))
    assert count.item() == 1
    assert labels[0, 0].item() == 0
    assert boxes[0, 0].tolist() == [12, 8, 40, 20]
    wanted = classes.softmax(-1)[0, 0, 0] * torch.tensor(9.0).sigmoid()
    assert scores[0, 0].item() == pytest.approx(wanted.item(), abs=1e-5)
    assert shapes.shape == (1, 4, 16, 24)
    assert not boxes[0, 1:].any()


def test_objects_of_a_region_are_one_target() -> None:
    network = made("model.mode=semantic")
    labels, masks = torch.tensor([1, 0, 1]), torch.eye(3).reshape(3, 1, 3)
    joined, merged = network._wanted(labels, masks)
    assert joined.tolist() == [0, 1]
    assert merged.tolist() == [[[0, 1, 0]], [[1, 0, 1]]]


def test_segments_share_no_pixel_and_regions_are_joined() -> None:
    masks = np.zeros((4, 1, 8))
    masks[0, 0, :4] = 0.9  # an object
    masks[1, 0, 2:8] = 0.8  # a region that it covers in part
    masks[2, 0, 7:] = 0.95  # the same region again
    masks[3, 0, :4] = 0.6  # hidden behind the first
    scores, labels = np.array([0.9, 0.9, 0.9, 0.85], np.float32), np.array([0, 1, 1, 0])
    rule = SegmentRule(0.5, 0.5, frozenset([1]))
    found = segment_masks(lambda: masks, scores, labels, (8, 1), rule)
    assert [(number, mask[0].tolist()) for number, mask in found] == [
        (0, [True] * 4 + [False] * 4),
        (1, [False] * 4 + [True] * 4),
    ]
    strict = SegmentRule(0.5, 0.9, frozenset([1]))
    assert [number for number, _ in segment_masks(lambda: masks, scores, labels, (8, 1), strict)] == [0, 2]


def panoptic(target: np.ndarray, classes: list[int], crowd: list[bool] | None = None) -> InstanceTarget:
    """A target of a map (H, W) of segment numbers from 1 on."""
    masks = [(target == number).astype(np.uint8) for number in range(1, len(classes) + 1)]
    count = len(classes)
    boxes, areas = np.zeros((count, 4), np.float32), np.zeros(count, np.float32)
    arrays = BoxArrays(boxes, np.array(classes), np.array(crowd or [False] * count), areas)
    return InstanceTarget(
        arrays, target.shape[1], target.shape[0], runs=tuple(encode_mask(mask) for mask in masks)
    )


def test_panoptic_quality_by_hand() -> None:
    target = np.array([[1, 1, 1, 1, 2, 2, 2, 2, 3, 3]])
    found = [np.array([[1, 1, 1, 0, 0, 0, 0, 0, 0, 0]]), np.array([[0, 0, 0, 0, 1, 0, 0, 0, 1, 1]])]
    quality = PanopticQuality(2, frozenset([1]))
    quality.add([mask > 0 for mask in found], np.array([0, 1]), panoptic(target, [0, 0, 1]))
    totals, by_class = quality.compute()
    # Class 0: one match of IoU 3/4 and one miss. Class 1: IoU 2/3.
    assert by_class[0]["PQ"] == pytest.approx(0.75 / 1.5)
    assert by_class[1]["PQ"] == pytest.approx(2 / 3)
    assert totals["PQ"] == pytest.approx((0.5 + 2 / 3) / 2)
    assert by_class[0]["segment_mIoU"] == pytest.approx(3 / 8)


def test_panoptic_quality_is_torchmetrics() -> None:
    detection = pytest.importorskip("torchmetrics.detection")
    theirs = detection.PanopticQuality(things={0, 1}, stuffs={2}, return_per_class=True)
    ours = PanopticQuality(3, frozenset([2]))
    draw = np.random.default_rng(0)
    for _ in range(8):
        target, found = (
            np.repeat(np.sort(draw.integers(1, 5, (6, 12)), axis=0), 2, axis=0) for _ in range(2)
        )
        found = np.where(draw.random(target.shape) < 0.8, target, found)
        classes, labels = [0, 1, 0, 2], [0, 1, 1 if draw.random() < 0.5 else 0, 2]
        ours.add([found == n for n in range(1, 5)], np.array(labels), panoptic(target, classes))
        pair = [
            torch.tensor(np.stack([np.array(names)[each - 1], each], axis=-1))[None]
            for each, names in ((found, labels), (target, classes))
        ]
        theirs.update(*pair)
    _, by_class = ours.compute()
    np.testing.assert_allclose([each["PQ"] for each in by_class], theirs.compute()[0].numpy(), atol=1e-6)


def test_images_for_a_swin_are_preprocessed_as_its_published_networks_want() -> None:
    """Mean and deviation of transformers' image processor for Mask2Former."""
    task = InstanceSegmentationTask(tiny_spec(*SMALL, *SWIN))
    assert task.data.preprocessing.interpolation == "bilinear"
    network = made(*SWIN)
    assert network.normalise.mean.flatten().tolist() == pytest.approx([0.485, 0.456, 0.406])
    assert network.normalise.std.flatten().tolist() == pytest.approx([0.229, 0.224, 0.225])


def test_a_region_that_is_no_class_is_named() -> None:
    with pytest.raises(SpecError, match="region_classes: 'sky' is no class"):
        made("model.mode=panoptic", "model.mask_former.region_classes=[sky]")
