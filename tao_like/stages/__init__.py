"""The stages, one module each. They work on any task through ``tasks.base.Task``.

Importing this package imports no torch; a stage's own module does, when it is run.
"""

from __future__ import annotations

from tao_like.stages.results import StageResult
from tao_like.stages.runner import STAGES, run_stage

__all__ = ["STAGES", "StageResult", "run_stage"]
