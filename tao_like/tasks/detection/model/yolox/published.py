"""Reading published checkpoints of YOLOX (Megvii, Apache-2.0) into the networks here."""

from __future__ import annotations

import re
from pathlib import Path

from torch import Tensor

from tao_like.errors import BundleError
from tao_like.networks.weights.checkpoints import read_file, state_dicts
from tao_like.tasks.detection.model.detector import Detector
from tao_like.tasks.detection.model.whole_files import fill

# What the published networks call their parts, and what they are called here. Applied in order.
_NAMES = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"^backbone\.backbone\.dark(\d)\.", r"backbone.stage\1."),
        (r"^backbone\.backbone\.", "backbone."),
        (r"^backbone\.lateral_conv0\.", "neck.reduce_coarse."),
        (r"^backbone\.C3_p4\.", "neck.down_middle."),
        (r"^backbone\.reduce_conv1\.", "neck.reduce_middle."),
        (r"^backbone\.C3_p3\.", "neck.down_fine."),
        (r"^backbone\.bu_conv2\.", "neck.shrink_fine."),
        (r"^backbone\.C3_n3\.", "neck.up_middle."),
        (r"^backbone\.bu_conv1\.", "neck.shrink_middle."),
        (r"^backbone\.C3_n4\.", "neck.up_coarse."),
        (r"^head\.stems\.", "head.entries."),
        (r"^head\.cls_convs\.", "head.class_branches."),
        (r"^head\.reg_convs\.", "head.box_branches."),
        (r"^head\.cls_preds\.", "head.class_outputs."),
        (r"^head\.reg_preds\.", "head.box_outputs."),
        (r"^head\.obj_preds\.", "head.object_outputs."),
        # Bottlenecks first: they share names with the layer that holds them.
        (r"\.m\.(\d+)\.conv1\.", r".blocks.\1.reduce."),
        (r"\.m\.(\d+)\.conv2\.", r".blocks.\1.conv."),
        (r"^(backbone\.stage5\.1)\.conv1\.", r"\1.reduce."),
        (r"^(backbone\.stage5\.1)\.conv2\.", r"\1.join."),
        (r"\.conv1\.", ".deep."),
        (r"\.conv2\.", ".direct."),
        (r"\.conv3\.", ".join."),
        (r"\.dconv\.", ".depthwise."),
        (r"\.pconv\.", ".pointwise."),
        (r"\.bn\.", ".norm."),
    )
)
_STEM = "backbone.stem.conv.conv.weight"
_CLASS_OUTPUTS = "head.class_outputs."


def own_name(published: str) -> str:
    """The name here of a tensor in a published checkpoint."""
    for pattern, replacement in _NAMES:
        published = pattern.sub(replacement, published)
    return published


def load_published(network: Detector, path: Path, *, keep_classes: bool = False) -> str:
    """Fills a YOLOX in one of its own sizes from a published checkpoint.

    All tensors must fit, and each must have its parameter. The layer that tells classes is left out: the file
    does not name its classes, and as many may be others. The published networks take blue before red, so the
    first layer's channels are turned round.

    Args:
        network: in one of YOLOX's own sizes.
        path: the checkpoint.
        keep_classes: the caller knows that the file's classes are the network's.

    Returns:
        What to tell the user.

    Raises:
        SpecError: there is no such file.
        BundleError: the file is damaged, holds code, or is of another network.
    """
    own = network.state_dict()
    expected = {name for name in own if not name.startswith(("normalise.", _CLASS_OUTPUTS))}
    for tensors in state_dicts(read_file(path)):
        renamed = {own_name(name): tensor for name, tensor in tensors.items()}
        fitting = {name: tensor for name, tensor in renamed.items() if name in own}
        if not expected <= fitting.keys() or len(fitting) < len(tensors):
            continue
        wrong = [name for name in expected if fitting[name].shape != own[name].shape]
        if wrong:
            raise BundleError(
                f"{path}: {wrong[0]} has the shape {tuple(fitting[wrong[0]].shape)}, and this size of YOLOX "
                f"needs {tuple(own[wrong[0]].shape)}; set model.backbone.type to the size of the file"
            )
        fitting[_STEM] = red_first(fitting[_STEM])
        return fill(network, fitting, path, () if keep_classes else (_CLASS_OUTPUTS,))
    raise BundleError(
        f"{path}: this is no checkpoint of YOLOX in this size: its tensors have other names; set "
        "model.backbone.type to the size of the file"
    )


def red_first(weight: Tensor) -> Tensor:
    """The first layer's weights (width, 12, 3, 3), of four pixels of three colors, the colors reversed."""
    width, channels = weight.shape[:2]
    return weight.reshape(width, channels // 3, 3, *weight.shape[2:]).flip(2).reshape_as(weight)
