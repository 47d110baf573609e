"""Sequences of other programs and data sets as the arrays that this task reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tao_like.errors import SpecError
from tao_like.tasks.pose_classification.spec import Spec


def convert_sequences(spec: Spec, folder: Path) -> tuple[dict[str, Any], list[str], str]:
    raise SpecError("dataset_convert.format: not yet")
