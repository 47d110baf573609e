"""A new training that starts from the weights of a bundle."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from tao_like.bundle import read_bundle
from tao_like.contract.model import later_buffers, parts_of
from tao_like.errors import SpecError
from tao_like.runtime.generation.base import TEXT
from tao_like.runtime.inputs.text import TextPreprocessing
from tao_like.tasks.common.weights import shapes

KEY = "train.pretrained_model_path"


def load_weights(model: nn.Module, path: Path, text: TextPreprocessing) -> list[str]:
    """Fills a network from a bundle of the same one.

    Args:
        model: as the spec has it.
        path: the bundle.
        text: how captions become tokens here.

    Returns:
        What to tell the user.

    Raises:
        BundleError: the file is no bundle of text_to_image.
        SpecError: its network is another one, or its words are others.
    """
    bundle = read_bundle(path, expect_task="text_to_image")
    modules = parts_of(model)
    theirs = {name: shapes(part.weights) for name, part in bundle.parts.items()}
    later = {name: later_buffers(module) - theirs.get(name, {}).keys() for name, module in modules.items()}
    if theirs != {
        name: {key: shape for key, shape in shapes(module.state_dict()).items() if key not in later[name]}
        for name, module in modules.items()
    }:
        raise SpecError(
            f"{KEY}={path} holds another network than the model block describes, or one of another "
            "vocabulary; make them agree"
        )
    if bundle.preprocessing[TEXT] != text.to_dict():
        raise SpecError(
            f"{KEY}={path} was trained on other words than those of the training captions; train anew"
        )
    for name, module in modules.items():
        module.load_state_dict(bundle.parts[name].weights)
    return [f"all weights come from {path}"]
