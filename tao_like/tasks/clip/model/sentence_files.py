"""A sentence model's sizes and weights, from the folder that the user brings."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tao_like.data.text.sentence_files import KEY, first_position, read_config
from tao_like.errors import SpecError
from tao_like.networks.weights.checkpoints import SOURCE_KEY, read_file, state_dicts
from tao_like.tasks.clip.model.sentence_tower import SentenceShape
from tao_like.tasks.clip.spec import TextEncoderSpec

KINDS = ("bert", "roberta", "xlm-roberta")
"""transformers' names of the models whose layers are BERT's."""
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
_ACTIVATIONS = {"gelu": "gelu", "gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh"}
_SIZES = {
    "width": "hidden_size",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "mlp_width": "intermediate_size",
    "vocabulary_size": "vocab_size",
}
_NAMES = (
    (r"^encoder\.layer\.", "blocks."),
    (r"\.attention\.output\.dense\.", ".attn.proj."),
    (r"\.attention\.output\.LayerNorm\.", ".norm1."),
    (r"\.intermediate\.dense\.", ".mlp.fc1."),
    (r"\.output\.dense\.", ".mlp.fc2."),
    (r"\.output\.LayerNorm\.", ".norm2."),
    (r"^embeddings\.word_embeddings\.", "token_embedding."),
    (r"^embeddings\.LayerNorm\.", "norm."),
)


def described(block: TextEncoderSpec) -> TextEncoderSpec:
    """The block with what the folder's files say, so that a bundle needs them no more.

    Raises:
        SpecError: there is no such folder, its network is of another kind, or the block says another size.
    """
    folder = Path(str(block.path))
    config = read_config(folder)
    if not config:
        raise SpecError(f"{KEY}={folder}: there is no folder with a config.json there")
    if config.get("model_type") not in KINDS or config.get("is_decoder"):
        raise SpecError(
            f"{KEY}={folder}: its config.json says model_type {config.get('model_type')}; encoders of the "
            f"kind {', '.join(KINDS)} can be text towers"
        )
    if config.get("position_embedding_type", "absolute") != "absolute":
        raise SpecError(f"{KEY}={folder}: its positions are relative, and only absolute ones are known here")
    act = config.get("hidden_act", "gelu")
    if act not in _ACTIVATIONS:
        raise SpecError(f"{KEY}={folder}: its activation is {act}; {', '.join(_ACTIVATIONS)} are known")
    found: dict[str, Any] = {
        **{ours: _size(config, theirs, folder) for ours, theirs in _SIZES.items()},
        "activation": _ACTIVATIONS[act],
        "epsilon": float(config.get("layer_norm_eps", 1e-12)),
        "pad_id": int(config.get("pad_token_id") or 0),
        "pooling": block.pooling or _pooling(folder),
    }
    for name, value in found.items():
        given = getattr(block, name)
        if given not in (None, value):
            raise SpecError(f"model.text_encoder.{name}={given}: {folder} has {value}; leave the key out")
    if found["width"] % found["heads"]:
        raise SpecError(f"{KEY}={folder}: {found['heads']} heads do not divide {found['width']} channels")
    return replace(block, **found)


def sentence_shape(block: TextEncoderSpec) -> SentenceShape:
    """The sizes that a block holds by now. Raises SpecError where one is empty."""
    values = {
        "vocabulary_size": block.vocabulary_size,
        "pad": block.pad_id,
        "width": block.width,
        "layers": block.layers,
        "heads": block.heads,
        "mlp_width": block.mlp_width,
        "activation": block.activation,
        "epsilon": block.epsilon,
        "pooling": block.pooling,
    }
    if empty := [name for name, value in values.items() if value is None]:
        raise SpecError(f"model.text_encoder: {', '.join(empty)} must be given, and its files say nothing")
    return SentenceShape(**values)  # type: ignore[arg-type]


def load_sentence(tower: Any, folder: Path) -> list[str]:
    """Fills a sentence tower from its folder.

    Returns:
        What to tell the user.

    Raises:
        SpecError: there are no weights, or they are others than config.json says.
        BundleError: they cannot be read, or would run code.
    """
    file = next((folder / name for name in _WEIGHTS if (folder / name).is_file()), None)
    if file is None:
        raise SpecError(f"{KEY}={folder} holds none of {', '.join(_WEIGHTS)}")
    try:
        content = read_file(file)
    except SpecError as error:
        raise SpecError(str(error).replace(SOURCE_KEY, KEY)) from error
    state = next(iter(state_dicts(content)), {})
    length = len(tower.positional_embedding)
    try:
        weights = _our_names(state, first_position(read_config(folder)), length)
    except (KeyError, IndexError) as error:
        raise SpecError(
            f"{KEY}={file}: these are no weights of such an encoder; {error} is not there"
        ) from error
    known = {name: value for name, value in tower.state_dict().items() if _is_models(name)}
    different = sorted(
        name
        for name in known.keys() | weights.keys()
        if name not in known or name not in weights or known[name].shape != weights[name].shape
    )
    if different:
        raise SpecError(
            f"{KEY}={file}: its weights are others than its config.json says: {', '.join(different[:4])}"
        )
    tower.load_state_dict(weights, strict=False)
    own = "its own embeddings" if tower.keeps_space else "a new layer behind it"
    return [f"the text tower is the sentence model of {folder}, with {own}"]


def _our_names(state: dict[str, Tensor], first: int, length: int) -> dict[str, Tensor]:
    """The encoder's weights under our names; the kind of token, always 0, is added to the positions."""
    prefix = next((p for p in ("bert.", "roberta.") if f"{p}embeddings.word_embeddings.weight" in state), "")
    inner = {
        name.removeprefix(prefix): value.float() for name, value in state.items() if name.startswith(prefix)
    }
    found: dict[str, Tensor] = {}
    for name, tensor in inner.items():
        if not name.startswith(("embeddings.word", "embeddings.LayerNorm", "encoder.")):
            continue  # the pooler, and heads of other tasks
        for pattern, replacement in _NAMES:
            name = re.sub(pattern, replacement, name)
        found[name.replace(".gamma", ".weight").replace(".beta", ".bias")] = tensor
    for name in [name for name in found if ".attention.self.query." in name]:
        parts = [found.pop(name.replace(".query.", f".{one}.")) for one in ("query", "key", "value")]
        found[name.replace(".attention.self.query.", ".attn.qkv.")] = torch.cat(parts)
    positions = inner["embeddings.position_embeddings.weight"][first : first + length]
    found["positional_embedding"] = positions + inner["embeddings.token_type_embeddings.weight"][0]
    return found


def _is_models(name: str) -> bool:
    return not name.startswith(("projection.", "logit_"))


def _size(config: dict[str, Any], name: str, folder: Path) -> int:
    value = config.get(name)
    if type(value) is not int or value < 1:
        raise SpecError(f"{KEY}={folder}: {name} of its config.json is {value}, and must be a number")
    return value


def _pooling(folder: Path) -> str:
    """As sentence-transformers writes it beside a model; the mean where nothing is said."""
    says = read_config(folder, "1_Pooling/config.json")
    wanted = {name for name, value in says.items() if name.startswith("pooling_mode_") and value is True}
    if wanted <= {"pooling_mode_mean_tokens"}:
        return "mean"
    if wanted == {"pooling_mode_cls_token"}:
        return "cls"
    raise SpecError(
        f"{KEY}={folder}: 1_Pooling/config.json says {', '.join(sorted(wanted))}; mean and cls are known"
    )
