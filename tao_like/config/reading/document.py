"""Reads a spec file into values that know their line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from tao_like.config.reading.values import (
    DEEPEST,
    MOST_VALUES,
    TOO_MANY_VALUES,
    Findings,
    Location,
    Value,
    fail,
)

_MOST_BYTES = 2_000_000
_LONGEST_NUMBER = 64
_HELP = "`tao-like <task> default_specs` prints one to start from"

_NULLS = frozenset(("", "~", "null", "Null", "NULL"))
_BOOLS = {
    spelling: truth
    for truth, words in ((True, ("true", "yes", "on")), (False, ("false", "no", "off")))
    for word in words
    for spelling in (word, word.capitalize(), word.upper())
}
_INT = re.compile(r"[-+]?[0-9][0-9_]*")
_FLOAT = re.compile(r"[-+]?(?:[0-9][0-9_]*(?:\.[0-9_]*)?|\.[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?")
_SPECIAL_FLOAT = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")


def plain_scalar(text: str) -> bool | int | float | str | None:
    """What a YAML scalar without quotes means.

    Follows YAML 1.2 with three kindnesses: ``1e-3`` is a number, ``yes/no/on/off`` are booleans, and digits
    may be grouped by ``_``. Dates, octal and base-60 numbers stay text.
    """
    if text in _NULLS:
        return None
    if text in _BOOLS:
        return _BOOLS[text]
    if len(text) > _LONGEST_NUMBER:
        return text
    if _INT.fullmatch(text):
        return int(text.replace("_", ""))
    if _FLOAT.fullmatch(text):
        return float(text.replace("_", ""))
    if _SPECIAL_FLOAT.fullmatch(text):
        return float(text.replace(".", ""))
    return text


class _Loader(yaml.BaseLoader):
    """Composes nodes without giving scalars a type, and refuses what makes a file hard to read."""

    depth = 0
    count = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        events: Any = self  # PyYAML has no types for this part of a loader
        event = events.peek_event()
        if getattr(event, "anchor", None) is not None:
            raise yaml.composer.ComposerError(
                None,
                None,
                "anchors (&name) and aliases (*name) are not used in a spec; ${key} repeats a value",
                event.start_mark,
            )
        if self.depth > DEEPEST:
            raise yaml.composer.ComposerError(None, None, "it is nested too deeply", event.start_mark)
        is_key = index is None and isinstance(parent, yaml.MappingNode)
        self.count += not is_key
        if self.count > MOST_VALUES:
            raise yaml.composer.ComposerError(None, None, TOO_MANY_VALUES, event.start_mark)
        self.depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1


def read_file(path: Path, findings: Findings) -> Value:
    """Read a spec file.

    Problems that leave the rest of the file readable (a key given twice, a tag) go to ``findings``.

    Raises:
        SpecError: the file cannot be read, is no UTF-8 text, no YAML, or no mapping of keys.
    """
    location = Location(str(path))
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except FileNotFoundError:
        fail(location, f"there is no such spec file; check the path given with -e ({_HELP})")
    except IsADirectoryError:
        fail(location, "this is a folder; give the spec file (YAML) inside it")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        fail(location, f"the spec file cannot be read ({reason}); check its path and its permissions")
    if len(data) > _MOST_BYTES:
        fail(
            location, f"larger than {_MOST_BYTES // 1_000_000} MB, which no spec is; give a YAML file with -e"
        )
    if b"\0" in data and not data.startswith((b"\xff\xfe", b"\xfe\xff")):
        fail(location, f"this is a binary file; a spec is a YAML text file ({_HELP})")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        fail(Location(location.source, line), "this is not UTF-8 text; save the file with the encoding UTF-8")
    return read_text(text, location.source, findings)


def read_text(text: str, source: str, findings: Findings) -> Value:
    """Read the text of a spec; ``source`` names it in messages. Raises and reports as ``read_file`` does."""
    loader: Any = None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        fail(
            Location(source, line),
            "there is a control character here, which YAML text cannot hold; remove it",
        )
    except yaml.MarkedYAMLError as error:
        _fail_syntax(error, text, source)
    finally:
        if loader is not None:
            loader.dispose()
    if node is None or (isinstance(node, yaml.ScalarNode) and node.value == ""):
        fail(Location(source), f"the file holds no keys; {_HELP}")
    if not isinstance(node, yaml.MappingNode):
        given = "a list" if isinstance(node, yaml.SequenceNode) else "text"
        fail(
            Location(source),
            f"a spec is a mapping of keys to values (key: value), and this file holds {given}; {_HELP}",
        )
    return _value(node, Location(source, node.start_mark.line + 1), "", findings)


def _fail_syntax(error: yaml.MarkedYAMLError, text: str, source: str) -> None:
    mark = error.problem_mark or error.context_mark
    if mark is None:
        fail(Location(source), f"this is not YAML: {error.problem}")
    lines = text.splitlines()
    line = lines[mark.line] if mark.line < len(lines) else ""
    where = Location(source, mark.line + 1)
    if isinstance(error, yaml.composer.ComposerError):
        several = "but found another document" in str(error.problem)
        fail(where, "a spec is one YAML document; remove the second `---`" if several else str(error.problem))
    if "\t" in line[: mark.column + 1]:
        fail(where, "this is not YAML: there is a tab; indent with spaces")
    fail(where, f"this is not YAML: {error.problem}; look at column {mark.column + 1} and at the line before")


def _value(node: Any, location: Location, key: str, findings: Findings) -> Value:
    if isinstance(node, yaml.MappingNode):
        return Value(_mapping(node, location.source, key, findings), location, key)
    if isinstance(node, yaml.SequenceNode):
        elements = [
            _value(child, Location(location.source, child.start_mark.line + 1), f"{key}[{i}]", findings)
            for i, child in enumerate(node.value)
        ]
        _refuse_tag(node, location, key, findings)
        return Value(elements, location, key)
    _refuse_tag(node, location, key, findings)
    content = plain_scalar(node.value) if node.style is None else node.value
    return Value(content, location, key, text=node.value)


def _mapping(node: Any, source: str, key: str, findings: Findings) -> dict[str, Value]:
    _refuse_tag(node, Location(source, node.start_mark.line + 1), key, findings)
    items: dict[str, Value] = {}
    for key_node, value_node in node.value:
        location = Location(source, key_node.start_mark.line + 1)
        if not isinstance(key_node, yaml.ScalarNode):
            findings.add(
                location, key, "a key must be one word, and here a list or a mapping stands in its place"
            )
            continue
        name = key_node.value
        path = f"{key}.{name}" if key else name
        if name in items:
            findings.add(
                location, path, f"given twice, first in line {items[name].location.line}; keep one of them"
            )
            continue
        items[name] = _value(value_node, location, path, findings)
    return items


def _refuse_tag(node: Any, location: Location, key: str, findings: Findings) -> None:
    if node.tag not in ("tag:yaml.org,2002:str", "tag:yaml.org,2002:seq", "tag:yaml.org,2002:map"):
        tag = str(node.tag).replace("tag:yaml.org,2002:", "!!")
        findings.add(
            location, key, f"the tag {tag} is not allowed; a spec holds plain values only, so remove it"
        )
