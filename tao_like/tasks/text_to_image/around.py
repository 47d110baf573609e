"""What ways of generating around a model's own one have in common."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

from typing_extensions import Self

from tao_like.runtime.generation.base import Generator


@dataclass(frozen=True)
class AroundGenerator:
    """A way of generating that is no part of an exported file: its settings are those of the model's own.

    Attributes:
        generator: the model's own.
    """

    generator: Generator

    graphs: ClassVar[tuple[str, ...]] = ()

    def to_dict(self) -> dict[str, Any]:
        """See `Generator`."""
        return self.generator.to_dict()

    def changed(self, **settings: Any) -> Self:
        """See `Generator`."""
        return replace(self, generator=self.generator.changed(**settings))

    def rehearsals(self) -> list[Generator]:
        """See `Generator`."""
        return self.generator.rehearsals()
