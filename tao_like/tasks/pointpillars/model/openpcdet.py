"""Weights of OpenPCDet's and TAO's PointPillars, under the names that they have here."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from tao_like.errors import SpecError
from tao_like.networks.weights.checkpoints import read_file
from tao_like.networks.weights.class_layer import UNNAMED
from tao_like.tasks.pointpillars.model.detector import PointPillars

SUFFIXES = (".pth", ".pt")
_RENAMED = (
    (r"^vfe\.pfn_layers\.0\.(linear|norm)\.", r"pillars.\1."),
    (r"^backbone_2d\.deblocks\.", "backbone.enlarged."),
    (r"^dense_head\.conv_cls\.", "head.classes."),
    (r"^dense_head\.conv_box\.", "head.boxes."),
    (r"^dense_head\.conv_dir_cls\.", "head.directions."),
)
_BLOCK = re.compile(r"^backbone_2d\.blocks\.(\d+)\.(\d+)\.(.*)$")
_COUNTER = "global_step"
"""OpenPCDet keeps the number of its steps beside the weights."""


PUBLISHED_CLASSES = ("car", "pedestrian", "cyclist")
"""Of the checkpoints on KITTI that OpenPCDet and TAO publish, in the order of their anchors."""
_HEAD = "head."


def is_published(classes: Sequence[str]) -> bool:
    """Whether a spec's classes are those that the published checkpoints tell, in their order."""
    return tuple(name.casefold() for name in classes) == PUBLISHED_CLASSES


def is_openpcdet(path: Path) -> bool:
    """Whether a file can be such a checkpoint, by its suffix: bundles have their own."""
    return path.suffix in SUFFIXES


def own_name(name: str) -> str:
    """The name here of a tensor of OpenPCDet's; names of other networks stay as they are."""
    block = _BLOCK.match(name)
    if block:
        # Theirs begin with a layer that pads; ours pad inside the first convolution.
        return f"backbone.blocks.{block[1]}.{int(block[2]) - 1}.{block[3]}"
    for pattern, ours in _RENAMED:
        renamed, count = re.subn(pattern, ours, name)
        if count:
            return renamed
    return name


def own_names(theirs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict of OpenPCDet's under the names that the weights have here."""
    return {own_name(name): tensor for name, tensor in theirs.items() if name != _COUNTER}


def load_openpcdet(network: PointPillars, path: Path, *, keep_head: bool) -> str:
    """Fills the network from a checkpoint of OpenPCDet or TAO; nothing in it is run.

    Args:
        network: to fill.
        path: the checkpoint.
        keep_head: the file's classes are taken for the network's; such files do not name them, and as many
            may be others.

    Returns:
        What to tell the user.

    Raises:
        SpecError: it holds another network.
        BundleError: the file is damaged, or wants to run code.
    """
    content = read_file(path)
    state = content.get("model_state", content)
    theirs = own_names({name: value for name, value in state.items() if isinstance(value, Tensor)})
    own = network.state_dict()
    wrong = sorted(
        name
        for name in {*own, *theirs}
        if name not in own
        or name not in theirs
        or (own[name].shape != theirs[name].shape and (keep_head or not name.startswith(_HEAD)))
    )
    if wrong:
        raise SpecError(
            f"train.pretrained_model_path: {path} holds another network than this spec describes: "
            f"{len(wrong)} tensors differ, such as {wrong[0]}; give a checkpoint of PointPillars, and make "
            "model.vfe, model.backbone_2d and model.dense_head agree with it"
        )
    head = "the head is kept, since the classes are those of the published checkpoints"
    if not keep_head:
        theirs = {name: own[name] if name.startswith(_HEAD) else tensor for name, tensor in theirs.items()}
        head = f"the head is new, since {UNNAMED}, and yours are not {', '.join(PUBLISHED_CLASSES)}"
    with torch.no_grad():
        network.load_state_dict(theirs)
    hint = (
        ""
        if network.pillars.padded_row_constant
        else ("; networks with padded pillars need model.vfe.padded_row_constant=true to predict as they did")
    )
    return f"all weights come from {path}; {head}{hint}"
