"""Resolves ``${key}``, which repeats the value of another key of the same spec. Nothing else resolves."""

from __future__ import annotations

import dataclasses
import re

from tao_like.config.fields import MISSING
from tao_like.config.reading.values import Findings, Location, Value, from_plain, merge
from tao_like.config.structure import Block, describe, plain_defaults

_REFERENCE = re.compile(r"\$\{([^${}]*)\}")
_KEY = re.compile(r"[A-Za-z_][\w-]*(?:\.[\w-]+)*")
_MOST_REFERENCES = 1000
_LONGEST_TEXT = 10_000


def resolve_references(tree: Value, root: Block, findings: Findings) -> Value:
    """Replace every ``${key}`` in the values by what that key holds: given, or else its default."""
    if not _any_reference(tree):
        return tree
    defaults = from_plain(plain_defaults(root), Location("default"), "")
    return _References(root, merge(defaults, tree), findings).resolve(tree)


def _any_reference(value: Value) -> bool:
    if isinstance(value.content, dict):
        return any(_any_reference(child) for child in value.content.values())
    if isinstance(value.content, list):
        return any(_any_reference(child) for child in value.content)
    return isinstance(value.content, str) and "${" in value.content


class _References:
    def __init__(self, root: Block, tree: Value, findings: Findings) -> None:
        self.root = root
        self.tree = tree
        self.findings = findings
        self.count = 0

    def resolve(self, value: Value, within: tuple[str, ...] = ()) -> Value:
        """The value without references; ``within`` names the references that led here."""
        content = value.content
        if isinstance(content, dict):
            return dataclasses.replace(
                value, content={name: self.resolve(child, within) for name, child in content.items()}
            )
        if isinstance(content, list):
            return dataclasses.replace(value, content=[self.resolve(child, within) for child in content])
        if isinstance(content, str) and "${" in content:
            return self._text(value, content, within)
        return value

    def _text(self, value: Value, content: str, within: tuple[str, ...]) -> Value:
        failed = dataclasses.replace(value, content=None, failed=True)
        if "${" in _REFERENCE.sub("", content):
            self.findings.at(
                value, "${ begins a reference to another key; write ${block.key}, with nothing in it"
            )
            return failed
        whole = _REFERENCE.fullmatch(content)
        if whole:
            target = self._target(value, whole.group(1), within)
            if target is None:
                return failed
            return dataclasses.replace(target, location=value.location, key=value.key)
        pieces = []
        end = 0
        for match in _REFERENCE.finditer(content):
            target = self._target(value, match.group(1), within)
            if target is None:
                return failed
            if target.text is None and not isinstance(target.content, (bool, int, float, str)):
                self.findings.at(value, f"{match.group(0)} is no single value and cannot be part of a text")
                return failed
            pieces.append(content[end : match.start()])
            pieces.append(target.text if target.text is not None else str(target.content))
            end = match.end()
        text = "".join([*pieces, content[end:]])
        if len(text) > _LONGEST_TEXT:
            self.findings.at(value, f"its references make a text of more than {_LONGEST_TEXT} characters")
            return failed
        return dataclasses.replace(value, content=text, text=text)

    def _target(self, value: Value, reference: str, within: tuple[str, ...]) -> Value | None:
        self.count += 1
        key = reference.strip()
        if self.count > _MOST_REFERENCES:
            self.findings.at(value, f"the spec needs more than {_MOST_REFERENCES} references")
            return None
        if not _KEY.fullmatch(key):
            self.findings.at(
                value,
                f"${{{reference}}} is not resolved; only ${{block.key}} with the full key of another value "
                "is (no environment variables, no functions): write the value itself",
            )
            return None
        if key in within:
            chain = " -> ".join([*within[within.index(key) :], key])
            self.findings.at(value, f"references go in a circle ({chain}); give one of them a value")
            return None
        found = self._find(key)
        if found is None:
            self.findings.at(value, f"${{{reference}}} names no key that holds a value; write its full key")
            return None
        resolved = self.resolve(found, (*within, key))
        return None if resolved.failed else resolved

    def _find(self, key: str) -> Value | None:
        block: Block | None = self.root
        here = self.tree
        for part in key.split("."):
            member = block.lookup(part) if block is not None else None
            if block is not None and member is None:
                return None
            name = member.name if member is not None else part
            if not isinstance(here.content, dict) or name not in here.content:
                return None
            here = here.content[name]
            inner = member.kind.block if member is not None else None
            block = describe(inner) if inner is not None else None
        return here if block is None and here.content != MISSING else None
