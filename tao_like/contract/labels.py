"""What a model can tell apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Labels:
    """The classes of a task.

    Attributes:
        names: class names in the order of the network's outputs.
        prompts: class name to the sentences that describe it, where a network reads text; else empty.
        open_set: the user may name other classes when predictions are asked for.
    """

    names: list[str]
    prompts: dict[str, list[str]] = field(default_factory=dict)
    open_set: bool = False

    def __len__(self) -> int:
        return len(self.names)


def class_difference(own: Sequence[str], theirs: Sequence[str]) -> str:
    """In words how the classes ``theirs`` differ from ``own``; empty where they are the same in order."""
    if list(own) == list(theirs):
        return ""
    lacking = [name for name in theirs if name not in own]
    added = [name for name in own if name not in theirs]
    parts = [
        f"{word} {', '.join(names[:5])}" for word, names in (("lacks", lacking), ("adds", added)) if names
    ]
    return " and ".join(parts) or "has another order"
