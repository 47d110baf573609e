"""SSD: values, anchors and losses of torchvision's own, and through the stages."""

from __future__ import annotations

import pytest
import torch
from tiny_detection import tiny_spec
from torch import Tensor, nn

from tao_like.errors import SpecError
from tao_like.networks import _torchvision  # noqa: F401
from tao_like.tasks.detection.model.build import build_network
from tao_like.tasks.detection.model.ssd import Ssd
from tao_like.tasks.detection.model.torchvision_files import load_torchvision

# isort: split
from torchvision.models.detection import ssd300_vgg16
from torchvision.models.detection.image_list import ImageList

TINY = ("model.arch=ssd", "model.neck.width=16", "model.ssd.scales=[0.2,0.3,0.5,0.7,0.9]")
PAPER = ("model.arch=ssd", "model.backbone.type=vgg16", "dataset.img_size=300", "dataset.img_height=300")
BOXES = [
    torch.tensor([[8.0, 10, 160, 170], [40, 30, 90, 64]]),
    torch.zeros(0, 4),
    torch.tensor([[100.0, 120, 290, 210]]),
]
LABELS = [torch.tensor([2, 5]), torch.zeros(0, dtype=torch.int64), torch.tensor([0])]


@pytest.fixture(scope="module")
def theirs() -> nn.Module:
    """torchvision's model with random weights."""
    torch.manual_seed(0)
    # Without values at first: VGG's large linear layers, which SSD leaves out, would take seconds to fill.
    with torch.device("meta"):
        model = ssd300_vgg16(weights=None, weights_backbone=None, num_classes=7)
    model.to_empty(device="cpu")
    for value in model.parameters():
        nn.init.normal_(value, std=0.02)
    return model.eval()


@pytest.fixture(scope="module")
def ours(theirs: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Ssd:
    """The network here, from their checkpoint."""
    file = tmp_path_factory.mktemp("weights") / "ssd.pth"
    torch.save(theirs.state_dict(), file)
    spec = tiny_spec(*PAPER, f"model.backbone.pretrained_backbone_path={file}")
    network, notes = build_network(spec, list("abcdef"), (300, 300), pretrained=True)
    assert len(notes) == 1
    assert notes[0].startswith(f"all weights come from {file} (")
    # The file does not name its classes; here they are known to be the same.
    assert "new" not in load_torchvision(network, file, "ssd", keep_classes=True)
    assert isinstance(network, Ssd)
    return network.eval()


def test_it_says_what_torchvisions_says(theirs: nn.Module, ours: Ssd) -> None:
    pixels = torch.randint(0, 256, (1, 3, 300, 300), dtype=torch.uint8)
    with torch.no_grad():
        # Their own normalization; an image of the model's size is not resized.
        images, _ = theirs.transform([pixels[0] / 255])  # type: ignore[operator]
        maps = list(theirs.backbone(images.tensors).values())  # type: ignore[operator]
        expected = theirs.head(maps)  # type: ignore[operator]
        anchors = theirs.anchor_generator(ImageList(images.tensors, [(300, 300)]), maps)[0]  # type: ignore[operator]
        values = ours(pixels)
    assert len(anchors) == 8732
    torch.testing.assert_close(values[0], expected["cls_logits"], rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(values[1], expected["bbox_regression"], rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(values[2], anchors)
    boxes, scores = ours.decode(values)
    decoded = theirs.box_coder.decode_single(values[1][0], anchors)  # type: ignore[operator, union-attr]
    torch.testing.assert_close(boxes[0], decoded.clamp(0, 300))
    torch.testing.assert_close(scores, values[0].softmax(dim=2)[..., 1:])


def test_its_loss_is_torchvisions(theirs: nn.Module, ours: Ssd) -> None:
    """Hard negatives, images without objects among others, and a batch without any."""
    torch.manual_seed(1)
    places = [torch.zeros(side, side) for side in (38, 19, 10, 5, 3, 1)]
    anchors = theirs.anchor_generator(ImageList(torch.zeros(1, 3, 300, 300), [(300, 300)]), places)[0]  # type: ignore[operator]
    logits, regression = torch.randn(3, 8732, 7), torch.randn(3, 8732, 4)
    targets = [{"boxes": box, "labels": label + 1} for box, label in zip(BOXES, LABELS, strict=True)]
    matches = [
        theirs.proposal_matcher(iou_of_boxes(box, anchors)) if len(box) else torch.full((8732,), -1)  # type: ignore[operator]
        for box in BOXES
    ]
    given = {"cls_logits": logits, "bbox_regression": regression}
    expected = theirs.compute_loss(targets, given, [anchors] * 3, matches)  # type: ignore[operator]
    found = ours.losses([logits, regression, anchors], BOXES, LABELS, refine=False)
    assert found["loss_class"].item() == pytest.approx(expected["classification"].item(), rel=1e-5)
    assert found["loss_box"].item() == pytest.approx(expected["bbox_regression"].item(), rel=1e-5)
    nothing = ours.losses([logits, regression, anchors], [BOXES[1]] * 3, [LABELS[1]] * 3, refine=False)
    assert [value.item() for value in nothing.values()] == [0, 0]


def iou_of_boxes(boxes: Tensor, anchors: Tensor) -> Tensor:
    """Intersection over union, by torchvision."""
    from torchvision.ops import box_iou

    return box_iou(boxes, anchors)


def test_anchors_follow_scales_and_shapes() -> None:
    network, _ = build_network(tiny_spec(*TINY), ["a"], (64, 96), pretrained=False)
    with torch.no_grad():
        _, _, anchors, limits = network(torch.zeros(1, 3, 64, 96, dtype=torch.uint8))
    # 8 x 12, 4 x 6, 2 x 3 and 1 x 2 places; 4, 6, 4 and 4 boxes at each.
    assert len(anchors) == 96 * 4 + 24 * 6 + 6 * 4 + 2 * 4
    assert limits.tolist() == [96, 64, 96, 64]
    # At the first place, center (4, 4): a fifth of both sides, then twice as wide as high in that measure.
    assert anchors[0].tolist() == pytest.approx([4 - 9.6, 4 - 6.4, 4 + 9.6, 4 + 6.4])
    width, height = 0.2 * 2**0.5 * 96, 0.2 / 2**0.5 * 64
    assert anchors[2].tolist() == pytest.approx(
        [4 - width / 2, 4 - height / 2, 4 + width / 2, 4 + height / 2]
    )


def test_every_parameter_gets_a_gradient_without_objects() -> None:
    network, _ = build_network(tiny_spec(*TINY), ["a", "b"], (64, 96), pretrained=True)
    values = network(torch.randint(0, 256, (2, 3, 64, 96), dtype=torch.uint8))
    losses = network.losses(values, [BOXES[1]] * 2, [LABELS[1]] * 2, refine=False)
    torch.stack(list(losses.values())).sum().backward()
    assert [name for name, value in network.named_parameters() if value.grad is None] == []


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (("model.arch=ssd", "dataset.img_size=300"), r"dataset\.img_size.*multiple of 32"),
        ((*PAPER, "dataset.img_size=256"), r"dataset\.img_size.*too small.*300"),
        ((*PAPER, "model.ssd.scales=[0.1,0.2,0.3,0.4]"), r"model\.ssd\.scales.*6 maps"),
        (("model.ssd.scales=[0.3,0.2,0.4,0.5]",), r"model\.ssd\.scales.*rise"),
    ],
)
def test_what_does_not_fit_is_named(overrides: tuple[str, ...], words: str) -> None:
    with pytest.raises(SpecError, match=words):
        tiny_spec(*overrides)
