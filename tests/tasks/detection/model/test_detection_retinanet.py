"""RetinaNet: the same answers as torchvision's own, and through the stages."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_detection import tiny_spec
from torch import Tensor

from tao_like.networks import _torchvision  # noqa: F401
from tao_like.networks.backbones.build import create_backbone
from tao_like.networks.backbones.pyramid import BackbonePyramid
from tao_like.tasks.detection.model.build import build_network
from tao_like.tasks.detection.model.retinanet import RetinaNet
from tao_like.tasks.detection.model.torchvision_files import load_torchvision

# isort: split
from torchvision.models.detection import retinanet_resnet50_fpn
from torchvision.models.detection.image_list import ImageList

RETINANET = ("model.arch=retinanet", "model.neck.width=32")
SIZE = (96, 128)


@pytest.fixture(scope="module")
def theirs() -> torch.nn.Module:
    """torchvision's model with random weights and statistics."""
    torch.manual_seed(0)
    model = retinanet_resnet50_fpn(weights=None, weights_backbone=None, num_classes=7).eval()
    for name, buffer in model.named_buffers():
        if name.endswith("running_var"):
            buffer.uniform_(0.5, 1.5)
        elif name.endswith("running_mean"):
            buffer.normal_(0, 0.1)
    return model


@pytest.fixture(scope="module")
def ours(theirs: torch.nn.Module, tmp_path_factory: pytest.TempPathFactory) -> RetinaNet:
    """The network here, from their checkpoint."""
    file = tmp_path_factory.mktemp("weights") / "retinanet.pth"
    torch.save(theirs.state_dict(), file)
    spec = tiny_spec(
        "model.arch=retinanet",
        "model.neck.width=256",
        "model.backbone.type=resnet50",
        f"model.backbone.pretrained_backbone_path={file}",
    )
    network, notes = build_network(spec, list("abcdefg"), SIZE, pretrained=True)
    assert len(notes) == 1
    assert notes[0].startswith(f"all weights come from {file} (")
    assert "the layer that tells classes is new, since its file does not name its classes" in notes[0]
    # Here they are known to be the same.
    assert "new" not in load_torchvision(network, file, "retinanet", keep_classes=True)
    assert isinstance(network, RetinaNet)
    return network.eval()


def test_it_says_what_torchvisions_says(theirs: torch.nn.Module, ours: RetinaNet) -> None:
    inputs = torch.randn(2, 3, *SIZE)
    with torch.no_grad():
        maps = list(theirs.backbone(inputs).values())  # type: ignore[operator]
        expected = theirs.head(maps)  # type: ignore[operator]
        anchors = theirs.anchor_generator(ImageList(inputs, [SIZE, SIZE]), maps)[0]  # type: ignore[operator]
        logits, regression, own_anchors = ours.from_normalized(inputs)
    torch.testing.assert_close(logits, expected["cls_logits"], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(regression, expected["bbox_regression"], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(own_anchors, anchors)
    boxes, scores = ours.decode([logits, regression, own_anchors])
    coder = theirs.box_coder
    torch.testing.assert_close(boxes[1], coder.decode_single(regression[1], anchors))  # type: ignore[operator, union-attr]
    torch.testing.assert_close(scores, logits.sigmoid())


def test_its_loss_is_torchvisions(theirs: torch.nn.Module, ours: RetinaNet) -> None:
    inputs = torch.randn(3, 3, *SIZE)
    boxes = [
        torch.tensor([[8.0, 10, 60, 70], [40, 30, 90, 64]]),
        torch.zeros(0, 4),
        torch.tensor([[3.0, 3, 30, 28]]),
    ]
    labels = [torch.tensor([2, 5]), torch.zeros(0, dtype=torch.int64), torch.tensor([0])]
    with torch.no_grad():
        values = ours.from_normalized(inputs)
        found = ours.losses(values, boxes, labels, refine=False)
        given = {"cls_logits": values[0], "bbox_regression": values[1]}
        targets: list[dict[str, Tensor]] = [
            {"boxes": box, "labels": label} for box, label in zip(boxes, labels, strict=True)
        ]
        expected = theirs.compute_loss(targets, given, [values[2]] * 3)  # type: ignore[operator]
    assert found["loss_class"].item() == pytest.approx(expected["classification"].item(), rel=1e-5)
    assert found["loss_box"].item() == pytest.approx(expected["bbox_regression"].item(), rel=1e-5)


def test_other_classes_get_a_new_layer(theirs: torch.nn.Module, tmp_path: Path) -> None:
    torch.save(theirs.state_dict(), tmp_path / "retinanet.pth")
    module = create_backbone("resnet50", num_classes=0, img_size=SIZE)
    network = RetinaNet(BackbonePyramid(module, "resnet50", SIZE), 3, 256, (0.5,) * 3, (0.5,) * 3)
    before = network.state_dict()["head.classification_head.cls_logits.weight"].clone()
    assert "new" in load_torchvision(network, tmp_path / "retinanet.pth", "retinanet")
    assert network.state_dict()["head.classification_head.cls_logits.weight"].equal(before)


def test_every_parameter_gets_a_gradient_without_objects(tmp_path: Path) -> None:
    network, _ = build_network(tiny_spec(*RETINANET), ["a", "b"], (64, 96), pretrained=True)
    values = network(torch.randint(0, 256, (2, 3, 64, 96), dtype=torch.uint8))
    nothing = [torch.zeros(0, 4)] * 2, [torch.zeros(0, dtype=torch.int64)] * 2
    losses = network.losses(values, *nothing, refine=False)
    torch.stack(list(losses.values())).sum().backward()
    assert [name for name, value in network.named_parameters() if value.grad is None] == []
