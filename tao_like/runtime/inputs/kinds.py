"""The kinds of input that a model may take. A new kind is a module here and a line in `INPUT_KINDS`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tao_like.errors import BundleError
from tao_like.runtime.inputs.base import InputFactory, InputKind
from tao_like.runtime.inputs.image.input import ImageInput
from tao_like.runtime.inputs.points.input import PointsInput
from tao_like.runtime.inputs.seed_input import SeedInput
from tao_like.runtime.inputs.skeleton.input import SkeletonInput
from tao_like.runtime.inputs.text.input import TextInput
from tao_like.runtime.metadata import InputMetadata

INPUT_KINDS: dict[str, InputFactory] = {
    "image": ImageInput,
    "points": PointsInput,
    "seed": SeedInput,
    "skeleton": SkeletonInput,
    "text": TextInput,
}


def input_kind(metadata: InputMetadata, extra: Mapping[str, Any]) -> InputKind:
    """What reads, preprocesses and feeds an input of a model.

    Args:
        metadata: of the input.
        extra: further values of the model's metadata, such as how images are cut into tiles.

    Raises:
        BundleError: the kind is unknown, or its settings have no meaning.
    """
    if metadata.kind not in INPUT_KINDS:
        raise BundleError(
            f"it takes inputs of the kind {metadata.kind!r}, and this runtime knows {', '.join(INPUT_KINDS)}"
            "; update tao_like."
        )
    return INPUT_KINDS[metadata.kind](metadata, extra)
