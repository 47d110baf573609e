"""Checkpoints of torchvision's detectors: names, counts and shapes, in the newer form and the older."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tiny_detection import tiny_spec
from torch import nn

from tao_like.errors import BundleError
from tao_like.networks import _torchvision  # noqa: F401
from tao_like.tasks.detection.model.build import build_network
from tao_like.tasks.detection.model.detector import Detector
from tao_like.tasks.detection.model.torchvision_files import is_torchvision_file, load_torchvision, own_name

# isort: split
from torchvision.models.detection import fasterrcnn_resnet50_fpn, retinanet_resnet50_fpn, ssd300_vgg16

RESNET = ("model.backbone.type=resnet50", "model.neck.width=256")
VGG = ("model.backbone.type=vgg16", "dataset.img_size=300", "dataset.img_height=300")
# Parameters as torchvision states them for its weights of 91 classes; norm layers are frozen there, and do
# not count.
MODELS: dict[str, tuple[Callable[..., nn.Module], tuple[str, ...], int, int]] = {
    "faster_rcnn": (fasterrcnn_resnet50_fpn, RESNET, 90, 41_755_286),
    "retinanet": (retinanet_resnet50_fpn, RESNET, 91, 34_014_999),
    "ssd": (ssd300_vgg16, VGG, 90, 35_641_826),
}


def empty_detector(arch: str) -> Detector:
    """The network for torchvision's COCO weights, without values."""
    _, overrides, classes, _ = MODELS[arch]
    size = (300, 300) if arch == "ssd" else (96, 128)
    names = [str(number) for number in range(classes)]
    with torch.device("meta"):
        return build_network(tiny_spec(f"model.arch={arch}", *overrides), names, size, pretrained=False)[0]


def empty_original(arch: str) -> nn.Module:
    """torchvision's model, without values."""
    with torch.device("meta"):
        return MODELS[arch][0](weights=None, weights_backbone=None, num_classes=91)


def older_name(name: str) -> str:
    """A tensor's name as it was before convolutions and activations became one module."""
    name = re.sub(r"^(backbone\.fpn\.\w+_blocks\.\d)\.0\.", r"\1.", name)
    name = re.sub(r"^(rpn\.head\.conv)\.0\.0\.", r"\1.", name)
    return re.sub(r"^(head\.\w+\.conv)\.(\d)\.0\.", lambda found: f"{found[1]}.{int(found[2]) * 2}.", name)


@pytest.mark.parametrize("arch", sorted(MODELS))
def test_every_tensor_has_its_place_in_both_forms(arch: str) -> None:
    network, original = empty_detector(arch), empty_original(arch)
    own = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    own = {name: shape for name, shape in own.items() if not name.startswith("normalise.")}
    given = {name: tuple(tensor.shape) for name, tensor in original.state_dict().items()}
    assert {own_name(name): shape for name, shape in given.items()} == own
    older = {older_name(name): tensor for name, tensor in original.state_dict().items()}
    assert {own_name(name): tuple(tensor.shape) for name, tensor in older.items()} == own
    # torchvision reads that older form too.
    original.load_state_dict(older, strict=True)


@pytest.mark.parametrize("arch", sorted(MODELS))
def test_the_number_of_parameters_is_the_published_one(arch: str) -> None:
    layers = [module for module in empty_detector(arch).modules() if not isinstance(module, nn.BatchNorm2d)]
    count = sum(value.numel() for layer in layers for value in layer.parameters(recurse=False))
    assert count == MODELS[arch][3]


def test_a_tensor_too_many_or_too_few_or_of_another_shape_is_refused_by_name(tmp_path: Path) -> None:
    network, _ = build_network(tiny_spec("model.arch=faster_rcnn"), ["a", "b"], (64, 96), pretrained=False)
    back = ((r"^backbone\.backbone\.", "backbone.body."), (r"^neck\.", "backbone."), (r"^head\.", ""))
    tensors = {}
    for name, tensor in network.state_dict().items():
        for pattern, replacement in back:
            name = re.sub(pattern, replacement, name)
        tensors[name] = tensor
    tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith("normalise.")}
    file = tmp_path / "model.pth"
    torch.save(tensors, file)
    assert is_torchvision_file(str(file), "faster_rcnn")
    assert not is_torchvision_file(str(file), "retinanet")
    assert "new" not in load_torchvision(network, file, "faster_rcnn", keep_classes=True)
    cases: dict[str, dict[str, torch.Tensor | None]] = {
        "head.rpn.head.cls_logits.bias is lacking": {"rpn.head.cls_logits.bias": None},
        "mask_head.*has no parameter": {"roi_heads.mask_head.weight": torch.zeros(1)},
        r"fc7\.weight is \(2, 2\)": {"roi_heads.box_head.fc7.weight": torch.zeros(2, 2)},
    }
    for words, changes in cases.items():
        changed = {name: tensor for name, tensor in {**tensors, **changes}.items() if tensor is not None}
        torch.save(changed, file)
        before = network.state_dict()["head.roi_heads.box_head.fc6.bias"].clone()
        with pytest.raises(BundleError, match=words):
            load_torchvision(network, file, "faster_rcnn")
        assert network.state_dict()["head.roi_heads.box_head.fc6.bias"].equal(before)
