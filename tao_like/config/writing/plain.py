"""Writes specs as plain dictionaries and as YAML that loads to an equal spec."""

from __future__ import annotations

import dataclasses
from typing import Any


def to_dict(spec: Any) -> dict[str, Any]:
    """A spec as nested dictionaries, lists and scalars; a copy."""
    plain: dict[str, Any] = dataclasses.asdict(spec)
    return plain


def to_yaml(spec: Any) -> str:
    """A spec as YAML with every key in it; loads again to an equal spec."""
    from tao_like.config.writing.yaml_text import (
        dump,  # yaml takes 40 ms to import, and most commands write nothing
    )

    return dump(to_dict(spec))
