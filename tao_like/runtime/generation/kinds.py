"""The ways of generating that a model may have. A new one is a module here and a line in `GENERATORS`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tao_like.errors import BundleError
from tao_like.runtime.generation.autoregressive import AutoregressiveGenerator
from tao_like.runtime.generation.base import Generator
from tao_like.runtime.generation.cascade import CascadeGenerator
from tao_like.runtime.generation.diffusion import DiffusionGenerator
from tao_like.runtime.generation.unclip import UnclipGenerator

GENERATION = "generation"
"""Key of a model's `extra` under which its way of generating stands."""
GENERATORS: dict[
    str, type[AutoregressiveGenerator | DiffusionGenerator | UnclipGenerator | CascadeGenerator]
] = {
    "autoregressive": AutoregressiveGenerator,
    "diffusion": DiffusionGenerator,
    "unclip": UnclipGenerator,
    "cascade": CascadeGenerator,
}


def generator_metadata(generator: Generator) -> dict[str, Any]:
    """What stands in a model's metadata for it."""
    return {GENERATION: {"kind": generator.kind, **generator.to_dict()}}


def generator_of(extra: Mapping[str, Any]) -> Generator | None:
    """The way of generating that a model's metadata describes; None: it predicts in one pass.

    Raises:
        BundleError: the kind is unknown, or its settings have no meaning.
    """
    if GENERATION not in extra:
        return None
    values = extra[GENERATION]
    kind = values.get("kind") if isinstance(values, Mapping) else None
    if kind not in GENERATORS:
        raise BundleError(
            f"it generates in the way {kind!r}, and this runtime knows {', '.join(GENERATORS)}; update "
            "tao_like."
        )
    try:
        return GENERATORS[kind].from_dict({name: one for name, one in values.items() if name != "kind"})
    except TypeError as error:
        raise BundleError(f"generation has a value of the wrong type: {error}.") from error
