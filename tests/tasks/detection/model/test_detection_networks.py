"""The networks of detection: sizes, strides, published names, and forms that ship."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from tiny_detection import tiny_spec
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from tao_like.errors import BundleError, SpecError
from tao_like.runtime.predictions.boxes import MEANINGS, Selection, read_detections
from tao_like.tasks.detection.model.build import build_network
from tao_like.tasks.detection.model.for_export import suppressed
from tao_like.tasks.detection.model.yolox.detector import YoloxDetector, yolox
from tao_like.tasks.detection.model.yolox.predictions import Predictions
from tao_like.tasks.detection.model.yolox.published import load_published, own_name

# Million parameters, as the paper and the published tables have them (with 80 classes).
PUBLISHED = {"nano": 0.91, "tiny": 5.06, "s": 9.0, "m": 25.3, "l": 54.2, "x": 99.1}


@pytest.mark.parametrize("size", sorted(PUBLISHED))
def test_a_size_has_the_published_number_of_parameters(size: str) -> None:
    with torch.device("meta"):
        network = yolox(size, 80)
    count = sum(parameter.numel() for parameter in network.parameters()) / 1e6
    assert count == pytest.approx(PUBLISHED[size], rel=0.006)


@pytest.mark.parametrize(("size", "side", "published"), [("s", 640, 26.8), ("nano", 416, 1.08)])
def test_a_size_has_the_published_arithmetic(size: str, side: int, published: float) -> None:
    with torch.device("meta"):
        network = yolox(size, 80).eval()
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            network(torch.zeros(1, 3, side, side))
    # The published figure counts norm layers too: half a percent, more in nano's many small layers.
    assert counter.get_total_flops() / 1e9 == pytest.approx(published, rel=0.04)


def published_names(depth: int, *, depthwise: bool) -> Iterator[str]:
    """Names of the tensors in a published checkpoint, by the rules of that project."""

    def conv(name: str) -> Iterator[str]:
        yield f"{name}.conv.weight"
        for part in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
            yield f"{name}.bn.{part}"

    def spatial(name: str) -> Iterator[str]:
        for part in (f"{name}.dconv", f"{name}.pconv") if depthwise else (name,):
            yield from conv(part)

    def csp(name: str, count: int) -> Iterator[str]:
        for number in (1, 2, 3):
            yield from conv(f"{name}.conv{number}")
        for number in range(count):
            yield from conv(f"{name}.m.{number}.conv1")
            yield from spatial(f"{name}.m.{number}.conv2")

    body = "backbone.backbone"
    yield from conv(f"{body}.stem.conv")
    for stage, count in ((2, depth), (3, 3 * depth), (4, 3 * depth)):
        yield from spatial(f"{body}.dark{stage}.0")
        yield from csp(f"{body}.dark{stage}.1", count)
    yield from spatial(f"{body}.dark5.0")
    yield from conv(f"{body}.dark5.1.conv1")
    yield from conv(f"{body}.dark5.1.conv2")
    yield from csp(f"{body}.dark5.2", depth)
    for name in ("lateral_conv0", "reduce_conv1"):
        yield from conv(f"backbone.{name}")
    for name in ("bu_conv1", "bu_conv2"):
        yield from spatial(f"backbone.{name}")
    for name in ("C3_p4", "C3_p3", "C3_n3", "C3_n4"):
        yield from csp(f"backbone.{name}", depth)
    for level in range(3):
        yield from conv(f"head.stems.{level}")
        for branch in ("cls", "reg"):
            for number in range(2):
                yield from spatial(f"head.{branch}_convs.{level}.{number}")
        for part in ("cls", "reg", "obj"):
            yield from (f"head.{part}_preds.{level}.{kind}" for kind in ("weight", "bias"))


@pytest.mark.parametrize(("size", "depth"), [("nano", 1), ("s", 1), ("m", 2), ("l", 3)])
def test_every_published_name_has_its_place(size: str, depth: int) -> None:
    with torch.device("meta"):
        own = {name for name in yolox(size, 80).state_dict() if not name.startswith("normalise.")}
    names = list(published_names(depth, depthwise=size == "nano"))
    assert sorted(own_name(name) for name in names) == sorted(own)


def published_checkpoint(network: YoloxDetector, path: Path) -> dict[str, Tensor]:
    """Writes a network under the published names, and gives what it wrote."""
    own = network.state_dict()
    names = list(published_names(1, depthwise=False))
    tensors = {name: torch.randn(own[own_name(name)].shape).to(own[own_name(name)].dtype) for name in names}
    torch.save({"model": tensors, "start_epoch": 300}, path)
    return tensors


def test_a_published_checkpoint_loads_and_sees_the_same_colors(tmp_path: Path) -> None:
    network = yolox("tiny", 80)
    tensors = published_checkpoint(network, tmp_path / "yolox.pth")
    assert "all weights" in load_published(network, tmp_path / "yolox.pth", keep_classes=True)
    state = network.state_dict()
    assert state["neck.up_middle.join.conv.weight"].equal(tensors["backbone.C3_n3.conv3.conv.weight"])
    assert state["head.class_outputs.2.bias"].equal(tensors["head.cls_preds.2.bias"])
    # Blue, green, red of four pixels there; red, green, blue here.
    image = torch.rand(1, 3, 8, 8)
    corners = [image.flip(1)[..., row::2, column::2] for column in (0, 1) for row in (0, 1)]
    theirs = torch.conv2d(
        torch.cat(corners, dim=1), tensors["backbone.backbone.stem.conv.conv.weight"], padding=1
    )
    stem = network.backbone.stem.conv.conv  # type: ignore[union-attr]
    ours = stem(torch.cat([image[..., row::2, column::2] for column in (0, 1) for row in (0, 1)], dim=1))  # type: ignore[operator]
    assert ours.allclose(theirs, atol=1e-4)


def test_the_layer_that_tells_classes_is_new_where_the_classes_differ(tmp_path: Path) -> None:
    published_checkpoint(yolox("tiny", 80), tmp_path / "yolox.pth")
    network = yolox("tiny", 3)
    before = network.state_dict()["head.class_outputs.0.weight"].clone()
    assert "new" in load_published(network, tmp_path / "yolox.pth")
    assert network.state_dict()["head.class_outputs.0.weight"].equal(before)


def test_a_checkpoint_with_more_than_the_network_is_refused(tmp_path: Path) -> None:
    tensors = published_checkpoint(yolox("tiny", 80), tmp_path / "yolox.pth")
    torch.save({"model": {**tensors, "head.mask_preds.0.weight": torch.zeros(1)}}, tmp_path / "more.pth")
    with pytest.raises(BundleError, match="names"):
        load_published(yolox("tiny", 80), tmp_path / "more.pth")


def test_a_checkpoint_of_another_size_is_refused(tmp_path: Path) -> None:
    published_checkpoint(yolox("tiny", 80), tmp_path / "yolox.pth")
    for size, words in (("s", "shape"), ("m", "names")):
        with pytest.raises(BundleError, match=rf"{words}.*model\.backbone\.type"):
            load_published(yolox(size, 80), tmp_path / "yolox.pth")


FAMILIES = (
    "test_resnet",
    "tf_efficientnet_lite0",
    "resnet18",
    "mobilenetv3_small_050",
    "convnext_atto",
    "cspresnet50",
    "vit_tiny_patch16_224",
)


@pytest.mark.parametrize("name", FAMILIES)
def test_any_backbone_gives_maps_at_three_strides(name: str) -> None:
    spec = tiny_spec(f"model.backbone.type={name}", "dataset.img_size=96", "dataset.img_height=64")
    network, notes = build_network(spec, ["a", "b"], (64, 96), pretrained=True)
    assert "random" in notes[0]
    maps = network.eval()(torch.randint(0, 256, (2, 3, 64, 96), dtype=torch.uint8))
    assert [tuple(each.shape) for each in maps] == [(2, 7, 8, 12), (2, 7, 4, 6), (2, 7, 2, 3)]
    sum(each.sum() for each in maps).backward()  # type: ignore[union-attr]
    unused = [key for key, value in network.named_parameters() if value.grad is None]
    assert unused == []


def test_a_backbone_without_such_features_is_refused() -> None:
    spec = tiny_spec("model.backbone.type=mixer_s32_224")
    with pytest.raises(SpecError, match=r"model\.backbone\.type"):
        build_network(spec, ["a"], (224, 224), pretrained=False)


def test_decoding_is_the_inverse_of_encoding() -> None:
    maps = [torch.randn(1, 6, 64 // stride, 96 // stride) for stride in (8, 16, 32)]
    predictions = Predictions.of(maps, (8, 16, 32))
    places = torch.tensor([0, 5, 40, 100, 125])
    boxes = predictions.corners()[0, places]
    assert predictions.encode(boxes, places).allclose(predictions.raw_boxes[0, places], atol=1e-4)
    # The place in row 1, column 2 of the middle map, whose center and size are told as zero.
    middle = torch.zeros(1, 6, 4, 6)
    of_middle = Predictions.of([maps[0] * 0, middle, maps[2] * 0], (8, 16, 32))
    assert of_middle.corners()[0, 96 + 1 * 6 + 2].tolist() == [2 * 16 - 8, 16 - 8, 2 * 16 + 8, 16 + 8]


def test_suppression_in_torch_gives_what_the_runtime_makes_of_all_boxes() -> None:
    torch.manual_seed(0)
    corners = torch.rand(3, 200, 2) * 60
    boxes = torch.cat([corners, corners + torch.rand(3, 200, 2) * 40], dim=2)
    scores = torch.rand(3, 200, 4) ** 3
    scores[1] = 0
    selection = Selection(score_threshold=0.2, iou_threshold=0.5, limit=25, candidates=150)
    final = {
        meaning: value.numpy()
        for meaning, value in zip(MEANINGS.final.values(), suppressed(boxes, scores, selection), strict=True)
    }
    raw = {"all_boxes_xyxy": boxes.numpy(), "all_box_scores": scores.numpy()}
    for one, other in zip(read_detections(final, selection), read_detections(raw, selection), strict=True):
        assert one.scores.tolist() == other.scores.tolist()
        assert one.labels.tolist() == other.labels.tolist()
        assert one.boxes.tolist() == other.boxes.tolist()
    assert len(read_detections(final, selection)[1]) == 0
