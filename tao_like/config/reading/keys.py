"""Turns the keys that users write into the keys that the spec class has: aliases, moved and ignored keys."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

from tao_like.config.reading.overrides import read_override
from tao_like.config.reading.values import COMMAND_LINE, Findings, Value, from_plain, shown
from tao_like.config.structure import Block, Kind, Member, describe, join

_MOST_KEYS_LISTED = 12
_HYDRA_KEYS = {
    "defaults": "the list of ready specs stands in a spec file, not on the command line",
    "hydra": "Hydra's own settings are not used; remove this key",
}


class KeyResolver:
    """Walks over what a user gave and renames every key to that of the spec class.

    Args:
        root: The spec class. Its ``ignored`` maps dotted keys that have no meaning here to the reason, its
            ``refused`` those that may stand there without a value, and what to do in the place of one. Its
            ``moved`` maps dotted keys to the dotted key that they are called here, or the elements of a list
            to one key each. A block's ``shorthands`` maps words that may stand in the place of the block to
            the keys that they mean.
        findings: Receives unknown keys, keys given twice and values that cannot be read.
    """

    def __init__(self, root: Block, findings: Findings) -> None:
        self.root = root
        self.findings = findings
        self.ignored_keys: dict[str, str] = {}
        self._ignored: Mapping[str, str] = getattr(root.cls, "ignored", {})
        self._refused: Mapping[str, str] = getattr(root.cls, "refused", {})
        self._moved: Mapping[str, str | tuple[str, ...]] = getattr(root.cls, "moved", {})
        self._to_move: list[tuple[str, Value]] = []

    def resolve(self, tree: Value) -> Value:
        """The same values under the names that the spec class has."""
        self._to_move = []
        resolved = self._block(self.root, tree, "")
        for target, value in self._to_move:
            resolved = self._graft(self.root, resolved, "", target.split("."), value)
        return resolved

    def _block(self, block: Block, value: Value, path: str) -> Value:
        if isinstance(value.content, str) and value.content in getattr(block.cls, "shorthands", {}):
            value = from_plain(dict(block.cls.shorthands[value.content]), value.location, value.key)
        if value.unread:
            value = read_override(Kind(block=block.cls), value, self.findings)
        if value.content is None:  # could not be read, or a block whose keys are all commented out
            return dataclasses.replace(value, content={})
        if not isinstance(value.content, dict):
            self.findings.at(
                value, f"this is a block of keys; set those inside it, such as {_example(block, path)}"
            )
            return dataclasses.replace(value, content={})
        resolved: dict[str, Value] = {}
        for name, child in value.content.items():
            member = block.lookup(name)
            if member is None:
                self._foreign_key(block, path, path, name, child)
            else:
                self._put(resolved, member, self._member(member, child, join(path, member.name)))
        return dataclasses.replace(value, content=resolved)

    def _member(self, member: Member, value: Value, path: str) -> Value:
        kind = member.kind
        if kind.block is not None:
            return self._block(describe(kind.block), value, path)
        value = self._read(kind, value, path=member.rule.path)
        if kind.element is not None and kind.element.block is not None:
            if isinstance(value.content, dict):
                # One block stands for a list of one, as TAO's files have it.
                value = dataclasses.replace(value, content=[value])
            if not isinstance(value.content, list):
                return value
            block = describe(kind.element.block)
            elements = enumerate(value.content)
            blocks = [self._element(block, element, f"{path}[{i}]") for i, element in elements]
            return dataclasses.replace(value, content=blocks)
        self._refuse_targets(value)
        return value

    def _element(self, block: Block, value: Value, path: str) -> Value:
        if value.content is None:
            self.findings.at(value, f"this element has no keys; its keys are {', '.join(block.members)}")
            return dataclasses.replace(value, failed=True)
        return self._block(block, value, path)

    def _read(self, kind: Kind, value: Value, *, path: bool = False) -> Value:
        if value.unread:
            return read_override(kind, value, self.findings, path=path)
        if (
            kind.element is not None
            and isinstance(value.content, dict)
            and value.location.source == COMMAND_LINE
        ):
            self.findings.at(value, f"elements of a list are not set one by one; give all: {value.key}=[...]")
            return dataclasses.replace(value, content=None, failed=True)
        if isinstance(value.content, dict) and (kind.values is not None or kind.anything):
            inner = kind.values or kind
            items = {name: self._read(inner, item) for name, item in value.content.items()}
            return dataclasses.replace(value, content=items)
        return value

    def _put(self, into: dict[str, Value], member: Member, value: Value, *, moved: bool = False) -> None:
        first = into.get(member.name)
        if first is None:
            into[member.name] = value
        elif moved and _are_equal(first, value):
            # What is one key here may be several in TAO, such as the test data of evaluate and of inference.
            return
        elif (
            member.kind.block is not None
            and isinstance(first.content, dict)
            and isinstance(value.content, dict)
        ):
            block = describe(member.kind.block)
            merged = dict(first.content)
            for name, item in value.content.items():
                self._put(merged, block.members[name], item, moved=moved)
            into[member.name] = dataclasses.replace(first, content=merged)
        else:
            self._twice(value, first)

    def _twice(self, value: Value, first: Value) -> None:
        self.findings.at(value, f"the same key is given as {first.key} ({first.location}); keep one of them")

    def _graft(self, block: Block, tree: Value, path: str, parts: list[str], value: Value) -> Value:
        """Put a moved value to its new key below ``tree``, which holds the block ``block``."""
        member = block.members[parts[0]]
        content = dict(tree.content) if isinstance(tree.content, dict) else {}
        inner = join(path, member.name)
        if len(parts) == 1:
            self._put(content, member, self._member(member, value, inner), moved=True)
        elif member.kind.block is not None:
            below = content.get(member.name, dataclasses.replace(value, content={}, unread=False))
            content[member.name] = self._graft(describe(member.kind.block), below, inner, parts[1:], value)
        else:  # an item of a mapping
            items = content.get(member.name, dataclasses.replace(value, content={}, unread=False))
            given = dict(items.content) if isinstance(items.content, dict) else {}
            name = ".".join(parts[1:])
            if name in given:
                self._twice(value, given[name])
            given[name] = self._read(member.kind.values or member.kind, value)
            self._refuse_targets(given[name])
            content[member.name] = dataclasses.replace(items, content=given)
        return dataclasses.replace(tree, content=content)

    def _foreign_key(self, block: Block, block_path: str, path: str, name: str, value: Value) -> None:
        """Deal with a key at ``path`` that the spec class lacks; ``block`` is the last block that it has."""
        key = join(path, name)
        if key in self._moved:
            self._to_move += self._targets(self._moved[key], value)
        elif key in self._ignored:
            self.ignored_keys[value.key] = self._ignored[key]
        elif key in self._refused:
            if _says_nothing(value):
                self.ignored_keys[value.key] = self._refused[key]
            else:
                self.findings.at(value, f"{shown(value)} is not allowed; {self._refused[key]}")
        elif not path and name in _HYDRA_KEYS:
            self.findings.at(value, _HYDRA_KEYS[name])
        elif _is_target(name):
            self.findings.at(value, "a spec names no Python objects; remove this key")
        elif isinstance(value.content, dict) and self._known_below(key):
            for inner, child in value.content.items():
                self._foreign_key(block, block_path, key, inner, child)
        else:
            hint = ""
            if self.findings.wants_hints:
                hint = "; " + suggest(name, path, block_path, block, self.root)
            self.findings.at(value, f"unknown key{hint}")

    def _known_below(self, key: str) -> bool:
        """Whether moved or ignored keys lie in the block ``key``."""
        return any(known.startswith(f"{key}.") for known in (*self._moved, *self._ignored, *self._refused))

    def _targets(self, target: str | tuple[str, ...], value: Value) -> Iterable[tuple[str, Value]]:
        """Where a moved value goes: to one key; or each element of a list to a key, an empty one to none."""
        if isinstance(target, str):
            return [(target, value)]
        if value.unread:
            value = read_override(Kind(element=Kind(anything=True)), value, self.findings)
        if value.failed or _says_nothing(value):
            return []
        if not isinstance(value.content, list) or len(value.content) != len(target):
            names = ", ".join(target)
            self.findings.at(value, f"{shown(value)} is not allowed; give {len(target)} values: {names}")
            return []
        return list(zip(target, value.content, strict=True))

    def _refuse_targets(self, value: Value) -> None:
        children: Iterable[Value] = ()
        if isinstance(value.content, dict):
            children = value.content.values()
            for name, child in value.content.items():
                if _is_target(name):
                    self.findings.at(child, "a spec names no Python objects; remove this key")
        elif isinstance(value.content, list):
            children = value.content
        for child in children:
            self._refuse_targets(child)


def _are_equal(one: Value, other: Value) -> bool:
    """Whether two values say the same, wherever they stand."""
    first, second = one.content, other.content
    if isinstance(first, dict) and isinstance(second, dict):
        return first.keys() == second.keys() and all(_are_equal(first[name], second[name]) for name in first)
    if isinstance(first, list) and isinstance(second, list):
        return len(first) == len(second) and all(map(_are_equal, first, second))
    return type(first) is type(second) and first == second


def _says_nothing(value: Value) -> bool:
    """Whether a value is that of a key that is not used."""
    content = str(value.content).lower() if value.unread else value.content
    return content is None or content is False or content in ({}, [], "", "{}", "[]", "null", "false")


def _is_target(name: str) -> bool:
    """Whether Hydra would read the key as an instruction (``_target_``, ``_args_``, ``_partial_``)."""
    return len(name) > 2 and name.startswith("_") and name.endswith("_")


def _example(block: Block, path: str) -> str:
    return join(path, next(iter(block.members))) if block.members else path


def suggest(name: str, path: str, block_path: str, block: Block, root: Block) -> str:
    """What the user may have meant by the unknown key ``name`` at ``path``.

    Args:
        name: The unknown name.
        path: Dotted key of the block that it stands in.
        block_path: Dotted key of ``block``; other than ``path`` when the spec class has no block there.
        block: The last block on the way that the spec class has.
        root: The whole spec class.
    """
    import difflib

    inside = list(block.names) if path == block_path else []
    near = difflib.get_close_matches(name, inside, n=1, cutoff=0.75)
    if near:
        return f"did you mean {join(path, near[0])}?"
    keys = list(_all_keys(root, ""))
    same_name = [key for key in keys if key.rpartition(".")[2] == name]
    if same_name:
        return f"did you mean {' or '.join(same_name[:3])}?"
    near = difflib.get_close_matches(name, inside, n=1, cutoff=0.6)
    if near:
        return f"did you mean {join(path, near[0])}?"
    last_names = {key.rpartition(".")[2]: key for key in reversed(keys)}
    near = difflib.get_close_matches(name, last_names, n=1, cutoff=0.75)
    if near:
        return f"did you mean {last_names[near[0]]}?"
    known = list(block.members)
    listed = ", ".join(known[:_MOST_KEYS_LISTED]) + (", ..." if len(known) > _MOST_KEYS_LISTED else "")
    return f"the keys of {block_path or 'a spec'} are {listed}"


def _all_keys(block: Block, path: str) -> Iterable[str]:
    for name, target in block.names.items():
        yield join(path, name)
        inner = block.members[target].kind.block
        if inner is not None and name == target:
            yield from _all_keys(describe(inner), join(path, name))
