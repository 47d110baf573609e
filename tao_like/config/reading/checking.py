"""Checks values against the types, ranges and choices of their keys, and makes them plain."""

from __future__ import annotations

import dataclasses
import difflib
import math
import os.path
import re
from typing import Any

from tao_like.config.fields import MISSING, Bounds, Rule
from tao_like.config.reading.values import Findings, Value, shown
from tao_like.config.structure import Block, Kind, Member, describe, join

_REFUSED = object()
_MOST_CHOICES_SHOWN = 12
_LONGEST_WORD = 100
_LONGEST_NAME, _SHOWN = 255, 80
_LARGEST_INT = 2**63
_USABLE = "it must be a finite number, and a whole one must fit into 64 bits"


def check_block(block: Block, tree: Value, findings: Findings, *, complete: bool = False) -> dict[str, Any]:
    """Check a mapping whose keys are those of ``block``.

    Args:
        block: The block.
        tree: What was given.
        findings: Receives what is wrong.
        complete: Whether mandatory keys must be there: in an element of a list, which is used whole.

    Returns:
        What was given and is right, as plain values of the right types.
    """
    plain: dict[str, Any] = {}
    content = tree.content if isinstance(tree.content, dict) else {}
    for name, member in block.members.items():
        given = content[name].content if name in content else MISSING
        if complete and member.mandatory and given == MISSING:
            message = f"it has no value and must be given ({member.rule.help.rstrip('.')})"
            findings.add(tree.location, join(tree.key, name), message)
    for name, value in content.items():
        member = block.members[name]
        if member.kind.block is not None:
            plain[name] = check_block(describe(member.kind.block), value, findings, complete=complete)
            continue
        if value.content == MISSING and member.may_be_empty:
            continue
        checked = _Checker(member, findings).value(member.kind, value, member.rule.bounds)
        if checked is not _REFUSED:
            plain[name] = checked
    return plain


class _Checker:
    """Checks the value of one key."""

    def __init__(self, member: Member, findings: Findings) -> None:
        self.member = member
        self.rule: Rule = member.rule
        self.findings = findings

    def value(self, kind: Kind, value: Value, bounds: Bounds) -> Any:
        """The plain value, or ``_REFUSED``."""
        content = value.content
        if value.failed:
            return _REFUSED
        if content == MISSING:
            return self._refuse(value, "??? stands for a value to fill in; give the value, or remove the key")
        if kind.anything:
            return self._anything(value)
        if content is None:
            return None if kind.optional else self._refuse(value, self._null_message(kind, bounds))
        if kind.element is not None and isinstance(content, list):
            return self._list(kind.element, value)
        if kind.values is not None and isinstance(content, dict):
            return self._mapping(kind.values, value)
        if kind.scalars and not isinstance(content, (list, dict)):
            return self._scalar(kind, value, bounds)
        return self._wrong(kind, value, bounds)

    def _list(self, kind: Kind, value: Value) -> Any:
        assert isinstance(value.content, list)
        if kind.block is not None:
            block = describe(kind.block)
            elements = [element for element in value.content if not element.failed]
            return [check_block(block, element, self.findings, complete=True) for element in elements]
        elements = [self.value(kind, element, self.rule.element_bounds) for element in value.content]
        return _REFUSED if any(element is _REFUSED for element in elements) else elements

    def _mapping(self, kind: Kind, value: Value) -> Any:
        assert isinstance(value.content, dict)
        bounds = self.rule.element_bounds
        items = {name: self.value(kind, item, bounds) for name, item in value.content.items()}
        return _REFUSED if any(item is _REFUSED for item in items.values()) else items

    def _anything(self, value: Value) -> Any:
        kind = Kind(anything=True)
        if isinstance(value.content, list):
            return self._list(kind, value)
        if isinstance(value.content, dict):
            return self._mapping(kind, value)
        if isinstance(value.content, (int, float)) and not _usable(value.content):
            return self._refuse(value, f"{shown(value)} is not allowed; {_USABLE}")
        return value.content

    def _scalar(self, kind: Kind, value: Value, bounds: Bounds) -> Any:
        converted = _convert(kind, value)
        rule = self.rule
        if converted is _REFUSED or (
            rule.words and isinstance(converted, str) and converted not in rule.words
        ):
            return self._wrong(kind, value, bounds)
        if isinstance(converted, (int, float)) and not isinstance(converted, bool):
            if not _usable(converted):
                return self._refuse(value, f"{shown(value)} is not allowed; {_USABLE}")
            if not bounds.hold(converted):
                wanted = " or ".join([bounds.sentence(), *rule.words])
                return self._refuse(value, f"{shown(value)} is not allowed; it must be {wanted}")
        if isinstance(converted, str):
            converted = rule.synonyms.get(converted, converted)
        choices = rule.choices
        if choices and converted not in choices and converted not in rule.words:
            return self._refuse(value, f"{shown(value)} is not allowed; {self._choose(converted, choices)}")
        if not isinstance(converted, str):
            return converted
        if rule.pattern and not re.fullmatch(rule.pattern, converted):
            return self._refuse(value, f"{shown(value)} is not allowed; it must match {rule.pattern}")
        if rule.path and (fault := _path_fault(converted)):
            return self._refuse(value, f"{shown(value)[:_SHOWN]} is not allowed; {fault}")
        # Path.expanduser() would also drop a leading ./ and double slashes.
        return os.path.expanduser(converted) if rule.path else converted  # noqa: PTH111

    def _wrong(self, kind: Kind, value: Value, bounds: Bounds) -> Any:
        content = value.content
        given = f"this is {_name_of(value)}"
        hint = ""
        if not isinstance(content, (list, dict)):
            given = f"{shown(value)} is {_name_of(value)}"
            if kind.is_text:
                hint = "; put it in quotes"
            elif isinstance(content, str) and bool in kind.scalars and content.lower() in ("true", "false"):
                hint = ", without quotes"
            elif kind.element is not None and value.text is not None:
                hint = f", such as [{value.text}]"
        return self._refuse(value, f"{given}; it must be {self._wanted(kind, bounds)}{hint}")

    def _wanted(self, kind: Kind, bounds: Bounds) -> str:
        """What the key takes, such as ``a whole number, at least 1, or auto or null``."""
        words = self.rule.words if kind.scalars else ()
        scalars = tuple(scalar for scalar in kind.scalars if scalar is not str or not words)
        sentence = dataclasses.replace(kind, scalars=scalars, optional=False).sentence()
        if bounds.sentence():
            sentence = f"{sentence}, {bounds.sentence()}"
        others = [*words, *(["null"] if kind.optional else [])]
        return f"{sentence}, or {' or '.join(others)}" if others else sentence

    def _null_message(self, kind: Kind, bounds: Bounds) -> str:
        remedy = 'write "" for no text' if kind.is_text else "remove the key to have its default"
        return f"there is no value; it must be {self._wanted(kind, bounds)}: give one, or {remedy}"

    def _choose(self, given: Any, choices: tuple[Any, ...]) -> str:
        listed = ", ".join(str(choice) for choice in choices[:_MOST_CHOICES_SHOWN])
        if len(choices) > _MOST_CHOICES_SHOWN:
            listed += f", ... ({len(choices)} in all)"
        hint = ""
        if self.findings.wants_hints and len(str(given)) <= _LONGEST_WORD:
            near = difflib.get_close_matches(str(given), [str(choice) for choice in choices], n=1, cutoff=0.6)
            hint = f"; did you mean {near[0]}?" if near else ""
        return f"it must be one of {listed}{hint}" if len(choices) > 1 else f"it can only be {listed}"

    def _refuse(self, value: Value, message: str) -> Any:
        meaning = self.rule.help.rstrip(".")
        self.findings.at(value, f"{message} ({meaning})" if meaning else message)
        return _REFUSED


def _path_fault(path: str) -> str:
    """Why no file can have this path, on any system; empty: one could."""
    if "\0" in path:
        return "a path has no NUL character"
    longest = max(len(name.encode("utf-8", "surrogateescape")) for name in path.split("/"))
    if longest > _LONGEST_NAME:
        return f"a name in it has {longest} bytes, and {_LONGEST_NAME} are the most that a disk takes"
    return ""


def _usable(number: float) -> bool:
    """Whether a number is finite and, if whole, fits into 64 bits."""
    return abs(number) < _LARGEST_INT if isinstance(number, int) else math.isfinite(number)


def _convert(kind: Kind, value: Value) -> Any:
    """The content in one of the scalar types of ``kind``, exact types first; ``_REFUSED`` when none fits."""
    content = value.content
    if type(content) in kind.scalars:
        return content
    if float in kind.scalars and type(content) is int:
        return float(content) if _usable(content) else math.inf
    if int in kind.scalars and isinstance(content, float) and content.is_integer():
        return int(content)
    if str in kind.scalars and value.text is not None:
        return value.text
    return _REFUSED


def _name_of(value: Value) -> str:
    content = value.content
    if isinstance(content, dict):
        return "a mapping"
    if isinstance(content, list):
        return "a list"
    if isinstance(content, bool):
        return "true or false"
    if isinstance(content, (int, float)):
        return "a number"
    return "text"
