"""Mask R-CNN: torchvision's names, numbers and losses, and its masks."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest
import torch
from tiny_instances import tiny_spec
from torch import Tensor, nn

from tao_like.networks import _torchvision  # noqa: F401
from tao_like.tasks.detection.model.torchvision_files import is_torchvision_file, load_torchvision, own_name
from tao_like.tasks.instance_segmentation.model.build import build_network
from tao_like.tasks.instance_segmentation.model.mask_rcnn import MaskRcnn, mask_dice, target_shapes

# isort: split
from torchvision.models.detection import maskrcnn_resnet50_fpn

PUBLISHED = (
    "model.backbone.type=resnet50",
    "model.neck.width=256",
    "model.faster_rcnn.representation_size=1024",
    "model.mask_head.width=256",
    "model.mask_head.depth=4",
)
PARAMETERS = 44_401_393
"""As torchvision states them for maskrcnn_resnet50_fpn, whose norm layers are frozen and do not count."""
BOXES = [torch.tensor([[8.0, 10, 60, 50], [40, 20, 90, 60]]), torch.zeros(0, 4)]
LABELS = [torch.tensor([1, 0]), torch.zeros(0, dtype=torch.int64)]
MASKS = [torch.zeros(2, 64, 96, dtype=torch.uint8), torch.zeros(0, 64, 96, dtype=torch.uint8)]
MASKS[0][0, 10:50, 8:34] = 1
MASKS[0][1, 30:60, 40:90] = 1


def tiny_network() -> MaskRcnn:
    torch.manual_seed(0)
    return build_network(tiny_spec(), ["bar", "disk"], (64, 96), pretrained=False)[0]


def older_name(name: str) -> str:
    """A tensor's name in the file that torchvision published first."""
    name = re.sub(r"^(backbone\.fpn\.\w+_blocks\.\d)\.0\.", r"\1.", name)
    name = re.sub(r"^(rpn\.head\.conv)\.0\.0\.", r"\1.", name)
    return re.sub(
        r"^(roi_heads\.mask_head)\.(\d)\.0\.", lambda one: f"{one[1]}.mask_fcn{int(one[2]) + 1}.", name
    )


def test_tensors_have_torchvisions_names_in_both_forms_and_its_number() -> None:
    with torch.device("meta"):
        names = [str(number) for number in range(90)]
        network = build_network(tiny_spec(*PUBLISHED), names, (96, 128), pretrained=False)[0]
        theirs = maskrcnn_resnet50_fpn(weights=None, weights_backbone=None, num_classes=91).state_dict()
    own = {name: value.shape for name, value in network.state_dict().items() if "normalise" not in name}
    assert {own_name(name): value.shape for name, value in theirs.items()} == own
    assert {own_name(older_name(name)): value.shape for name, value in theirs.items()} == own
    layers = [module for module in network.modules() if not isinstance(module, nn.BatchNorm2d)]
    assert sum(value.numel() for one in layers for value in one.parameters(recurse=False)) == PARAMETERS


def test_a_checkpoint_in_torchvisions_layout_loads(tmp_path: Path) -> None:
    network = tiny_network()
    back = ((r"^backbone\.backbone\.", "backbone.body."), (r"^neck\.", "backbone."), (r"^head\.", ""))
    tensors = {}
    for name, value in network.state_dict().items():
        for pattern, replacement in back:
            name = re.sub(pattern, replacement, name)
        if "normalise" not in name:
            tensors[name] = value + 1
    file = tmp_path / "model.pth"
    torch.save(tensors, file)
    assert is_torchvision_file(str(file), "mask_rcnn")
    masks = network.roi_heads.mask_predictor
    bias, weight = masks.mask_fcn_logits.bias.clone(), masks.conv5_mask.weight.clone()
    assert "the layer that tells classes is new" in load_torchvision(network, file, "mask_rcnn")
    assert masks.conv5_mask.weight.equal(weight + 1)
    assert masks.mask_fcn_logits.bias.equal(bias)
    load_torchvision(network, file, "mask_rcnn", keep_classes=True)
    assert masks.mask_fcn_logits.bias.equal(bias + 1)


def test_the_loss_of_masks_is_torchvisions(monkeypatch: pytest.MonkeyPatch) -> None:
    heads = importlib.import_module("torchvision.models.detection.roi_heads")
    pooling = importlib.import_module("torchvision.ops.roi_align")._roi_align.__wrapped__

    def roi_align(masks: Tensor, rois: Tensor, size: tuple[int, int], scale: float) -> Tensor:
        pooled: Tensor = pooling(masks, rois, scale, *size, 2, False)
        return pooled

    monkeypatch.setattr(heads, "roi_align", roi_align)
    network = tiny_network()
    values = network(torch.rand(2, 3, 64, 96) * 255)
    first = network._first_stage(values)
    _, samples = network.sampled_losses(first, BOXES, LABELS)
    positive = [names > 0 for names in samples.names]
    regions = [each[which] for each, which in zip(samples.regions, positive, strict=True)]
    objects = [each[which] for each, which in zip(samples.objects, positive, strict=True)]
    assert [len(each) > 0 for each in regions] == [True, False]
    logits = network._mask_logits(first.maps, regions[0], torch.zeros(len(regions[0]), dtype=torch.int64))
    expected = heads.maskrcnn_loss(logits, regions[:1], MASKS[:1], [LABELS[0] + 1], objects[:1])
    assert network._mask_loss(first.maps, samples, MASKS).item() == pytest.approx(expected.item(), rel=1e-5)


def test_dice_of_masks_by_hand_and_an_empty_mask_of_a_thin_object_costs_nearly_all_of_it() -> None:
    logits, wanted = torch.full((2, 28, 28), -40.0), torch.zeros(2, 28, 28)
    # Two of four cells are found, and one that is none; a rod of 28 cells is not found at all.
    logits[0, 0, :3], wanted[0, 0, 1:5], wanted[1, 13] = 40.0, 1.0, 1.0
    expected = ((1 - 5 / 8) + (1 - 1 / 29)) / 2
    assert mask_dice(logits, wanted).item() == pytest.approx(expected, rel=1e-6)
    spec = tiny_spec("model.mask_head.dice_weight=2")
    assert build_network(spec, ["bar", "disk"], (64, 96), pretrained=False)[0].dice_weight == 2


def test_the_target_of_a_region_is_its_part_of_the_mask() -> None:
    masks = torch.zeros(1, 64, 96, dtype=torch.uint8)
    masks[0, 4:32, 10:24] = 1
    # A pixel a cell: the left half of the region shows the object.
    (shape,) = target_shapes(masks, torch.tensor([[10.0, 4, 38, 32]]), torch.tensor([0]))
    assert shape[1:-1, 1:13].eq(1).all()
    assert shape[:, 15:].eq(0).all()


def test_without_objects_every_layer_has_a_gradient_of_zero() -> None:
    network = tiny_network()
    values = network(torch.rand(1, 3, 64, 96) * 255)
    losses = network.instance_losses(values, BOXES[1:], LABELS[1:], MASKS[1:])
    assert losses["loss_mask"].item() == 0
    sum(losses.values()).backward()  # type: ignore[union-attr]
    gradient = network.roi_heads.mask_predictor.conv5_mask.weight.grad
    assert gradient is not None
    assert gradient.abs().max() == 0


def test_masks_of_a_batch_are_those_of_its_boxes_one_by_one() -> None:
    network = tiny_network().eval()
    with torch.no_grad():
        values = network(torch.rand(2, 3, 64, 96) * 255)
        boxes = torch.tensor([[[8.0, 10, 60, 50], [40, 20, 90, 60]], [[5.0, 5, 30, 40], [0, 0, 0, 0]]])
        scores, labels = torch.tensor([[0.9, 0.8], [0.7, 0.0]]), torch.tensor([[1, 0], [0, 0]])
        shapes = network.shapes(values, boxes, scores, labels)
        assert shapes.shape == (2, 2, 28, 28)
        assert shapes[1, 1].eq(0).all()
        for image, place in ((0, 0), (0, 1), (1, 0)):
            which = torch.tensor([image])
            logits = network._mask_logits(values[:5], boxes[image, place][None], which)
            own = logits[0, labels[image, place] + 1].sigmoid()
            assert torch.allclose(shapes[image, place], own, atol=1e-6)
