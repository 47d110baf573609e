"""Weights to start from: a bundle of this task, or a file of somebody else's CLIP."""

from __future__ import annotations

from pathlib import Path

import torch

from tao_like.bundle import read_bundle
from tao_like.errors import SpecError
from tao_like.networks.weights.checkpoints import BUNDLE_SUFFIX, SOURCE_KEY
from tao_like.networks.weights.loading import load_pretrained
from tao_like.tasks.clip.model.foreign import load_foreign
from tao_like.tasks.clip.model.pair import PairNetwork
from tao_like.tasks.clip.presets import find_preset
from tao_like.tasks.clip.spec import ModelSpec
from tao_like.tasks.common.weights import fill

KEY = "train.pretrained_model_path"


def load_vision(network: PairNetwork, spec: ModelSpec) -> list[str]:
    """Fills the image tower, all but its last layer, with the weights that the spec names.

    Returns:
        What to tell the user.

    Raises:
        SpecError, BundleError: there are none, or they do not fit.
    """
    assert spec.pretrained_vision_path is not None
    preset = find_preset(spec.type)
    try:
        report = load_pretrained(network.image.backbone, spec.pretrained_vision_path, preset.image, [])
    except SpecError as error:
        raise SpecError(str(error).replace(SOURCE_KEY, "model.pretrained_vision_path")) from error
    scaling = report.normalization
    if scaling is not None and spec.mean is None:
        network.image.normalise.mean.copy_(torch.tensor(scaling.mean))
        network.image.normalise.std.copy_(torch.tensor(scaling.std))
    return [report.text(), "the image tower's last layer and the text tower are new"]


def load_start(network: PairNetwork, path: Path, spec: ModelSpec) -> list[str]:
    """Fills the towers with the weights that a training begins with.

    Args:
        network: as the spec has it.
        path: the bundle or the file.
        spec: of the model.

    Returns:
        What to tell the user.

    Raises:
        BundleError: it cannot be read, or is of another task.
        SpecError: there is no such file, or its towers are others.
    """
    if path.suffix != BUNDLE_SUFFIX:
        return load_foreign(network, path, spec)
    bundle = read_bundle(path, expect_task="clip")
    if any(part.structure is not None for part in bundle.parts.values()):
        raise SpecError(
            f"{KEY}={path} holds a pruned network, which keeps its own sizes; give it as "
            "train.pruned_model_path"
        )
    for name, module in network.parts().items():
        if not fill(module, bundle.parts[name].weights):
            theirs = bundle.spec["model"]["type"]
            raise SpecError(
                f"{KEY}={path} holds another {name} tower (of {theirs}, with the tokenizer that it was "
                f"trained with) than the one that model.type={spec.type} describes; make them agree"
            )
    return [f"all weights come from {path}"]
