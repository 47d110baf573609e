"""What `init` suggests where the user names another network beside it."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from sample_images import write_class_folders

from tao_like.config import load_spec
from tao_like.config.writing.annotated import AnnotatedValue
from tao_like.tasks.classification import init as classification
from tao_like.tasks.classification.spec import Spec
from tao_like.tasks.clip import init as clip
from tao_like.tasks.clip.spec import Spec as ClipSpec
from tao_like.tasks.common.suggested import backbone
from tao_like.tasks.common.weights import random_start

USUAL = AnnotatedValue("model.backbone.type", "tf_efficientnet_lite0", "why")


@pytest.mark.parametrize(
    ("words", "weights"),
    [
        (["model.backbone.type=resnet18", "model.backbone.type='test_resnet'"], ["timm"]),
        (["model.backbone.type=ecaresnet200d"], []),
        (["model.backbone.type=byom"], []),
        (["model.backbone.type=mit_b0"], []),
    ],
)
def test_weights_are_those_of_the_backbone_that_is_asked_for(
    words: list[str], weights: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    found = list(backbone(words, USUAL))
    assert found[0] == USUAL
    assert [one.value for one in found[1:]] == weights


def test_nothing_is_frozen_that_starts_at_random(tmp_path: Path) -> None:
    write_class_folders(tmp_path / "data", {"train": 12, "val": 6, "test": 6})
    frozen = {}
    for name in ("tf_efficientnet_lite0", "ecaresnet200d"):
        target = tmp_path / f"{name}.yaml"
        classification.write_spec(tmp_path / "data", target, [f"model.backbone.type={name}"], force=False)
        network = load_spec(Spec, target).spec.model.backbone
        frozen[network.type] = network.freeze_backbone
    assert frozen == {"tf_efficientnet_lite0": True, "ecaresnet200d": False}
    assert "model.backbone.freeze_backbone=false" in random_start(is_frozen=True)
    assert "freeze" not in random_start(is_frozen=False)


def test_a_pair_of_towers_that_is_asked_for_keeps_its_own_size(tmp_path: Path) -> None:
    for number in range(4):
        Image.new("RGB", (100, 100), (60 * number, 0, 0)).save(tmp_path / f"{number}.png")
        (tmp_path / f"{number}.txt").write_text(f"number {number}")
    clip.write_spec(tmp_path, tmp_path / "spec.yaml", ["model.type=ViT-B-32"], force=False)
    model = load_spec(ClipSpec, tmp_path / "spec.yaml").spec.model
    assert (model.type, model.image_size, model.pretrained_vision_path) == ("ViT-B-32", None, None)
