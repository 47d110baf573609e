"""Reading checkpoints of torchvision's detectors (BSD-3-Clause) into the networks here."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from tao_like.errors import BundleError
from tao_like.networks.weights.checkpoints import PICKLE_SUFFIXES, SAFETENSORS_SUFFIX, read_file, state_dicts
from tao_like.tasks.detection.model.detector import Detector
from tao_like.tasks.detection.model.whole_files import fill, first_of, misfits


@dataclass(frozen=True)
class PublishedModel:
    """A model of torchvision's.

    Attributes:
        name: there.
        marks: names of tensors by which its checkpoints are known, each in one form of theirs.
        needs: keys of the spec that give the network for it.
    """

    name: str
    marks: tuple[str, ...]
    needs: str


PUBLISHED = {
    "faster_rcnn": PublishedModel(
        "fasterrcnn_resnet50_fpn",
        ("roi_heads.box_predictor.cls_score.weight",),
        "model.backbone.type=resnet50, model.neck.width=256 and model.faster_rcnn as it is by default",
    ),
    "mask_rcnn": PublishedModel(
        "maskrcnn_resnet50_fpn",
        ("roi_heads.box_predictor.cls_score.weight", "roi_heads.mask_predictor.mask_fcn_logits.weight"),
        "model.backbone.type=resnet50, model.neck.width=256, model.faster_rcnn and model.mask_head as they "
        "are by default",
    ),
    "retinanet": PublishedModel(
        "retinanet_resnet50_fpn",
        ("head.regression_head.bbox_reg.weight",),
        "model.backbone.type=resnet50 and model.neck.width=256",
    ),
    "ssd": PublishedModel(
        "ssd300_vgg16",
        ("backbone.scale_weight",),
        "model.backbone.type=vgg16, dataset.img_size=300 and model.ssd as it is by default",
    ),
}
"""By ``model.arch``."""

# What these models call their parts, and what they are called here. The files published first have older
# names for some layers: a convolution and its activation were not yet a module.
_NAMES = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"^backbone\.body\.", "backbone.backbone."),
        (r"^backbone\.fpn\.", "neck.fpn."),
        (r"^backbone\.(scale_weight|features|extra)", r"backbone.backbone.\1"),
        (r"^(rpn|roi_heads)\.", r"head.\1."),
        (r"^(neck\.fpn\.(?:inner|layer)_blocks\.\d)\.(weight|bias)$", r"\1.0.\2"),
        (r"^(head\.rpn\.head\.conv)\.(weight|bias)$", r"\1.0.0.\2"),
    )
)
_OLD_MASKS = re.compile(r"^(head\.roi_heads\.mask_head)\.mask_fcn(\d)\.(weight|bias)$")
_OLD_TOWER = re.compile(r"^(head\.(?:classification|regression)_head\.conv)\.(\d)\.(weight|bias)$")


def own_name(published: str) -> str:
    """The name here of a tensor in a checkpoint of torchvision's."""
    for pattern, replacement in _NAMES:
        published = pattern.sub(replacement, published)
    published = _OLD_MASKS.sub(lambda found: f"{found[1]}.{int(found[2]) - 1}.0.{found[3]}", published)
    # Convolutions and activations took turns: 0, 2, 4 and 6 are the convolutions.
    return _OLD_TOWER.sub(lambda found: f"{found[1]}.{int(found[2]) // 2}.0.{found[3]}", published)


def is_torchvision_file(source: str | None, arch: str) -> bool:
    """Whether a source of weights is a file with a whole detector of torchvision's, not a backbone alone."""
    if source is None or arch not in PUBLISHED:
        return False
    if Path(source).suffix not in (SAFETENSORS_SUFFIX, *PICKLE_SUFFIXES):
        return False
    marks = PUBLISHED[arch].marks
    return any(tensors.keys() >= set(marks) for tensors in state_dicts(read_file(Path(source))))


def load_torchvision(network: Detector, path: Path, arch: str, *, keep_classes: bool = False) -> str:
    """Fills a detector from a checkpoint of torchvision's, but for the layer that tells classes.

    The file does not name its classes, and as many may be others.

    Every tensor of the network must be in the file with its shape, and every tensor of the file must have its
    parameter. Counters of norm layers may lack.

    Args:
        network: to fill.
        path: the checkpoint.
        arch: ``model.arch``.
        keep_classes: the caller knows that the file's classes are the network's.

    Returns:
        What to tell the user.

    Raises:
        SpecError: there is no such file.
        BundleError: the file is damaged, holds code, or is of another network.
    """
    new = () if keep_classes else network.class_outputs
    wrong: list[str] = []
    for tensors in state_dicts(read_file(path)):
        renamed = {own_name(name): tensor for name, tensor in tensors.items()}
        found = misfits(network, renamed, new)
        if not found:
            return fill(network, renamed, path, new)
        wrong = wrong or found
    published = PUBLISHED[arch]
    raise BundleError(
        f"{path}: this does not fit the network ({first_of(wrong)}); torchvision's {published.name} has "
        f"{published.needs}"
    )
