"""The compare stage: models side by side."""

from tao_like.stages.compare.stage import run
from tao_like.stages.compare.table import comparison_table

__all__ = ["comparison_table", "run"]
