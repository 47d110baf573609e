"""Reading checkpoints of transformers' Mask2Former (Apache-2.0; published weights have their own terms)."""

from __future__ import annotations

from pathlib import Path

from tao_like.errors import BundleError
from tao_like.networks.weights.checkpoints import PICKLE_SUFFIXES, SAFETENSORS_SUFFIX, read_file, state_dicts
from tao_like.tasks.detection.model.whole_files import fill, first_of, misfits
from tao_like.tasks.instance_segmentation.model.mask2former import Mask2Former

MARK = "model.transformer_module.queries_features.weight"
_NAMES = (
    ("model.pixel_level_module.encoder.", "backbone.network."),
    ("model.pixel_level_module.decoder.", "neck."),
    ("model.transformer_module.", "head.transformer_module."),
    ("class_predictor.", "head.class_predictor."),
)
_LEFT_OUT = ("criterion.",)


def is_transformers_file(source: str | None) -> bool:
    """Whether a source of weights is a file with a whole Mask2Former, not a backbone alone."""
    if source is None or Path(source).suffix not in (SAFETENSORS_SUFFIX, *PICKLE_SUFFIXES):
        return False
    return any(MARK in tensors for tensors in state_dicts(read_file(Path(source))))


def load_transformers(network: Mask2Former, path: Path, *, keep_classes: bool = False) -> str:
    """Fills a network from a checkpoint, but for the layer that tells classes: the file does not name them.

    Args:
        network: to fill; with ``model.backbone.type=swin``.
        path: the checkpoint.
        keep_classes: the caller knows that the file's classes are the network's.

    Returns:
        What to tell the user.

    Raises:
        SpecError: there is no such file.
        BundleError: the file is damaged, holds code, or is of another network.
    """
    tensors = next(each for each in state_dicts(read_file(path)) if MARK in each)
    given = {}
    for name, tensor in tensors.items():
        ours = next((new + name.removeprefix(old) for old, new in _NAMES if name.startswith(old)), name)
        if not ours.startswith(_LEFT_OUT):
            given[ours] = tensor
    new = () if keep_classes else network.class_outputs
    if wrong := misfits(network, given, new):
        raise BundleError(
            f"{path}: this does not fit the network ({first_of(wrong)}); give "
            "model.backbone.type=swin, and model.backbone.swin, model.sem_seg_head and model.mask_former as "
            "the file's config.json has them"
        )
    return fill(network, given, path, new)
