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
from tao_like.config.reading.values import COMMAND_LINE, Findings, Place, Value, from_plain, merge
from tao_like.config.structure import Block, Kind, describe, join
from tao_like.errors import SpecError

SpecT = TypeVar("SpecT")

_structured: dict[type[Any], Any] = {}
"""OmegaConf's form of the spec classes; merging leaves them as they are."""


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


def load_spec(spec_class: type[SpecT], path: Path | None, overrides: Sequence[str] = ()) -> LoadedSpec[SpecT]:
    """Read a spec file and lay ``key=value`` arguments on it.

    Args:
        spec_class: The root dataclass of the spec.
        path: YAML file; None for the defaults alone.
        overrides: Arguments of the command line, such as ``train.optim.lr=0.01`` or ``train.gpu_ids=[0,1]``.

    Raises:
        SpecError: the file cannot be read, or values are wrong; lists all that is wrong, with its line.
    """
    findings = Findings()
    given = None
    if path is not None:
        from tao_like.config.reading.document import read_file

        given = read_file(path, findings)
    source = str(path) if path is not None else COMMAND_LINE
    return _load(spec_class, given, overrides, findings, source, path)


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
    try:
        given = from_plain(dict(mapping), Place(source), "")
    except TypeError as error:
        raise SpecError(f"{source}  {error}") from error
    return _load(spec_class, given, (), Findings(), source, None)


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
    tree = Value({}, Place(source), "")
    if given is not None:
        tree = resolver.resolve(given)
    for override in split_overrides(overrides, findings):
        tree = merge(tree, resolver.resolve(override))
    tree = resolve_references(tree, root, findings)
    plain = check_block(root, tree, findings)
    findings.raise_if_any()
    spec = _compose(spec_class, plain)
    for key, message in problems_of(spec):
        place, written = _locate(tree, key)
        findings.add(place, written, message)
    findings.raise_if_any()
    return LoadedSpec(spec, _notes(resolver, source), frozenset(_given_keys(root, tree, "")), path)


def _compose(spec_class: type[SpecT], plain: dict[str, Any]) -> SpecT:
    """Lay checked values on the defaults."""
    from omegaconf import OmegaConf

    if spec_class not in _structured:
        _structured[spec_class] = OmegaConf.structured(spec_class)
    merged = OmegaConf.merge(_structured[spec_class], plain)
    # Not OmegaConf.to_object: that refuses a spec in which another stage's mandatory key has no value.
    values = OmegaConf.to_container(merged, resolve=False)
    assert isinstance(values, dict)
    spec: SpecT = _build(describe(spec_class), values)
    return spec


def _build(block: Block, values: Mapping[Any, Any]) -> Any:
    return block.cls(
        **{name: _build_value(block.members[name].kind, value) for name, value in values.items()}
    )


def _build_value(kind: Kind, value: Any) -> Any:
    if kind.block is not None:
        return _build(describe(kind.block), value)
    if kind.element is not None and kind.element.block is not None and isinstance(value, list):
        return [_build_value(kind.element, element) for element in value]
    return value


def problems_of(spec: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Run ``check()`` of a spec and of all blocks in it; yields (dotted key, message)."""
    if isinstance(spec, Checked):
        for problem in spec.check():
            yield (join(path, problem.key) if problem.key else path), problem.message
    for name, member in describe(type(spec)).members.items():
        value = getattr(spec, name)
        if member.kind.block is not None:
            yield from problems_of(value, join(path, name))
        elif member.kind.element is not None and member.kind.element.block is not None:
            for i, element in enumerate(value or []):
                yield from problems_of(element, f"{join(path, name)}[{i}]")


def _locate(tree: Value, key: str) -> tuple[Place, str]:
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
            return (here.place if depth else Place(tree.place.source)), written
    return here.place, here.key


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
        raise SpecError(f"{key} has no value, and this stage needs one ({meaning}); {remedy}")
    return value
