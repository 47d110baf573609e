"""SigLIP's towers: published sizes, transformers' weights and logits, what the text tower sees."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from onnx_towers import run_towers
from safetensors.torch import save_file

from tao_like.errors import SpecError
from tao_like.tasks.clip.losses import LOSSES
from tao_like.tasks.clip.model.build import Vocabulary, build_pair
from tao_like.tasks.clip.model.foreign import load_foreign
from tao_like.tasks.clip.model.pair import PairNetwork
from tao_like.tasks.clip.spec import ModelSpec, TextTowerSpec

VOCABULARY, LENGTH = 120, 10
MIDDLE = ("ViT-B-16-SigLIP", "ViT-B-16-SigLIP-256")
LARGE = {
    "ViT-L-16-SigLIP-256": {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24},
    "ViT-SO400M-14-SigLIP": {"hidden_size": 1152, "intermediate_size": 4304, "num_hidden_layers": 27},
}


def small(loss: str = "siglip", **changes: Any) -> tuple[ModelSpec, PairNetwork]:
    """The tiny preset, two blocks of text."""
    text = TextTowerSpec(width=32, layers=2, heads=4)
    spec = ModelSpec(type="siglip_tiny", image_size=16, text=text, **changes)
    torch.manual_seed(0)
    return spec, build_pair(spec, loss, Vocabulary(VOCABULARY, 1, LENGTH)).eval()


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    """Pixels (3, 3, 16, 16), 0 to 255, and ids."""
    draw = torch.Generator().manual_seed(1)
    pixels = torch.randint(0, 256, (3, 3, 16, 16), generator=draw)
    return pixels, torch.randint(1, VOCABULARY, (3, LENGTH), generator=draw)


def siglip(text: dict[str, Any], vision: dict[str, Any]) -> Any:
    """A SigLIP of transformers with random weights."""
    transformers = pytest.importorskip("transformers")
    return transformers.SiglipModel(transformers.SiglipConfig(text_config=text, vision_config=vision))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """One with the towers' sizes, and as it is stored."""
    common = {"num_attention_heads": 4}
    text = {"hidden_size": 32, "intermediate_size": 128, "num_hidden_layers": 2, "projection_size": 96}
    text |= {"vocab_size": VOCABULARY, "max_position_embeddings": LENGTH, **common}
    vision = {"hidden_size": 96, "intermediate_size": 384, "num_hidden_layers": 3, **common}
    torch.manual_seed(3)
    theirs = siglip(text, {**vision, "image_size": 16, "patch_size": 8}).eval()
    with torch.no_grad():  # both start at 0, where a mistake would not show
        theirs.logit_scale.fill_(1.3)
        theirs.logit_bias.fill_(-2.0)
    path = tmp_path_factory.mktemp("siglip")
    theirs.save_pretrained(path)
    return theirs, path


def test_weights_of_transformers_give_its_logits_in_torch_and_onnx(
    folder: tuple[Any, Path], tmp_path: Path
) -> None:
    theirs, path = folder
    spec, network = small()
    load_foreign(network, path, spec)
    pixels, ids = batch()
    with torch.no_grad():
        expected = theirs(input_ids=ids, pixel_values=(pixels / 255 - 0.5) / 0.5).logits_per_image
        found = network(pixels, ids)
    logits = found.scale * found.image @ found.text.T + found.bias
    assert torch.allclose(logits, expected, atol=2e-5)
    image, text, scaling = run_towers(network, pixels, ids, tmp_path)
    assert np.allclose(scaling[0, 0] * image @ text.T + scaling[0, 1], expected.numpy(), atol=2e-5)


def test_a_file_under_open_clip_s_names_gives_the_same(tmp_path: Path) -> None:
    spec, written = small(activation="gelu")
    names = (("blocks.", "transformer.resblocks."), (".norm", ".ln_"), (".attn.qkv.", ".attn.in_proj_"))
    names += ((".attn.proj.", ".attn.out_proj."), (".mlp.fc1.", ".mlp.c_fc."), (".mlp.fc2.", ".mlp.c_proj."))
    state = {f"visual.trunk.{name}": tensor for name, tensor in written.image.backbone.state_dict().items()}
    for name, tensor in written.text.state_dict().items():
        if name.startswith("logit_"):
            state[name] = tensor
            continue
        for ours, theirs in (*names, ("projection.", "text_projection.")):
            name = name.replace(ours, theirs)
        state[f"text.{'ln_final' + name[4:] if name.startswith('norm') else name}"] = tensor
    save_file(
        {name: tensor.contiguous() for name, tensor in state.items()},
        tmp_path / "open_clip_model.safetensors",
    )
    config = {"model_cfg": {"embed_dim": 96}, "preprocess_cfg": {"mean": [0.4] * 3, "std": [0.3] * 3}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config), encoding="utf-8")
    torch.manual_seed(9)
    read = build_pair(spec, "siglip", Vocabulary(VOCABULARY, 1, LENGTH)).eval()
    notes = load_foreign(read, tmp_path, spec)
    assert any("mean and std are those of the files beside it" in note for note in notes)
    written.image.normalise.mean.fill_(0.4)
    written.image.normalise.std.fill_(0.3)
    with torch.no_grad():
        for mine, theirs_ in zip(read(*batch()), written(*batch()), strict=True):
            assert torch.allclose(mine, theirs_, atol=1e-6)


def test_another_activation_or_tower_is_refused(folder: tuple[Any, Path]) -> None:
    spec, network = small(activation="gelu")
    with pytest.raises(SpecError, match=r"trained with gelu_tanh; give model\.activation=gelu_tanh"):
        load_foreign(network, folder[1], spec)
    spec = ModelSpec(type="vit_tiny", activation="gelu_tanh")
    other = build_pair(spec, "clip", Vocabulary(VOCABULARY, 1, LENGTH))
    with pytest.raises(SpecError, match="another image tower"):
        load_foreign(other, folder[1], spec)
    with pytest.raises(SpecError, match=r"model\.embed_dim=24: the image tower of siglip_tiny"):
        small(embed_dim=24)


def test_the_text_is_read_at_its_last_place_and_tokens_see_all() -> None:
    _, network = small()
    _, ids = batch()
    changed = ids.clone()
    changed[0, -1] = ids[0, -1] % (VOCABULARY - 1) + 1
    changed[1, 0] = ids[1, 0] % (VOCABULARY - 1) + 1
    with torch.no_grad():
        before, after = network.text(ids), network.text(changed)
    assert [torch.allclose(*rows, atol=1e-4) for rows in zip(before, after, strict=True)] == [
        False,
        False,
        True,
    ]


def test_every_parameter_of_both_towers_learns() -> None:
    _, network = small()
    found = network.train()(*batch())
    LOSSES["siglip"](found, found, torch.eye(3)).backward()
    silent = [name for name, one in network.named_parameters() if one.grad is None or not one.grad.any()]
    assert silent == []


@pytest.mark.parametrize(
    "name",
    [
        "ViT-B-16-SigLIP",
        "ViT-B-16-SigLIP-256",
        *(pytest.param(n, marks=pytest.mark.acceptance) for n in LARGE),
    ],
)
def test_towers_have_the_sizes_of_transformers(name: str) -> None:
    sizes = LARGE.get(name, {})
    sizes = {**sizes, "num_attention_heads": 16} if sizes else {}
    side = 256 if name.endswith("256") else 224
    vision = {**sizes, "image_size": side, "patch_size": 14 if "14" in name else 16}
    with torch.device("meta"):
        theirs = siglip(sizes, vision)
        network = build_pair(ModelSpec(type=name), "siglip", Vocabulary(32000, 1, 64))
    count = [sum(one.numel() for one in model.parameters()) for model in (theirs, network)]
    assert count[0] == count[1]
    if name == "ViT-B-16-SigLIP":
        assert count[1] == 203_155_970  # as open_clip counts its own
