"""Families of backbones through the stages, and where they looked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sample_images import write_class_folders
from stage_runs import assert_rows_agree, csv_rows
from tiny_classification import data_overrides, run, tiny_spec

from tao_like.contract.capabilities import Explains
from tao_like.contract.inputs import preprocess
from tao_like.networks import _torchvision  # noqa: F401
from tao_like.plots.cards import overlay_heatmap
from tao_like.tasks import task_class

# isort: split
from timm.models import swin_transformer, vgg

FAMILIES = {
    "ResNet": ("test_resnet", 32),
    "VGG": ("vgg11", 32),
    "EfficientNet": ("test_efficientnet", 32),
    "MobileNet": ("mobilenetv3_small_050", 32),
    "ConvNeXt": ("test_convnext", 32),
    "ViT": ("test_vit", 32),
    "Swin": ("swin_tiny_patch4_window7_224", 56),
    "DarkNet": ("darknet17", 64),
}
# The first linear layer of VGG has a hundred million weights; what the others have, some of the rest have.
LEFT = ("VGG", "Swin", "DarkNet")
TRAINED = [
    pytest.param(family, marks=pytest.mark.acceptance if family in LEFT else ()) for family in FAMILIES
]


@pytest.fixture(scope="module")
def few_images(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Overrides that name a few images of each split."""
    folder = tmp_path_factory.mktemp("few")
    return data_overrides(write_class_folders(folder, {"train": 2, "val": 1, "test": 1}))


@pytest.fixture
def thin_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """VGG and Swin with some of their channels: as they are they have 130 and 28 million values."""
    make_swin = swin_transformer._create_swin_transformer
    channels = [8, "M", 16, "M", 16, 16, "M", 32, 32, "M", 32, 32, "M"]
    monkeypatch.setitem(vgg.cfgs, "vgg11", channels)
    thin = {"embed_dim": 24, "depths": (2, 2, 2, 2)}
    monkeypatch.setattr(
        swin_transformer,
        "_create_swin_transformer",
        lambda *given, **more: make_swin(*given, **{**more, **thin}),
    )


@pytest.mark.usefixtures("thin_networks")
@pytest.mark.parametrize("family", TRAINED)
def test_a_family_trains_exports_and_answers_alike(
    family: str, few_images: list[str], tmp_path: Path
) -> None:
    backbone, side = FAMILIES[family]
    settings = [f"model.backbone.type={backbone}", f"dataset.img_size={side}", "train.keep=last"]
    sgd = ["train.optim.optim=sgd", "train.max_steps=1", "dataset.batch_size=3"]
    trained = run("train", tmp_path, *few_images, *settings, *sgd)
    assert trained.metrics["accuracy"] >= 0
    exported = run("export", tmp_path, *few_images, *settings)
    rows = csv_rows(run("evaluate", tmp_path, *few_images, *settings).predictions)
    onnx = f"evaluate.checkpoint={exported.onnx_file}"
    assert_rows_agree(csv_rows(run("evaluate", tmp_path, *few_images, *settings, onnx).predictions), rows)
    assert len({row["p_red"] for row in rows}) > 1


def network_of(backbone: str, side: int, class_folders: Path) -> tuple[Any, Any]:
    """A network with random weights, head included, and its task."""
    settings = [f"model.backbone.type={backbone}", f"dataset.img_size={side}"]
    task = task_class("classification")(tiny_spec(*data_overrides(class_folders), *settings))
    torch.manual_seed(0)
    return task.model(pretrained=False)[0].eval(), task


def preprocessed_images(task: Any, count: int) -> dict[str, np.ndarray]:
    """The first test images as the network takes them."""
    dataset = task.data.dataset("test")
    return preprocess(task.inputs, [dataset.sample(index) for index in range(count)])


@pytest.mark.usefixtures("thin_networks")
@pytest.mark.parametrize(
    ("backbone", "side", "grid"),
    [
        ("test_resnet", 64, 2),
        ("test_convnext", 64, 2),
        ("test_vit", 64, 4),
        ("swin_tiny_patch4_window7_224", 56, 2),
    ],
)
def test_maps_show_places_of_the_image(backbone: str, side: int, grid: int, class_folders: Path) -> None:
    network, task = network_of(backbone, side, class_folders)
    maps = task.capability(Explains).explain(network, preprocessed_images(task, 3))
    assert [heatmap.shape for heatmap in maps] == [(grid, grid)] * 3
    for heatmap in maps:
        assert 0 <= heatmap.min() <= heatmap.max() <= 1 + 1e-6
    assert max(heatmap.max() for heatmap in maps) == pytest.approx(1)
    assert all(parameter.grad is None for parameter in network.parameters())


def test_the_map_of_a_pooled_network_is_its_class_activation_map(class_folders: Path) -> None:
    """With global average pooling and one linear layer, Grad-CAM is CAM (Zhou et al. 2016): the layer's
    weights of the class, applied at each place."""
    network, task = network_of("test_resnet", 96, class_folders)
    pixels = preprocessed_images(task, 4)
    heatmaps = task.capability(Explains).explain(network, pixels)
    with torch.no_grad():
        inputs = network.normalise(torch.from_numpy(pixels["image"]).permute(0, 3, 1, 2))
        features = network.backbone.forward_features(inputs)
        classes = network.backbone(inputs).argmax(dim=1)
    for heatmap, maps, number in zip(heatmaps, features, classes, strict=True):
        expected = torch.einsum("c,chw->hw", network.backbone.fc.weight[number], maps).clamp(min=0).detach()
        np.testing.assert_allclose(heatmap, expected / expected.max().clamp(min=1e-12), atol=1e-4)


@pytest.mark.parametrize("backbone", ["test_resnet", "test_vit"])
def test_inference_draws_where_the_network_looked(
    backbone: str, few_images: list[str], tmp_path: Path
) -> None:
    settings = [f"model.backbone.type={backbone}", "train.max_steps=1"]
    run("train", tmp_path, *few_images, *settings)
    plain = run(
        "inference", tmp_path / "plain", *few_images, f"inference.checkpoint={tmp_path}/train/model.tltb"
    )
    explained = run("inference", tmp_path, *few_images, "inference.explain=true")
    names = sorted(path.name for path in (explained.folder / "pictures").iterdir())
    assert names == sorted(path.name for path in (plain.folder / "pictures").iterdir())
    assert explained.rows == plain.rows
    images = [folder.folder / "pictures" / names[0] for folder in (plain, explained)]
    assert images[0].read_bytes() != images[1].read_bytes()


def test_a_heat_map_leaves_what_was_looked_at_and_darkens_the_rest() -> None:
    image = Image.new("RGB", (20, 20), (200, 200, 200))
    heatmap = np.zeros((4, 4))
    heatmap[:, 2:] = 1
    pixels = np.asarray(overlay_heatmap(image, heatmap)).astype(int)
    assert pixels[10, 18].tolist() == [200, 200, 200]
    assert pixels[10, 1].sum() < 300
