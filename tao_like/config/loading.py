"""Reads a spec: defaults, then the file, then ``key=value`` arguments, all of it checked."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

from tao_like.config.fields import MISSING, Checked
from tao_like.config.reading.checking import check_block
from tao_like.config.reading.keys import KeyResolver
from tao_like.config.reading.overrides import split_overrides
from tao_like.config.reading.references import resolve_references
from tao_like.config.reading.values import COMMAND_LINE, Findings, Location, Value, from_plain, merge
from tao_like.config.structure import Block, Kind, describe, join
from tao_like.errors import Problem, SpecError

SpecT = TypeVar("SpecT")

MAPPING = "spec"
"""What messages name as the file where a spec was given as a mapping."""


@dataclasses.dataclass(frozen=True)
class LoadedSpec(Generic[SpecT]):
    """A spec that was read and checked.

    Attributes:
        spec: Instance of the spec class. Mandatory keys that were not given hold ``MISSING``.
        notes: What the user should know and need not act on, such as ignored keys; one sentence each.
        given: Dotted keys that the user set in the file or on the command line, under the names that the
            spec class has; for a mapping its items too.
        path: The file, if there was one.
    """

    spec: SpecT
    notes: list[str]
    given: frozenset[str]
    path: Path | None


def load_spec(
    spec_class: type[SpecT], given: Path | Mapping[str, Any] | None, overrides: Sequence[str] = ()
) -> LoadedSpec[SpecT]:
    """Read a spec and lay ``key=value`` arguments on it.

    Args:
        spec_class: The root dataclass of the spec.
        given: YAML file, or a mapping with the same keys; None for the defaults alone.
        overrides: Arguments of the command line, such as ``train.optim.lr=0.01`` or ``train.gpu_ids=[0,1]``.

    Raises:
        SpecError: the file cannot be read, or values are wrong; lists all that is wrong, with its line.
    """
    findings = Findings()
    if given is None:
        return _load(spec_class, None, overrides, findings, COMMAND_LINE, None)
    if isinstance(given, Mapping):
        return _load(spec_class, _wrapped(given, MAPPING), overrides, findings, MAPPING, None)
    from tao_like.config.reading.document import read_file

    return _load(spec_class, read_file(given, findings), overrides, findings, str(given), given)


def load_spec_text(
    spec_class: type[SpecT], text: str, path: Path, overrides: Sequence[str] = ()
) -> LoadedSpec[SpecT]:
    """As ``load_spec``, for the text of a file that is still to be written at ``path``."""
    from tao_like.config.reading.document import read_text

    findings = Findings()
    given = read_text(text, str(path), findings)
    return _load(spec_class, given, overrides, findings, str(path), path)


def spec_from_dict(spec_class: type[SpecT], mapping: Mapping[str, Any], *, source: str) -> LoadedSpec[SpecT]:
    """Read a spec from plain values, such as the spec that is stored in a bundle; checked like a file.

    Args:
        spec_class: The root dataclass of the spec.
        mapping: Nested dictionaries and lists of plain values.
        source: Where they come from, for messages.

    Raises:
        SpecError: values are wrong; lists all that is wrong.
    """
    return _load(spec_class, _wrapped(mapping, source), (), Findings(), source, None)


def given_values(spec_class: type[Any], text: str, source: str) -> dict[str, Any]:
    """The keys of a spec that loads, by themselves, as plain values that a spec is laid together from.

    Keys have the names that the spec class has, and values the types of their keys: what a text says without
    quotes means the same in it as in a file. References stay.

    Args:
        spec_class: The root dataclass of the spec.
        text: Of a file.
        source: What messages name as the file.

    Raises:
        SpecError: it cannot be read; lists all that is wrong.
    """
    from tao_like.config.reading.document import read_text

    findings, root = Findings(), describe(spec_class)
    tree = _resolved(read_text(text, source, findings), KeyResolver(root, findings), findings)[0]
    findings.raise_if_any()
    return _plain_block(root, tree)


def _plain_block(block: Block, tree: Value) -> dict[str, Any]:
    assert isinstance(tree.content, dict)
    return {name: _plain(block.members[name].kind, value) for name, value in tree.content.items()}


def _plain(kind: Kind, value: Value) -> Any:
    content = value.content
    if kind.block is not None:
        return _plain_block(describe(kind.block), value)
    if isinstance(content, list):
        return [_plain(kind.element or kind, item) for item in content]
    if isinstance(content, dict):
        return {name: _plain(kind.values or kind, item) for name, item in content.items()}
    is_other = content is not None and type(content) not in kind.scalars
    return value.text if is_other and str in kind.scalars and value.text is not None else content


def _wrapped(mapping: Mapping[str, Any], source: str) -> Value:
    try:
        return from_plain(mapping, Location(source), "")
    except TypeError as error:
        problem = Problem("", source, 0, str(error))
        raise SpecError(str(problem), problems=[problem]) from error


def _load(
    spec_class: type[SpecT],
    given: Value | None,
    overrides: Sequence[str],
    findings: Findings,
    source: str,
    path: Path | None,
) -> LoadedSpec[SpecT]:
    root = describe(spec_class)
    resolver = KeyResolver(root, findings)
    tree = Value({}, Location(source), "")
    bases: list[str] = []
    if given is not None:
        tree, bases = _resolved(given, resolver, findings)
    for override in split_overrides(overrides, findings):
        tree = merge(tree, resolver.resolve(override))
    tree = resolve_references(tree, root, findings)
    plain = check_block(root, tree, findings)
    findings.raise_if_any()
    spec: SpecT = _build(root, plain)
    for key, message in problems_of(spec):
        location, written = _locate(tree, key)
        findings.add(location, written, message)
    findings.raise_if_any()
    notes = _notes(resolver, source)
    if bases:
        notes.append(f"{source}: what it does not set itself is that of {', '.join(bases)}")
    return LoadedSpec(spec, notes, frozenset(_given_keys(root, tree, "")), path)


def _resolved(given: Value, resolver: KeyResolver, findings: Findings) -> tuple[Value, list[str]]:
    """What was given, under the spec class's names, laid on the ready specs that it names; and these."""
    from tao_like.config.reading.defaults import split_defaults

    given, bases = split_defaults(given, findings)
    tree = Value({}, given.location, "")
    for base in bases.values():
        tree = merge(tree, resolver.resolve(base))
    return dataclasses.replace(merge(tree, resolver.resolve(given)), location=given.location), list(bases)


def _build(block: Block, plain: Mapping[str, Any]) -> Any:
    """A spec or block with checked values laid on its defaults: mappings item by item, all else whole."""
    values: dict[str, Any] = {}
    for name, member in block.members.items():
        kind = member.kind
        if kind.block is not None:
            values[name] = _build(describe(kind.block), plain.get(name, {}))
        elif name not in plain:
            values[name] = member.default
        elif kind.element is not None and kind.element.block is not None and plain[name] is not None:
            elements = describe(kind.element.block)
            values[name] = [_build(elements, element) for element in plain[name]]
        else:
            values[name] = _laid_on(member.default, plain[name])
    return block.cls(**values)


def _laid_on(default: Any, value: Any) -> Any:
    if not isinstance(default, dict) or not isinstance(value, dict):
        return value
    return {**default, **{name: _laid_on(default.get(name), item) for name, item in value.items()}}


def problems_of(spec: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Run ``check()`` of a spec and of all blocks in it; yields (dotted key, message)."""
    if isinstance(spec, Checked):
        for broken in spec.check():
            yield (join(path, broken.key) if broken.key else path), broken.message
    for name, member in describe(type(spec)).members.items():
        value = getattr(spec, name)
        if member.kind.block is not None:
            yield from problems_of(value, join(path, name))
        elif member.kind.element is not None and member.kind.element.block is not None:
            for i, element in enumerate(value or []):
                yield from problems_of(element, f"{join(path, name)}[{i}]")


def _locate(tree: Value, key: str) -> tuple[Location, str]:
    """Where the key was given, and as what; for a key that has its default, the block that it is in."""
    here = tree
    parts = key.replace("[", ".[").split(".")
    for depth, part in enumerate(parts):
        if isinstance(here.content, dict) and part in here.content:
            here = here.content[part]
        elif isinstance(here.content, list) and part.startswith("[") and part[1:-1].isdigit():
            here = here.content[int(part[1:-1])]
        else:
            written = ".".join([here.key, *parts[depth:]] if here.key else parts[depth:]).replace(".[", "[")
            return (here.location if depth else Location(tree.location.source)), written
    return here.location, here.key


def _notes(resolver: KeyResolver, source: str) -> list[str]:
    if not resolver.ignored_keys:
        return []
    listed = ", ".join(resolver.ignored_keys)
    return [f"{source}: ignored, as without meaning here: {listed} (docs/from_tao.md has the reasons)"]


def _given_keys(block: Block, tree: Value, path: str) -> Iterator[str]:
    assert isinstance(tree.content, dict)
    for name, value in tree.content.items():
        kind, key = block.members[name].kind, join(path, name)
        if kind.block is not None:
            yield from _given_keys(describe(kind.block), value, key)
        elif value.content != MISSING:
            yield key
            if isinstance(value.content, dict):
                yield from (join(key, item) for item in value.content)


def require(spec: Any, key: str) -> Any:
    """The value of a key that the running stage cannot do without.

    Raises:
        SpecError: the key holds nothing: ``MISSING``, null or empty text.
    """
    value, block = spec, describe(type(spec))
    meaning = ""
    for name in key.split("."):
        member = block.members[name]
        value, meaning = getattr(value, name), member.rule.help.rstrip(".")
        if member.kind.block is not None:
            block = describe(member.kind.block)
    if value is None or (isinstance(value, str) and value in ("", MISSING)):
        remedy = f"write it in the spec file or add {key}=... to the command"
        text = f"has no value, and this stage needs one ({meaning}); {remedy}"
        raise SpecError(f"{key} {text}", problems=[Problem(key, "", 0, text)])
    return value
