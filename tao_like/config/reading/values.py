"""Values on their way from a file or the command line into a spec, each with its file and line."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import Any, NoReturn

from tao_like.errors import Problem, SpecError

COMMAND_LINE = "command line"
DEEPEST = 30
"""How often lists and mappings of a spec may be nested."""
MOST_PROBLEMS = 1000
"""How many things that are wrong are kept; who made more mistakes than that gave another kind of file."""
_MOST_LINES = 50
_MOST_HINTS = 100
_LONGEST_MESSAGE = 1000
MOST_VALUES = 60_000
"""How many values, with the lists and mappings around them, a spec may hold: each takes 0.1 ms to read."""
TOO_MANY_VALUES = (
    f"it holds more than {MOST_VALUES} values; what is that long, such as class names, is better kept in a "
    "file of its own"
)

Content = bool | int | float | str | list["Value"] | dict[str, "Value"] | None


@dataclasses.dataclass(frozen=True, order=True)
class Location:
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
        location: Where it was written.
        key: Its dotted key as the user wrote it, aliases and all.
        text: A scalar as it was written, where that is known: a key that wants text gets ``007`` unchanged.
        unread: ``content`` is still the text behind ``key=`` on the command line; how it is read depends
            on the type of its key.
        failed: The value could not be read, which has been reported; nothing more is said about it.
    """

    content: Content
    location: Location
    key: str
    text: str | None = None
    unread: bool = False
    failed: bool = False


class Findings:
    """Collects what is wrong in a spec, so that a user sees all of it at once."""

    def __init__(self) -> None:
        self._problems: list[Problem] = []
        self._count = 0

    @property
    def full(self) -> bool:
        """Whether so much is wrong that further problems are counted and no longer kept."""
        return self._count >= MOST_PROBLEMS

    @property
    def wants_hints(self) -> bool:
        """Whether a search for what the user may have meant is still worth its time."""
        return self._count < _MOST_HINTS

    def add(self, location: Location, key: str, message: str) -> None:
        """Note that what stands at ``location`` under ``key`` is wrong."""
        if not self.full:
            if len(message) > _LONGEST_MESSAGE:  # it quotes a long value
                message = f"{message[:_LONGEST_MESSAGE]}..."
            self._problems.append(Problem(key, location.source, location.line, message))
        self._count += 1

    def at(self, value: Value, message: str) -> None:
        """Note that ``value`` is wrong."""
        self.add(value.location, value.key, message)

    def problems(self) -> list[Problem]:
        """What is wrong: files first, in the order of their lines."""
        return sorted(
            self._problems, key=lambda problem: (problem.file == COMMAND_LINE, problem.file, problem.line)
        )

    def raise_if_any(self) -> None:
        """Raise one ``SpecError`` that lists all problems; do nothing when there are none."""
        problems = self.problems()
        if not problems:
            return
        lines = [str(problem) for problem in problems[:_MOST_LINES]]
        if self._count > _MOST_LINES:
            lines.append(f"... and {self._count - _MOST_LINES} more")
        raise SpecError("\n".join(lines), problems=problems)


def fail(location: Location, message: str) -> NoReturn:
    """Raise a ``SpecError`` about a whole file, or one line of it, that cannot be read any further."""
    raise SpecError(f"{location}: {message}", problems=[Problem("", location.source, location.line, message)])


def from_plain(content: Any, location: Location, key: str) -> Value:
    """Wrap plain Python values.

    Raises:
        TypeError: something else than None, bool, int, float, str, path, list, tuple or mapping is in it, it
            is nested more than ``DEEPEST`` times, or holds more than ``MOST_VALUES`` values.
    """
    return _Wrapper(location).wrap(content, key, 0)


class _Wrapper:
    """Wraps plain values and counts them."""

    def __init__(self, location: Location) -> None:
        self.location = location
        self.count = 0

    def wrap(self, content: Any, key: str, depth: int) -> Value:
        self.count += 1
        if depth > DEEPEST:
            raise TypeError(f"{key[:60]}: it is nested too deeply")
        if self.count > MOST_VALUES:
            raise TypeError(TOO_MANY_VALUES)
        if isinstance(content, Mapping):
            items: dict[str, Value] = {}
            for name, item in content.items():
                inner = f"{key}.{name}" if key else str(name)
                if str(name) in items:
                    raise TypeError(f"{inner}: given twice, as a number and as text; keep one of them")
                items[str(name)] = self.wrap(item, inner, depth + 1)
            return Value(items, self.location, key)
        if isinstance(content, (list, tuple)):
            elements = [self.wrap(item, f"{key}[{i}]", depth + 1) for i, item in enumerate(content)]
            return Value(elements, self.location, key)
        if isinstance(content, os.PathLike):
            content = os.fspath(content)
        if content is None or isinstance(content, (bool, int, float, str)):
            # str() of a float is not what its author wrote (1e3, 0.10), so that it cannot stand in for text.
            exact = isinstance(content, (int, str)) and not isinstance(content, bool)
            return Value(content, self.location, key, text=str(content) if exact else None)
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
