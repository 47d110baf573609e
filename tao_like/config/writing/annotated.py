"""A spec file with a reason beside each value."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from tao_like.config.writing.yaml_text import dump

WIDTH = 100


class AnnotatedValue(NamedTuple):
    """A value for a dotted key of the spec, and why; an empty reason writes no comment."""

    key: str
    value: Any
    why: str = ""


def annotated_yaml(values: Iterable[AnnotatedValue], header: Sequence[str] = ()) -> str:
    """YAML text with each reason as a comment above its key; blocks stand in the order of their first key.

    Args:
        values: dotted keys; no key is given twice.
        header: comment lines at the top.
    """
    tree: dict[str, Any] = {}
    for item in values:
        *blocks, name = item.key.split(".")
        block = tree
        for part in blocks:
            block = block.setdefault(part, {})
        block[name] = item
    # The name of a folder in it may have line ends, and what follows one is no comment.
    lines = [f"# {' '.join(line.splitlines())}".rstrip() for line in header]
    lines += _lines(tree, 0)
    return "\n".join(lines) + "\n"


def _lines(block: dict[str, Any], depth: int) -> list[str]:
    indent = "  " * depth
    lines = []
    for name, item in block.items():
        if isinstance(item, AnnotatedValue):
            lines += [f"{indent}# {line}" for line in textwrap.wrap(item.why, WIDTH - len(indent) - 2)]
            if isinstance(item.value, list) and any(isinstance(one, dict) for one in item.value):
                lines += [f"{indent}{name}:", *(f"{indent}  - {dump(one, flow=True)}" for one in item.value)]
            else:
                lines.append(f"{indent}{name}: {dump(item.value, flow=True)}")
        else:
            lines += [f"{indent}{name}:", *_lines(item, depth + 1)]
    return lines
