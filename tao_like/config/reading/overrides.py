"""Reads ``key=value`` arguments: with Hydra's grammar, and for text keys to the letter."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Iterator, Sequence
from typing import Any

from tao_like.config.reading.values import COMMAND_LINE, Findings, Location, Value, from_plain
from tao_like.config.structure import Kind

_KEY = re.compile(r"[^\s=+~@/:,\[\]{}()'\"$]+")
_SWEEP_FUNCTION = re.compile(r"\s*(choice|range|interval|glob|shuffle|sort|tag)\s*\(.*\)\s*", re.DOTALL)
_LONGEST_VALUE = 20_000
_MOST_COMMAS = 1000
"""Hydra's grammar takes 2 ms for an element of a list."""
_ONE_VALUE = "a command runs with one value for each key, and sweeps over several are not available"


def split_overrides(overrides: Sequence[str], findings: Findings) -> Iterator[Value]:
    """Read the keys of ``key=value`` arguments.

    Yields:
        For each argument the whole spec as a mapping with this one key in it; the text behind ``=`` is left
        unread, as its meaning depends on the key's type.
    """
    location = Location(COMMAND_LINE)
    for override in overrides:
        key, equals, text = override.partition("=")
        reason = _key_problem(key, equals, text)
        if reason:
            findings.add(location, "", reason)
            continue
        value = Value(text, location, key, text=text, unread=True)
        parts = key.split(".")
        for depth in range(len(parts) - 1, -1, -1):
            value = Value({parts[depth]: value}, location, ".".join(parts[:depth]))
        yield value


def _key_problem(key: str, equals: str, text: str) -> str:
    bare = key.lstrip("+~-")
    if key.startswith("~"):
        return f"{key}{equals}{text}: keys are not removed with ~; a key that is not given has its default"
    if key.startswith("+"):
        return f"{key}{equals}{text}: keys are not added with +, all exist already; write {bare}={text}"
    if not equals:
        return f"{key}: this is not a key=value; write for example train.num_epochs=5, without spaces"
    if key.startswith("-") and bare:
        return f"{key}={text}: keys of the spec are given without dashes; write {bare}={text}"
    if not _KEY.fullmatch(key) or any(not part for part in key.split(".")):
        return f"{key}={text}: the key cannot be read; write block.key=value, such as train.num_epochs=5"
    return ""


def read_override(kind: Kind, value: Value, findings: Findings, *, path: bool = False) -> Value:
    """Read the text behind ``key=`` as a value for a key of this kind.

    For text the value is what stands behind ``=``, to the letter, without the quotes around it if there
    are any. Everything else goes through Hydra's grammar: numbers, true, null, [lists] and {mappings}.
    With ``path``, even what looks like one of Hydra's sweeps is text.
    """
    text = str(value.content)
    literal = dataclasses.replace(value, content=text, unread=False)
    if _SWEEP_FUNCTION.fullmatch(text) and not path:
        findings.at(value, f"{_ONE_VALUE}; give one value")
        return dataclasses.replace(literal, content=None, failed=True)
    if len(text) > _LONGEST_VALUE or (not kind.is_text and text.count(",") > _MOST_COMMAS):
        findings.at(value, "this is too long for a command line; write it into the spec file")
        return dataclasses.replace(literal, content=None, failed=True)
    if kind.is_text:
        return _read_text(text, literal)
    parsed = _parse(text)
    if parsed is None:
        if kind.scalars or kind.anything:
            return literal
        how = "key=[1,2] or key=['a b','c']" if kind.element is not None else "key={name: value}"
        findings.at(value, f"{text} is not {kind.sentence()}; write {how.replace('key', value.key)}")
        return dataclasses.replace(literal, content=None, failed=True)
    if parsed.is_sweep_override():
        hint = f"for a list write {value.key}=[{text}]" if kind.element is not None else "give one value"
        findings.at(value, f"{_ONE_VALUE}; {hint}")
        return dataclasses.replace(literal, content=None, failed=True)
    content = parsed.value()
    if content == text or (isinstance(content, str) and text[:1] not in "'\""):
        return literal  # Hydra drops backslashes and outer blanks from text without quotes
    if isinstance(content, (bool, int, float)):
        return dataclasses.replace(literal, content=content)
    try:
        return from_plain(content, value.location, value.key)
    except TypeError:
        findings.at(value, "lists and mappings are nested too deeply in it")
        return dataclasses.replace(literal, content=None, failed=True)


def _read_text(text: str, literal: Value) -> Value:
    if text.strip().lower() == "null":
        return dataclasses.replace(literal, content=None)
    if len(text) >= 2 and text[0] in "'\"" and text[-1] == text[0]:
        parsed = _parse(text)
        if parsed is not None and not parsed.is_sweep_override() and isinstance(parsed.value(), str):
            return dataclasses.replace(literal, content=parsed.value(), text=parsed.value())
    return literal


def _parse(text: str) -> Any:
    """Hydra's reading of a value as an ``Override``; None when its grammar cannot read it."""
    from hydra.errors import HydraException

    try:
        return _parser().parse_override(f"key={text}")
    except (HydraException, RecursionError, ValueError):  # ValueError: a number of thousands of digits
        return None


@functools.lru_cache(maxsize=1)
def _parser() -> Any:
    from hydra.core.override_parser.overrides_parser import OverridesParser, create_functions

    functions = create_functions()
    functions.definitions.clear()  # no casts, shuffles and sweeps, also not inside a list
    return OverridesParser(functions=functions)
