"""Values on their way from a file or the command line into a spec, each with the place it came from."""

from __future__ import annotations

import dataclasses
from typing import Any, NoReturn

from tao_like.errors import SpecError

COMMAND_LINE = "command line"
DEEPEST = 30
"""How often lists and mappings of a spec may be nested."""
_MOST_LINES = 50

Content = bool | int | float | str | list["Value"] | dict[str, "Value"] | None


@dataclasses.dataclass(frozen=True, order=True)
class Place:
    """Where something was written: a file with its line (from 1; 0 when unknown), or the command line."""

    source: str
    line: int = 0

    def __str__(self) -> str:
        return f"{self.source}:{self.line}" if self.line else self.source


@dataclasses.dataclass(frozen=True)
class Value:
    """A scalar, list or mapping that a user gave.

    Attributes:
        content: The value; lists and mappings hold further values.
        place: Where it was written.
        key: Its dotted key as the user wrote it, aliases and all.
        text: A scalar as it was written, where that is known: a key that wants text gets ``007`` unchanged.
        unread: ``content`` is still the text behind ``key=`` on the command line; how it is read depends
            on the type of its key.
        failed: The value could not be read, which has been reported; nothing more is said about it.
    """

    content: Content
    place: Place
    key: str
    text: str | None = None
    unread: bool = False
    failed: bool = False


class Findings:
    """Collects what is wrong in a spec, so that a user sees all of it at once."""

    def __init__(self) -> None:
        self._found: list[tuple[Place, str, str]] = []

    def add(self, place: Place, key: str, message: str) -> None:
        """Note that what stands at ``place`` under ``key`` is wrong."""
        self._found.append((place, key, message))

    def at(self, value: Value, message: str) -> None:
        """Note that ``value`` is wrong."""
        self.add(value.place, value.key, message)

    def lines(self) -> list[str]:
        """One line for each finding: files first, in the order of their lines."""
        ordered = sorted(self._found, key=lambda found: (found[0].source == COMMAND_LINE, found[0]))
        return [f"{place}  {key}: {text}" if key else f"{place}  {text}" for place, key, text in ordered]

    def raise_if_any(self) -> None:
        """Raise one ``SpecError`` that lists all findings; do nothing when there are none."""
        lines = self.lines()
        if not lines:
            return
        if len(lines) > _MOST_LINES:
            lines = [*lines[:_MOST_LINES], f"... and {len(lines) - _MOST_LINES} more"]
        raise SpecError("\n".join(lines))


def fail(source: str, message: str) -> NoReturn:
    """Raise a ``SpecError`` about a whole file."""
    raise SpecError(f"{source}: {message}")


def from_plain(content: Any, place: Place, key: str, *, depth: int = 0) -> Value:
    """Wrap plain Python values.

    Raises:
        TypeError: something else than None, bool, int, float, str, list, tuple or dict is in it, or it is
            nested more than ``DEEPEST`` times.
    """
    if depth > DEEPEST:
        raise TypeError(f"{key[:60]}: it is nested too deeply")
    if isinstance(content, dict):
        items = {
            str(name): from_plain(item, place, f"{key}.{name}" if key else str(name), depth=depth + 1)
            for name, item in content.items()
        }
        return Value(items, place, key)
    if isinstance(content, (list, tuple)):
        elements = [from_plain(item, place, f"{key}[{i}]", depth=depth + 1) for i, item in enumerate(content)]
        return Value(elements, place, key)
    if content is None or isinstance(content, (bool, int, float, str)):
        # str() of a float is not what its author wrote (1e3, 0.10), so that it cannot stand in for text.
        exact = isinstance(content, (int, str)) and not isinstance(content, bool)
        return Value(content, place, key, text=str(content) if exact else None)
    raise TypeError(f"{key}: a value of type {type(content).__name__} cannot stand in a spec")


def merge(base: Value, over: Value) -> Value:
    """Lay ``over`` on ``base``: mappings are merged key by key, all else is replaced."""
    if not isinstance(base.content, dict) or not isinstance(over.content, dict):
        return over
    merged = dict(base.content)
    for name, value in over.content.items():
        merged[name] = merge(merged[name], value) if name in merged else value
    return dataclasses.replace(base, content=merged)


def shown(value: Value) -> str:
    """A value in a message: short, and with text in quotes."""
    content = value.content
    if isinstance(content, dict):
        return "a mapping"
    if isinstance(content, list):
        return "a list"
    if content is None:
        return "null"
    text = str(content).lower() if isinstance(content, bool) else str(content)
    if value.text is not None:
        text = value.text
    if len(text) > 80:
        text = f"{text[:77]}..."
    return f'"{text}"' if isinstance(content, str) else text
