"""Loading pretrained weights into a backbone: from a file, a bundle, a package or timm's hub.

Weights of another head are left out, names are matched as they are found, and a source that fits hardly
anything is refused before the network is touched.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor, nn

from tao_like.bundle import Bundle, read_bundle
from tao_like.errors import BundleError, SpecError
from tao_like.networks.backbones.build import head_prefixes, normalization_of
from tao_like.networks.backbones.image_size import weights_facts
from tao_like.networks.backbones.names import TYPE_KEY, architecture_of, resolve_name
from tao_like.networks.backbones.table import Normalization
from tao_like.networks.weights.checkpoints import BUNDLE_SUFFIX, SOURCE_KEY, read_file, state_dicts
from tao_like.networks.weights.class_layer import ClassLayer, class_layer, first_names
from tao_like.networks.weights.hub import read_timm_weights
from tao_like.networks.weights.offline import available_offline
from tao_like.networks.weights.packages import find_package, package_normalization, read_package
from tao_like.networks.weights.sources import PACKAGE_PREFIX

__all__ = ["LoadReport", "available_offline", "load_pretrained", "source_normalization"]

TIMM_SOURCE = "timm"
_LEAST_FRACTION = 0.5
_IMAGE_TOWER = "image"
"""The part of a bundle of images with texts that looks at the images."""
_BUNDLE_MEAN, _BUNDLE_STD = "normalise.mean", "normalise.std"
"""Names under which the classification network keeps its normalization in a bundle."""


@dataclass(frozen=True)
class _Match:
    """How one reading of a source fits a network.

    Attributes:
        matched: Names of the network's tensors that were filled.
        missing: Names of the network's tensors that the source lacks.
        unexpected: Names in the source that the network lacks.
        mismatched_shape: Tensors of the backbone whose shape differs: name, shape in the source and here.
        head_skipped: Tensors of the classifier that were left out, since they are for other classes.
        fraction: Fraction of the backbone's values (head left out) that were filled, 0..1.
    """

    matched: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    mismatched_shape: tuple[str, ...]
    head_skipped: tuple[str, ...]
    fraction: float


@dataclass(frozen=True)
class LoadReport(_Match):
    """What became of the weights of a source.

    Attributes:
        source: The source as it was given.
        normalization: How images are to be preprocessed for these weights; None where the source does not
            say.
        head: Whether the classifier is kept, and why; None where nobody said which classes are wanted.
    """

    source: str
    normalization: Normalization | None
    head: ClassLayer | None

    def text(self) -> str:
        """Return the report in a few lines for a user."""
        lines = [f"{self.source}: {_percent(self.fraction)} of the backbone's values loaded"]
        for names, what in (
            (self.missing, "not in the source, so they start from random values"),
            (self.mismatched_shape, "of another shape, so they start from random values"),
            (self.unexpected, "in the source have no place in this network"),
        ):
            if names:
                things = "tensor" if len(names) == 1 else "tensors"
                lines.append(f"  {len(names)} {things} {what}: {first_names(names)}")
        if self.head is not None:
            lines.append(f"  {self.head.text()}")
        elif self.head_skipped:
            lines.append("  the head is new, since the source's is for other classes")
        if self.normalization is None:
            lines.append("  the source does not say how its images were normalized")
        return "\n".join(lines)


def source_normalization(source: str, type: str) -> Normalization | None:
    """Return how images are to be preprocessed for the weights of a source; None where it does not say.

    Args:
        source: As for :func:`load_pretrained`.
        type: A name of timm or TAO.

    Raises:
        SpecError: The source or the network is unknown.
        BundleError: The bundle cannot be read.
    """
    name = resolve_name(type)
    if source.startswith(PACKAGE_PREFIX):
        return package_normalization(find_package(source, architecture_of(name)))
    if source == TIMM_SOURCE:
        return normalization_of(weights_facts(name))
    if Path(source).suffix == BUNDLE_SUFFIX:
        return bundle_normalization(_read_backbone_bundle(source, name))
    return None


def load_pretrained(
    model: nn.Module, source: str, type: str, classes: Sequence[str] | None = None
) -> LoadReport:
    """Fill a backbone with pretrained weights.

    The classifier is taken from a bundle of the same classes alone, its outputs in the network's order: a
    classifier of as many other classes would fit too, and files without class names may hold one.

    Args:
        model: The network that :func:`create_backbone` made for this type.
        source: A file (.safetensors, or .pth and the like of ``torch.save``), a bundle (.tltb; of images with
            texts the image tower is taken), "timm" for
            the weights that timm has on its hub, or "package:efficientnet_lite0" (lite1, lite2).
        type: The name of timm or TAO that the network was made from.
        classes: Names of the classes that the network is to tell; None: they are the source's own, so that
            a classifier that fits is taken.

    Returns:
        What was loaded and what was not.

    Raises:
        SpecError: There is no such source, or it is for another network.
        BundleError: The file is damaged, holds code, or fits less than half of the backbone.
    """
    name = resolve_name(type)
    normalization: Normalization | None = None
    theirs: Sequence[str] = ()
    if source.startswith(PACKAGE_PREFIX):
        package = find_package(source, architecture_of(name))
        content: Mapping[str, object] = read_package(package, model)
        normalization = package_normalization(package)
    elif source == TIMM_SOURCE:
        content = read_timm_weights(name)
        normalization = normalization_of(weights_facts(name))
    elif Path(source).suffix == BUNDLE_SUFFIX:
        bundle = _read_backbone_bundle(source, name)
        content, normalization, theirs = bundle.weights, bundle_normalization(bundle), bundle.classes
    else:
        content = read_file(Path(source))
    head = None if classes is None else class_layer(classes, theirs)
    match, tensors = _best_match(model, content, head)
    if match is None or match.fraction < _LEAST_FRACTION:
        raise BundleError(_misfit(model, source, name, match, tensors))
    # Not strict: what is missing was found by name and shape above, and is in the report.
    model.load_state_dict({key: tensors[key] for key in match.matched}, strict=False)
    kept = head if head_prefixes(model) else None
    return LoadReport(source=source, normalization=normalization, head=kept, **vars(match))


def _read_backbone_bundle(source: str, name: str) -> Bundle:
    """A bundle with one network for images; of a pair of towers the image tower, without its embedding.

    Args:
        source: path of the bundle.
        name: timm's, of the network that is to be filled.

    Raises:
        SpecError: there is no such file, or its tower has another activation than the network.
        BundleError: it cannot be read, or has several parts of which none is an image tower.
    """
    path = Path(source)
    if not path.is_file():
        raise SpecError(f"{SOURCE_KEY}: there is no file {path}. Give the path of a bundle.")
    bundle = read_bundle(path)
    if len(bundle.parts) == 1 or _IMAGE_TOWER not in bundle.parts:
        return bundle
    theirs = bundle.spec["model"].get("activation") or "gelu"
    ours = "quick_gelu" if "quickgelu" in name else "gelu"
    # The activation is no weight: the tower would load, and see less than it has learnt. Other networks than
    # CLIP's transformers have their own, whatever the spec of the pair says.
    if theirs != ours and "_clip_" in name and name.startswith("vit_"):
        other = (
            name.replace("_clip_", "_clip_quickgelu_") if ours == "gelu" else name.replace("_quickgelu", "")
        )
        raise SpecError(
            f"{SOURCE_KEY}: the image tower of {source} was trained with {theirs}, and {TYPE_KEY}={name} has "
            f"{ours}; give {other}"
        )
    preprocessing = bundle.preprocessing[_IMAGE_TOWER]
    parts = {_IMAGE_TOWER: bundle.parts[_IMAGE_TOWER]}
    return replace(bundle, parts=parts, preprocessing=preprocessing, classes=[])


def bundle_normalization(bundle: Bundle) -> Normalization | None:
    """Return how images are to be preprocessed for the weights of a bundle; None where it does not say."""
    mean, std = bundle.weights.get(_BUNDLE_MEAN), bundle.weights.get(_BUNDLE_STD)
    preprocessing = bundle.preprocessing
    needed = {"height", "width", "interpolation", "crop_pct"}
    if mean is None or std is None or not needed <= preprocessing.keys():
        return None
    return Normalization(
        # Rounded, since a float32 of 0.485 is not the 0.485 that a person or a check expects.
        mean=tuple(round(value, 6) for value in mean.flatten().tolist()),
        std=tuple(round(value, 6) for value in std.flatten().tolist()),
        interpolation=str(preprocessing["interpolation"]),
        crop_pct=float(preprocessing["crop_pct"]),
        input_size=(mean.numel(), int(preprocessing["height"]), int(preprocessing["width"])),
    )


def _best_match(
    model: nn.Module, content: Mapping[str, object], head: ClassLayer | None
) -> tuple[_Match | None, dict[str, Tensor]]:
    """Find the reading of a source that fills most of the backbone, with its tensors; None: it has none."""
    best: _Match | None = None
    best_tensors: dict[str, Tensor] = {}
    for tensors in state_dicts(content):
        for candidate in (tensors, _family_reading(model, tensors)):
            if candidate is None or (best is not None and best.fraction == 1):
                continue
            match, ordered = _match(model, candidate, head)
            if best is None or match.fraction > best.fraction:
                best, best_tensors = match, ordered
    return best, best_tensors


def _family_reading(model: nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
    """Return the tensors as timm's module of this family reads them; None where it has no way or it fails.

    Most of these modules have a function that renames the weights that the authors published, and that fits
    position embeddings to another image size.
    """
    convert = getattr(sys.modules[model.__class__.__module__], "checkpoint_filter_fn", None)
    if convert is None:
        return None
    try:
        converted = convert(dict(tensors), model)
    except Exception:  # written for a few known files; on any other it may fail in any way
        return None
    return {name: value for name, value in converted.items() if isinstance(value, Tensor)}


def _match(
    model: nn.Module, tensors: dict[str, Tensor], head: ClassLayer | None
) -> tuple[_Match, dict[str, Tensor]]:
    """How a reading fits, and its tensors, those of the head in the order of the network's classes."""
    heads = tuple(f"{prefix}." for prefix in head_prefixes(model))
    matched, missing, mismatched, skipped = [], [], [], []
    backbone_values = filled_values = 0
    own_tensors = model.state_dict()
    if head is not None and heads:
        tensors = {
            name: head.ordered(tensor) if name.startswith(heads) else tensor
            for name, tensor in tensors.items()
        }
    for name, own in own_tensors.items():
        in_head = name.startswith(heads) if heads else False
        counts = own.is_floating_point() and not in_head
        backbone_values += own.numel() if counts else 0
        found = tensors.get(name)
        if found is None:
            # A counter that many files lack and that only an averaging BatchNorm looks at.
            if not name.endswith("num_batches_tracked"):
                missing.append(name)
        elif in_head and head is not None and head.rows is None:
            skipped.append(name)
        elif found.shape == own.shape:
            matched.append(name)
            filled_values += own.numel() if counts else 0
        elif in_head:
            skipped.append(name)
        else:
            mismatched.append(f"{name} ({_shape(found)} there, {_shape(own)} here)")
    match = _Match(
        matched=tuple(matched),
        missing=tuple(missing),
        unexpected=tuple(name for name in tensors if name not in own_tensors),
        mismatched_shape=tuple(mismatched),
        head_skipped=tuple(skipped),
        fraction=filled_values / backbone_values,
    )
    return match, tensors


def _misfit(
    model: nn.Module, source: str, name: str, match: _Match | None, tensors: dict[str, Tensor]
) -> str:
    if match is None:
        return f"{SOURCE_KEY}: {source} holds no tensors. Give a file with the weights of {name}."
    theirs, ours = next(iter(tensors), ""), next(iter(model.state_dict()))
    return (
        f"{SOURCE_KEY}: {source} does not fit {name}: only {_percent(match.fraction)} of the backbone's "
        f"values are in it under the same name and with the same shape; at least "
        f"{_percent(_LEAST_FRACTION)} must be. Its names begin with '{theirs}', the network's with "
        f"'{ours}'. Give weights of this network, or set {TYPE_KEY} to the network that the weights are of."
    )


def _percent(fraction: float) -> str:
    return "100 %" if fraction == 1 else f"{min(fraction * 100, 99.9):.1f} %"


def _shape(tensor: Tensor) -> str:
    return "x".join(str(side) for side in tensor.shape) or "a single value"
