"""The train stage: a network from a spec, kept as a bundle. The only stage that imports Lightning."""

from __future__ import annotations

from tao_like.networks import _torchvision  # noqa: F401  (before Lightning, which imports torchvision)

# isort: split
from tao_like.stages.train.setup import _lightning  # noqa: F401  (before any other import of Lightning)
from tao_like.stages.train.stage import run

__all__ = ["run"]
