"""Weights of OpenAI's, open_clip's and transformers' CLIP, from a file that the user brings."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tao_like.errors import BundleError, SpecError
from tao_like.networks import _torchvision  # noqa: F401
from tao_like.networks.weights.checkpoints import SOURCE_KEY, read_file, state_dicts
from tao_like.tasks.clip.model.pair import PairNetwork
from tao_like.tasks.clip.model.siglip import is_siglip, siglip_weights
from tao_like.tasks.clip.presets import find_preset
from tao_like.tasks.clip.spec import ModelSpec

# isort: split
from timm.models import byobnet, vision_transformer

KEY = "train.pretrained_model_path"
_WEIGHTS = (
    "model.safetensors",
    "open_clip_model.safetensors",
    "pytorch_model.bin",
    "open_clip_pytorch_model.bin",
)
_CONFIGS = ("config.json", "open_clip_config.json")
_OUR_TEXT_NAMES = (
    ("transformer.resblocks.", "blocks."),
    ("ln_final.", "norm."),
    (".ln_1.", ".norm1."),
    (".ln_2.", ".norm2."),
    (".attn.in_proj_", ".attn.qkv."),
    (".attn.out_proj.", ".attn.proj."),
    (".mlp.c_fc.", ".mlp.fc1."),
    (".mlp.c_proj.", ".mlp.fc2."),
)
_TEXT_START = ("token_embedding.", "positional_embedding", "transformer.", "ln_final.", "text_projection")
_OPENAI_NAMES = (
    (r"^vision_model\.embeddings\.class_embedding$", "visual.class_embedding"),
    (r"^vision_model\.embeddings\.patch_embedding\.", "visual.conv1."),
    (r"^vision_model\.embeddings\.position_embedding\.weight$", "visual.positional_embedding"),
    (r"^vision_model\.pre_layrnorm\.", "visual.ln_pre."),
    (r"^vision_model\.post_layernorm\.", "visual.ln_post."),
    (r"^vision_model\.encoder\.layers\.", "visual.transformer.resblocks."),
    (r"^text_model\.embeddings\.token_embedding\.", "token_embedding."),
    (r"^text_model\.embeddings\.position_embedding\.weight$", "positional_embedding"),
    (r"^text_model\.final_layer_norm\.", "ln_final."),
    (r"^text_model\.encoder\.layers\.", "transformer.resblocks."),
    (r"\.layer_norm([12])\.", r".ln_\1."),
    (r"\.self_attn\.out_proj\.", ".attn.out_proj."),
    (r"\.mlp\.fc1\.", ".mlp.c_fc."),
    (r"\.mlp\.fc2\.", ".mlp.c_proj."),
)
"""transformers' names to OpenAI's."""


@dataclass(frozen=True)
class _Facts:
    """What the files beside the weights say of them; None where they do not."""

    activation: str | None = None
    mean: list[float] | None = None
    std: list[float] | None = None


def load_foreign(network: PairNetwork, path: Path, spec: ModelSpec) -> list[str]:
    """Fills both towers from a file of weights, or from a folder with one and its configuration.

    The activation is no weight, so it cannot be seen in them: it comes from the configuration beside the
    file, or from the spec, and is never guessed.

    Raises:
        SpecError: there is no such file, its activation is another one or is not known, or its towers are
            others than the spec's.
        BundleError: it cannot be read, or would run code.
    """
    file = _weights_file(path)
    facts = _facts(file.parent)
    notes = _check_activation(facts, spec, path)
    state = _read(file)
    if is_siglip(state):
        return [*_fill_siglip(network, state, path, spec), *notes, *_take_scaling(network, facts, spec)]
    state = _openai_names(state)
    if "logit_scale" not in state or not any(name.startswith("visual.") for name in state):
        raise SpecError(f"{KEY}={path} holds no pair of towers of CLIP: it lacks logit_scale or visual.*")
    _fill(network.image.backbone, _image_weights(network.image.backbone, state), "image", path, spec)
    _fill(network.text, _text_weights(network, state), "text", path, spec)
    return [f"both towers come from {path}", *notes, *_take_scaling(network, facts, spec)]


def _fill_siglip(network: PairNetwork, state: Mapping[str, Tensor], path: Path, spec: ModelSpec) -> list[str]:
    image, text = siglip_weights(state)
    if network.text.logit_bias is not None:
        text["logit_bias"] = state["logit_bias"].reshape(1)
    _fill(network.image.backbone, image, "image", path, spec)
    _fill(network.text, text, "text", path, spec)
    return [f"both towers come from {path}"]


def _take_scaling(network: PairNetwork, facts: _Facts, spec: ModelSpec) -> list[str]:
    """Gives the image tower the mean and std of the files beside the weights."""
    if facts.mean is None or facts.std is None or spec.mean is not None:
        return []
    network.image.normalise.mean.copy_(torch.tensor(facts.mean))
    network.image.normalise.std.copy_(torch.tensor(facts.std))
    return [f"mean and std are those of the files beside it: {facts.mean}, {facts.std}"]


def _weights_file(path: Path) -> Path:
    if path.is_dir():
        found = next((path / name for name in _WEIGHTS if (path / name).is_file()), None)
        if found is None:
            raise SpecError(f"{KEY}: {path} holds none of {', '.join(_WEIGHTS)}")
        return found
    return path


def _read(path: Path) -> dict[str, Tensor]:
    if path.is_file() and zipfile.is_zipfile(path) and path.suffix == ".pt":
        with zipfile.ZipFile(path) as archive:
            if any("/code/" in name for name in archive.namelist()):
                raise BundleError(
                    f"{KEY}={path} is a TorchScript archive, as OpenAI ships its models: it holds code, "
                    "which is not run here. Store its weights alone, where you trust it: "
                    "safetensors.torch.save_file({k: v.float().contiguous() for k, v in "
                    "torch.jit.load('ViT-B-32.pt', map_location='cpu').state_dict().items()}, "
                    "'ViT-B-32.safetensors')"
                )
    try:
        content = read_file(path)
    except SpecError as error:
        raise SpecError(str(error).replace(SOURCE_KEY, KEY)) from error
    readings = list(state_dicts(content))
    for state in readings:
        if "logit_scale" in state:
            return {
                name: tensor.float() if tensor.is_floating_point() else tensor
                for name, tensor in state.items()
            }
    return readings[0] if readings else {}


def _facts(folder: Path) -> _Facts:
    """What transformers' or open_clip's configuration says."""
    config = _json(folder / "config.json")
    if "vision_config" in config:
        usual = "gelu_pytorch_tanh" if "siglip" in str(config.get("model_type")) else "quick_gelu"
        acts = {
            _mapping(config.get(name)).get("hidden_act", usual) for name in ("vision_config", "text_config")
        }
        acts = {"gelu_tanh" if act == "gelu_pytorch_tanh" else act for act in acts}
        activation = str(acts.pop()) if len(acts) == 1 else ", ".join(map(str, sorted(acts)))
        scaling = _json(folder / "preprocessor_config.json")
        return _Facts(activation, scaling.get("image_mean"), scaling.get("image_std"))
    config = _json(folder / "open_clip_config.json")
    if "model_cfg" in config:
        quick = _mapping(config["model_cfg"]).get("quick_gelu", False)
        scaling = _mapping(config.get("preprocess_cfg"))
        return _Facts("quick_gelu" if quick else "gelu", scaling.get("mean"), scaling.get("std"))
    return _Facts()


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        return _mapping(json.loads(path.read_text("utf-8")))
    except (ValueError, RecursionError, OSError) as error:
        raise BundleError(f"{path} cannot be read as JSON: {error}") from error


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _check_activation(facts: _Facts, spec: ModelSpec, path: Path) -> list[str]:
    wanted = spec.activation
    if facts.activation is None:
        if wanted is None:
            raise SpecError(
                f"{KEY}={path}: nothing beside the file ({' or '.join(_CONFIGS)}) says which activation it "
                "was trained with, and with another one its predictions are silently worse; give "
                "model.activation=quick_gelu (OpenAI's weights and those converted from them) or gelu"
            )
        return [f"the activation is {wanted}, as the spec says; nothing beside the file could confirm it"]
    chosen = wanted or find_preset(spec.type).activation
    if facts.activation != chosen:
        raise SpecError(
            f"model.activation is {chosen}, and {path} was trained with {facts.activation}; give "
            f"model.activation={facts.activation}"
        )
    return []


def _openai_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights under OpenAI's names, from theirs, open_clip's or transformers'."""
    if not any(name.startswith("text_model.") for name in state):
        # open_clip keeps some text towers in a module of their own.
        return {re.sub(r"^text\.", "", name): tensor for name, tensor in state.items()}
    named: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if name.endswith("position_ids"):
            continue
        if name in ("visual_projection.weight", "text_projection.weight"):
            named["visual.proj" if name.startswith("visual") else "text_projection"] = tensor.T
            continue
        for pattern, replacement in _OPENAI_NAMES:
            name = re.sub(pattern, replacement, name)
        named[name] = tensor
    for name in [name for name in named if ".self_attn.q_proj." in name]:
        parts = [named.pop(name.replace(".q_proj.", f".{one}_proj.")) for one in "qkv"]
        named[name.replace(".self_attn.q_proj.", ".attn.in_proj_")] = torch.cat(parts)
    return named


def _image_weights(backbone: nn.Module, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The image tower's weights under timm's names."""
    if isinstance(backbone, vision_transformer.VisionTransformer):
        found = vision_transformer.checkpoint_filter_fn(dict(state), backbone)
    elif isinstance(backbone, byobnet.ByobNet):
        found = byobnet.checkpoint_filter_fn(dict(state), backbone)
    else:
        prefix = "visual.trunk."
        found = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    known = backbone.state_dict()
    # timm's head has a bias that the original's projection lacks, and counters are missing in old files.
    weights = {name: value for name, value in found.items() if name != "head.bias" or name in known}
    counters = {name: value for name, value in known.items() if name.endswith("num_batches_tracked")}
    return {**counters, **weights}


def _text_weights(network: PairNetwork, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The text tower's weights under our names."""
    weights: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if not name.startswith(_TEXT_START):
            continue
        if name in ("text_projection", "text_projection.weight"):
            weights["projection.weight"] = tensor.T if name == "text_projection" else tensor
            continue
        if name == "text_projection.bias":
            weights["projection.bias"] = tensor
            continue
        for theirs, ours in _OUR_TEXT_NAMES:
            name = name.replace(theirs, ours)
        weights[name] = tensor
    weights["logit_scale"] = state["logit_scale"].reshape(1)
    if network.text.logit_bias is not None:
        bias = state.get("logit_bias")
        weights["logit_bias"] = network.text.logit_bias.detach() if bias is None else bias.reshape(1)
    return weights


def _fill(module: nn.Module, weights: Mapping[str, Tensor], tower: str, path: Path, spec: ModelSpec) -> None:
    """Loads weights of exactly the module's names and shapes. Raises SpecError."""
    known = module.state_dict()
    lacking = [name for name in known if name not in weights]
    other = [name for name in weights if name not in known]
    shapes = [
        f"{name} is {tuple(weights[name].shape)} there and {tuple(known[name].shape)} here"
        for name in known
        if name in weights and weights[name].shape != known[name].shape
    ]
    if lacking or other or shapes:
        told = [
            *shapes,
            *(f"{name} is not there" for name in lacking),
            *(f"{name} is not here" for name in other),
        ]
        raise SpecError(
            f"{KEY}={path} has another {tower} tower than model.type={spec.type} with the tokenizer of "
            f"model.tokenizer (type {spec.tokenizer.type}): {'; '.join(told[:4])}. CLIP's own weights go "
            "with CLIP's own vocabulary: model.tokenizer.type=file and its path"
        )
    module.load_state_dict(dict(weights))
