"""Networks of segmentation: parameter counts of the papers and libraries, sizes, weights, exported graphs."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from tiny_segmentation import tiny_spec

from tao_like.contract.model import Prunable
from tao_like.errors import SpecError
from tao_like.networks import structure
from tao_like.networks.weights.offline import available_offline
from tao_like.stages.lib.cost import network_cost
from tao_like.stages.prune.criteria import magnitude, relative
from tao_like.stages.prune.proof import remove_proven
from tao_like.stages.prune.selection import MacsEstimate, Rules, choose, find_ratio
from tao_like.stages.prune.units import find_units
from tao_like.tasks.segmentation.model.adjusting import BinnedPool2d
from tao_like.tasks.segmentation.model.build import build_network, create_network
from tao_like.tasks.segmentation.model.pruning import protected_layers
from tao_like.tasks.segmentation.model.segmenter import Segmenter, SegmenterForExport
from tao_like.tasks.segmentation.spec_blocks.model import DECODERS, ModelSpec

# Counted with segmentation_models_pytorch 0.6.0 and, of SegFormer, with transformers 5.24, whose widths are
# the paper's.
COUNTS = {
    ("unet", "resnet18", 11): 14_329_659,
    ("unet", "resnet34", 1): 24_436_369,
    ("unet", "resnet34", 11): 24_437_819,
    ("unet", "resnet50", 11): 32_522_555,
    ("unet", "tf_efficientnet_lite0", 11): 5_199_611,
    ("unet", "mit_b0", 11): 5_550_939,
    ("unetplusplus", "resnet34", 1): 26_078_609,
    ("fpn", "resnet34", 1): 23_155_393,
    ("linknet", "resnet34", 1): 21_771_937,
    # Less 19,936,768 of the last two stages, which the library keeps and does not use; timm leaves them out.
    ("pspnet", "resnet34", 1): 21_437_985 - 19_936_768,
    ("pan", "resnet34", 1): 21_475_816,
    ("manet", "resnet34", 1): 31_783_633,
    ("deeplabv3", "resnet34", 1): 26_007_105,
    ("deeplabv3plus", "resnet34", 1): 22_437_457,
    ("upernet", "resnet34", 1): 29_599_681,
    ("segformer", "mit_b0", 19): 3_719_027,
    ("segformer", "mit_b0", 150): 3_752_694,
    ("segformer", "mit_b1", 19): 13_682_131,
    ("segformer", "mit_b2", 19): 27_361_235,
    ("segformer", "mit_b3", 19): 47_237_075,
    ("segformer", "mit_b4", 19): 64_007_635,
    ("segformer", "mit_b5", 150): 84_708_694,
}
SIZE = (64, 96)
# One with bins that are pooled, one with attention; `make acceptance` takes the others through too.
SAMPLE = ("unet", "pspnet", "segformer")
MARKED = [pytest.param(arch, marks=() if arch in SAMPLE else pytest.mark.acceptance) for arch in DECODERS]
OVER = [
    *((arch, "test_resnet") for arch in DECODERS),
    ("segformer", "mit_b0"),
]
MARKED_OVER = [
    pytest.param(arch, backbone, marks=() if arch in SAMPLE else pytest.mark.acceptance)
    for arch, backbone in OVER
]


def model_spec(arch: str, backbone: str) -> ModelSpec:
    spec: ModelSpec = tiny_spec(
        *(f"model.arch={arch}", f"model.backbone.type={backbone}", "model.decode_head.channels=[]"),
        *("dataset.img_size=128", "dataset.img_height=128"),
    ).model
    return spec


def small(arch: str, backbone: str = "test_resnet") -> Segmenter:
    """A network of three classes whose norms have settled on something."""
    torch.manual_seed(0)
    network = Segmenter(create_network(model_spec(arch, backbone), 3, SIZE), (0.5,) * 3, (0.5,) * 3)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return network.eval()


@pytest.mark.parametrize(("arch", "backbone", "num_classes"), COUNTS)
def test_parameters_are_as_many_as_elsewhere(
    arch: str, backbone: str, num_classes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # SegFormer's backbone reads numbers of a range, which tensors without content do not have.
    monkeypatch.setattr(torch, "linspace", partial(torch.linspace, device="cpu"))
    with torch.device("meta"):
        network = create_network(model_spec(arch, backbone), num_classes, (64, 64))
    assert sum(parameter.numel() for parameter in network.parameters()) == COUNTS[arch, backbone, num_classes]


@pytest.mark.parametrize("arch", DECODERS)
def test_every_network_keeps_the_size_and_trains_with_a_batch_of_one(arch: str) -> None:
    # PAN pools the features at stride 16 three times more.
    size = (128, 160) if arch == "pan" else SIZE
    network = small(arch).train()
    logits = network(torch.randint(0, 256, (1, 3, *size), dtype=torch.uint8))
    assert logits.shape == (1, 3, *size)
    logits.square().mean().backward()
    gradients = [parameter.grad for parameter in network.parameters()]
    assert all(gradient is None or bool(gradient.isfinite().all()) for gradient in gradients)
    assert sum(gradient is None for gradient in gradients) <= 4


@pytest.mark.parametrize("arch", MARKED)
def test_a_graph_of_any_size_gives_torch_s_probabilities(arch: str, tmp_path: Path) -> None:
    network = SegmenterForExport(small(arch), "uint8_nhwc", probabilities=True).eval()
    file = tmp_path / "model.onnx"
    first, second = ((128, 160), (192, 128)) if arch == "pan" else (SIZE, (128, 64))
    example = torch.randint(0, 256, (2, *first, 3), dtype=torch.uint8)
    axes = {"image": {0: "batch", 1: "height", 2: "width"}, "found": {0: "batch", 2: "height", 3: "width"}}
    torch.onnx.export(
        network, (example,), file, input_names=["image"], output_names=["found"], dynamic_axes=axes,
        opset_version=18, dynamo=False,
    )  # fmt: skip
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    draw = np.random.default_rng(0)
    for size in (first, second):
        for batch in (1, 3):
            pixels = draw.integers(0, 256, (batch, *size, 3), dtype=np.uint8)
            with torch.inference_mode():
                expected = network(torch.from_numpy(pixels)).numpy()
            (found,) = session.run(None, {"image": pixels})
            assert found.shape == (batch, 3, *size)
            assert np.abs(found - expected).max() < 1e-5


@pytest.mark.parametrize("size", [(12, 18), (7, 20), (5, 5)])
def test_bins_pool_as_torch_does_where_a_graph_is_written(
    size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(torch.onnx, "is_in_onnx_export", lambda: True)
    for bins in (2, 3, 6):
        expected = torch.nn.functional.adaptive_avg_pool2d(inputs, bins)
        torch.testing.assert_close(BinnedPool2d(bins)(inputs), expected)


@pytest.mark.parametrize(("arch", "backbone"), MARKED_OVER)
def test_every_network_is_pruned_to_half_and_comes_back_to_the_bit(arch: str, backbone: str) -> None:
    network = small(arch, backbone)
    pixels = torch.rand(1, 3, 128, 128, generator=torch.Generator().manual_seed(0)) * 255
    example = Prunable((pixels,), protected_layers(network))
    units = find_units(network, example, granularity=4)
    estimate = MacsEstimate(network, units, example.inputs)
    scores = relative(magnitude(units, 2))
    rules = Rules("global", 0.9, {unit.name: unit.size for unit in units})
    choice = find_ratio(0.5, estimate.total, estimate, lambda ratio: choose(units, scores, ratio, rules))
    assert remove_proven(network, units, choice, example.inputs) < 1e-4
    assert network_cost(network, example.inputs).macs / estimate.total == pytest.approx(0.5, abs=0.04)
    assert network.class_layer.out_channels == 3
    again = small(arch, backbone)
    structure.apply(again, structure.capture(network))
    again.load_state_dict(network.state_dict())
    with torch.no_grad():
        assert torch.equal(again(pixels), network(pixels))


def test_weights_of_a_classifier_fill_the_backbone() -> None:
    source = available_offline("tf_efficientnet_lite0")
    if source is None:
        pytest.skip("the package with the weights is not installed")
    words = ["model.backbone.type=tf_efficientnet_lite0", f"model.backbone.pretrained_backbone_path={source}"]
    network, notes = build_network(tiny_spec(*words), ["a", "b"], SIZE, pretrained=True)
    assert "100 %" in notes[0]
    assert network.normalise.mean.tolist() == [0.5] * 3
    from tao_like.networks.backbones.build import create_backbone
    from tao_like.networks.weights.loading import load_pretrained

    whole = create_backbone("tf_efficientnet_lite0", num_classes=0, img_size=SIZE)
    load_pretrained(whole, source, "tf_efficientnet_lite0")
    inputs = torch.rand(1, 3, *SIZE)
    with torch.no_grad():
        expected = whole.eval().forward_intermediates(inputs, intermediates_only=True)
        found = network.eval().backbone(inputs)
    for one, other in zip(expected, found[1:], strict=True):
        assert torch.equal(one, other)


def test_a_decoder_that_cannot_stand_over_a_backbone_is_named() -> None:
    for arch, backbone in (("unet", "vit_tiny_patch16_224"), ("deeplabv3", "swin_tiny_patch4_window7_224")):
        with pytest.raises(
            SpecError, match=rf"model\.backbone\.type.*{arch} cannot be built over {backbone}"
        ):
            create_network(model_spec(arch, backbone), 3, (224, 224))
    spec = tiny_spec(
        *("model.arch=segformer", "model.backbone.type=mit_b0", "model.decode_head.channels=[]"),
        "model.backbone.pretrained_backbone_path=x.pth",
    )
    with pytest.raises(SpecError, match=r"mit_b0: only weights of timm"):
        build_network(spec, ["a", "b"], SIZE, pretrained=True)
    built_for_one_size = tiny_spec(
        *("model.arch=upernet", "model.backbone.type=swin_tiny_patch4_window7_224"),
        *("model.decode_head.channels=[]", "dataset.augmentation.train_crop_size=[32, 32]"),
    )
    with pytest.raises(SpecError, match=r"train_crop_size.*is built for one size"):
        build_network(built_for_one_size, ["a", "b"], (224, 224), pretrained=False)
