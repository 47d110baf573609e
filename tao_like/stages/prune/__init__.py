"""The prune stage: a trained bundle made narrower, and trained in between."""

from __future__ import annotations

from tao_like.stages.prune.stage import run

__all__ = ["run"]
