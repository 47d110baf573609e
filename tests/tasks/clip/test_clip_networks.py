"""The towers: published sizes, other people's weights, the end of a text, what learns."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from onnx_towers import run_towers
from safetensors.torch import save_file
from torch import nn

from tao_like.errors import BundleError, SpecError
from tao_like.tasks.clip.model.build import Vocabulary, build_pair
from tao_like.tasks.clip.model.foreign import load_foreign
from tao_like.tasks.clip.model.pair import PairNetwork
from tao_like.tasks.clip.model.sentence_tower import SentenceShape, SentenceTower
from tao_like.tasks.clip.model.weights import load_vision
from tao_like.tasks.clip.presets import find_preset
from tao_like.tasks.clip.spec import ModelSpec, TextTowerSpec

PUBLISHED = {
    "RN50": (102_007_137, 38_316_896, 63_690_241),
    "RN101": (119_688_033, 56_259_936, 63_428_097),
    "RN50x4": (178_300_601, 87_137_080, 91_163_521),
    "RN50x16": (290_979_217, 167_328_912, 123_650_305),
    "RN50x64": (623_258_305, 420_380_352, 202_877_953),
    "ViT-B/32": (151_277_313, 87_849_216, 63_428_097),
    "ViT-B/16": (149_620_737, 86_192_640, 63_428_097),
    "ViT-L/14": (427_616_513, 303_966_208, 123_650_305),
    "ViT-L/14@336px": (427_944_193, 304_293_888, 123_650_305),
    "ViT-H-14": (986_109_441, 632_076_800, 354_032_641),
    "ViT-g-14": (1_366_678_273, 1_012_645_632, 354_032_641),
    "ViT-bigG-14": (2_539_567_105, 1_844_907_264, 694_659_841),
}
"""Parameters of open_clip's models: all, the image tower's, the text tower's with the scale."""
VOCABULARY, END, LENGTH = 120, 119, 10


def size(module: nn.Module) -> int:
    """Parameters."""
    return sum(parameter.numel() for parameter in module.parameters())


LARGE = ("RN50x16", "RN50x64", "ViT-H-14", "ViT-g-14", "ViT-bigG-14")
"""Seconds each, for their many layers."""


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.acceptance if name in LARGE else ()) for name in PUBLISHED]
)
def test_towers_have_the_published_sizes(name: str) -> None:
    with torch.device("meta"):
        network = build_pair(ModelSpec(type=name), "clip", Vocabulary(49408, 49407, 77))
    assert (size(network), size(network.image), size(network.text)) == PUBLISHED[name]


def small(
    activation: str | None = "quick_gelu", loss: str = "clip", **changes: Any
) -> tuple[ModelSpec, PairNetwork]:
    """A vision transformer of 32 channels and a text tower as wide."""
    values = {"type": "vit_tiny", "image_size": 16, "embed_dim": 24, **changes}
    spec = ModelSpec(activation=activation, text=TextTowerSpec(width=32, layers=2, heads=4), **values)
    torch.manual_seed(0)
    return spec, build_pair(spec, loss, Vocabulary(VOCABULARY, END, LENGTH)).eval()


@pytest.fixture(scope="module")
def theirs() -> Any:
    """A CLIP of transformers with random weights and the towers' sizes."""
    transformers = pytest.importorskip("transformers")
    common = {"hidden_act": "quick_gelu", "num_attention_heads": 4, "num_hidden_layers": 2}
    config = transformers.CLIPConfig(
        text_config={
            **common,
            "vocab_size": VOCABULARY,
            "hidden_size": 32,
            "intermediate_size": 128,
            "max_position_embeddings": LENGTH,
            "eos_token_id": END,
            "bos_token_id": END - 1,
            "pad_token_id": 0,
        },
        vision_config={
            **common,
            "num_hidden_layers": 3,
            "hidden_size": 96,
            "intermediate_size": 384,
            "image_size": 16,
            "patch_size": 8,
        },
        projection_dim=24,
    )
    torch.manual_seed(3)
    return transformers.CLIPModel(config).eval()


@pytest.fixture
def folder(theirs: Any, tmp_path: Path) -> Path:
    """As transformers stores it."""
    theirs.save_pretrained(tmp_path / "theirs")
    scaling = {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.5, 0.6, 0.7]}
    (tmp_path / "theirs" / "preprocessor_config.json").write_text(json.dumps(scaling))
    return tmp_path / "theirs"


def batch(count: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    """Pixels (N, 3, 16, 16), 0 to 255, and ids whose texts end at different places."""
    draw = torch.Generator().manual_seed(1)
    pixels = torch.randint(0, 256, (count, 3, 16, 16), generator=draw)
    ids = torch.randint(1, 100, (count, LENGTH), generator=draw)
    for row, end in enumerate((3, LENGTH - 1, 6)[:count]):
        ids[row, end], ids[row, end + 1 :] = END, 0
    return pixels, ids


def test_weights_of_transformers_give_its_logits_in_torch_and_onnx(
    theirs: Any, folder: Path, tmp_path: Path
) -> None:
    spec, network = small()
    notes = load_foreign(network, folder, spec)
    assert any("mean and std" in note for note in notes)
    pixels, ids = batch()
    mean, std = (torch.tensor(one).view(3, 1, 1) for one in ([0.1, 0.2, 0.3], [0.5, 0.6, 0.7]))
    with torch.no_grad():
        expected = theirs(input_ids=ids, pixel_values=(pixels / 255 - mean) / std)
        found = network(pixels, ids)
    logits = found.scale * found.image @ found.text.T
    assert torch.allclose(logits, expected.logits_per_image, atol=2e-5)
    image, text, scaling = run_towers(network, pixels, ids, tmp_path)
    assert np.allclose(scaling[0, 0] * image @ text.T, expected.logits_per_image.numpy(), atol=2e-5)


def test_a_file_under_openai_s_names_gives_the_same(theirs: Any, folder: Path, tmp_path: Path) -> None:
    """What ``openai_names`` writes is checked against transformers by way of the other test."""
    spec, first = small()
    load_foreign(first, folder, spec)
    save_file(openai_names(theirs.state_dict()), tmp_path / "openai.safetensors")
    _, second = small()
    notes = load_foreign(second, tmp_path / "openai.safetensors", spec)
    assert any("could confirm" in note for note in notes)
    second.image.normalise.load_state_dict(first.image.normalise.state_dict())
    for (name, one), other in zip(first.state_dict().items(), second.state_dict().values(), strict=True):
        assert one.equal(other), name


def openai_names(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A state of transformers' under the names of OpenAI's model.py, written out by hand."""
    named = {"logit_scale": state["logit_scale"]}
    named["visual.class_embedding"] = state["vision_model.embeddings.class_embedding"]
    named["visual.conv1.weight"] = state["vision_model.embeddings.patch_embedding.weight"]
    named["visual.positional_embedding"] = state["vision_model.embeddings.position_embedding.weight"]
    named["visual.proj"] = state["visual_projection.weight"].T
    named["token_embedding.weight"] = state["text_model.embeddings.token_embedding.weight"]
    named["positional_embedding"] = state["text_model.embeddings.position_embedding.weight"]
    named["text_projection"] = state["text_projection.weight"].T
    for end in ("weight", "bias"):
        named[f"visual.ln_pre.{end}"] = state[f"vision_model.pre_layrnorm.{end}"]
        named[f"visual.ln_post.{end}"] = state[f"vision_model.post_layernorm.{end}"]
        named[f"ln_final.{end}"] = state[f"text_model.final_layer_norm.{end}"]
        for tower, theirs, count in (("visual.", "vision", 3), ("", "text", 2)):
            for layer in range(count):
                ours = f"{tower}transformer.resblocks.{layer}"
                source = f"{theirs}_model.encoder.layers.{layer}"
                parts = [state[f"{source}.self_attn.{one}_proj.{end}"] for one in "qkv"]
                named[f"{ours}.attn.in_proj_{end}"] = torch.cat(parts)
                named[f"{ours}.attn.out_proj.{end}"] = state[f"{source}.self_attn.out_proj.{end}"]
                named[f"{ours}.ln_1.{end}"] = state[f"{source}.layer_norm1.{end}"]
                named[f"{ours}.ln_2.{end}"] = state[f"{source}.layer_norm2.{end}"]
                named[f"{ours}.mlp.c_fc.{end}"] = state[f"{source}.mlp.fc1.{end}"]
                named[f"{ours}.mlp.c_proj.{end}"] = state[f"{source}.mlp.fc2.{end}"]
    return {name: tensor.contiguous() for name, tensor in named.items()}


def test_another_activation_is_an_error_and_a_missing_one_is_not_guessed(
    theirs: Any, folder: Path, tmp_path: Path
) -> None:
    for activation in ("gelu", None):
        spec, network = small(activation)
        with pytest.raises(SpecError, match=r"trained with quick_gelu; give model\.activation=quick_gelu"):
            load_foreign(network, folder, spec)
    alone = tmp_path / "alone.safetensors"
    save_file(openai_names(theirs.state_dict()), alone)
    spec, network = small(None)
    with pytest.raises(SpecError, match=r"nothing beside the file.*give model\.activation"):
        load_foreign(network, alone, spec)


def test_other_towers_and_files_with_code_are_refused(folder: Path, tmp_path: Path) -> None:
    spec, network = small(embed_dim=16)
    with pytest.raises(SpecError, match=r"another image tower.*head\.weight"):
        load_foreign(network, folder, spec)
    spec, network = small()
    scripted = tmp_path / "scripted.pt"
    torch.jit.save(torch.jit.script(nn.Linear(2, 2)), str(scripted))
    with pytest.raises(BundleError, match=r"TorchScript archive.*holds code"):
        load_foreign(network, scripted, spec)
    with pytest.raises(SpecError, match=r"train\.pretrained_model_path.*no file"):
        load_foreign(network, tmp_path / "none.safetensors", spec)
    save_file({"weight": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(SpecError, match="no pair of towers"):
        load_foreign(network, tmp_path / "other.safetensors", spec)


def test_what_stands_behind_the_end_has_no_effect_and_the_first_end_counts() -> None:
    _, network = small()
    _, ids = batch()
    changed = ids.clone()
    changed[0, 4:] = torch.tensor([5, END, 7, 8, 9, 10])
    with torch.no_grad():
        assert torch.allclose(network.text(ids), network.text(changed), atol=1e-6)
        moved = ids.clone()
        moved[0, 1] = 101
        assert not torch.allclose(network.text(ids)[0], network.text(moved)[0], atol=1e-3)


@pytest.mark.parametrize("loss", ["clip", "siglip"])
def test_every_parameter_of_both_towers_learns(loss: str) -> None:
    from tao_like.tasks.clip.losses import LOSSES

    _, network = small(loss=loss)
    found = network.train()(*batch())
    LOSSES[loss](found, found, torch.eye(3)).backward()
    silent = [name for name, one in network.named_parameters() if one.grad is None or not one.grad.any()]
    assert silent == []
    assert (network.text.logit_bias is None) == (loss == "clip")


def test_any_backbone_of_timm_is_an_image_tower() -> None:
    spec = ModelSpec(type="test_resnet", image_size=32, embed_dim=12)
    network = build_pair(spec, "clip", Vocabulary(VOCABULARY, END, LENGTH)).eval()
    pixels, ids = torch.zeros(2, 3, 32, 32), batch(2)[1]
    found = network(pixels, ids)
    assert found.image.shape == found.text.shape == (2, 12)
    assert torch.allclose(found.image.norm(dim=1), torch.ones(2))
    with pytest.raises(SpecError, match="Did you mean ViT-B-32"):
        find_preset("ViT-B-33")


def test_an_image_tower_starts_from_weights_of_timm_but_for_its_last_layer(tmp_path: Path) -> None:
    import timm

    donor = timm.create_model("test_resnet", num_classes=12)
    file = tmp_path / "donor.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in donor.state_dict().items()}, file)
    spec = ModelSpec(type="test_resnet", image_size=32, embed_dim=12, pretrained_vision_path=str(file))
    network = build_pair(spec, "clip", Vocabulary(VOCABULARY, END, LENGTH))
    assert any("text tower are new" in note for note in load_vision(network, spec))
    ours, theirs = network.image.backbone.state_dict(), donor.state_dict()
    assert ours["layer1.0.conv1.weight"].equal(theirs["layer1.0.conv1.weight"])
    # A classifier of as many outputs knows nothing of directions.
    assert not ours["fc.weight"].equal(theirs["fc.weight"])
    spec.pretrained_vision_path = str(tmp_path / "none.pth")
    with pytest.raises(SpecError, match=r"model\.pretrained_vision_path.*no file"):
        load_vision(network, spec)


@pytest.mark.parametrize("kind", ["clip", "siglip", "mean", "cls"])
def test_a_text_tower_tells_what_each_token_has_become(kind: str) -> None:
    torch.manual_seed(2)
    _, ids = batch()
    if kind in ("clip", "siglip"):
        text = TextTowerSpec(width=32, layers=2, heads=4)
        name = "siglip_tiny" if kind == "siglip" else "vit_tiny"
        spec = ModelSpec(type=name, text=text)
        tower: Any = build_pair(spec, "clip", Vocabulary(VOCABULARY, END, LENGTH)).text.eval()
    else:
        shape = SentenceShape(VOCABULARY, 0, 32, 2, 4, 48, "gelu", 1e-12, kind)
        tower = SentenceTower(shape, LENGTH, 24, logit_scale=2.0, logit_bias=None).eval()
    with torch.no_grad():
        embedding, tokens = tower.with_tokens(ids)
        assert torch.equal(embedding, tower(ids))
        padding = tower.padding(ids)
        # The embedding is read out of the tokens, where it is one's alone.
        where = {"clip": [3, LENGTH - 1, 6], "siglip": [LENGTH - 1] * 3, "cls": [0] * 3}
        if kind == "mean":
            seen = (~padding).unsqueeze(-1)
            read = (tokens * seen).sum(dim=1) / seen.sum(dim=1)
        else:
            read = tokens[torch.arange(3), where[kind]]
        assert torch.allclose(tower.projection(read), embedding, atol=1e-6)
    assert tokens.shape == (3, LENGTH, 32)
    last = [LENGTH - 1] * 3 if kind == "siglip" else [3, LENGTH - 1, 6]
    assert padding.tolist() == [[place > end for place in range(LENGTH)] for end in last]
