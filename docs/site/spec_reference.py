"""A task's spec as a page: every key with meaning, type, range or choices, default and other names.

All of it is read from the spec classes, as ``default_specs`` and ``schema`` are.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

from tao_like.config.structure import Block, Member, describe, join, plain_default, range_text
from tao_like.config.writing.yaml_text import dump

TABLE_HEAD = ("| key | meaning | value | default |", "|---|---|---|---|")


def spec_reference(task: str, spec_class: type[Any]) -> str:
    """The page of a task's spec, as Markdown; each key has its dotted name as an anchor."""
    lines = [
        f"# Spec of {task}",
        "",
        f"What may stand in a spec file of `tao-like {task}`, and behind its commands as `key=value`. A key",
        f"that is left out has its default. `tao-like {task} default_specs` prints the same as YAML.",
        "",
        *_block_lines(describe(spec_class), ""),
        *_foreign_lines(spec_class),
    ]
    return "\n".join(lines) + "\n"


def _block_lines(block: Block, path: str) -> Iterator[str]:
    """A block's own keys as a table, then its blocks one after the other."""
    members = block.members.values()
    own = [member for member in members if member.kind.block is None]
    if own:
        yield from TABLE_HEAD
        yield from (_row(member, path) for member in own)
        yield ""
    for member in members:
        key = join(path, member.name)
        element = member.kind.element
        if member.kind.block is not None:
            yield from _heading(key, member, describe(member.kind.block))
            yield from _block_lines(describe(member.kind.block), key)
        elif element is not None and element.block is not None:
            yield from _heading(f"{key}[]", member, describe(element.block))
            yield from _block_lines(describe(element.block), f"{key}[]")


def _heading(key: str, member: Member, block: Block) -> Iterator[str]:
    level = 2 if "." not in key else 3
    purpose = (inspect.getdoc(block.cls) or member.rule.help).split("\n\n")[0]
    also = f" Also called {_names(member)}." if member.rule.aliases else ""
    yield f"{'#' * level} `{key}` {{ #{key.removesuffix('[]')}{'-element' if key.endswith('[]') else ''} }}"
    yield ""
    yield f"{_escaped(' '.join(purpose.split()))}{also}"
    yield ""


def _row(member: Member, path: str) -> str:
    key = join(path, member.name)
    meaning = _escaped(member.rule.help.rstrip("."))
    if member.rule.aliases:
        meaning += f". Also called {_names(member)}"
    default = "must be given" if member.mandatory else f"`{dump(plain_default(member), flow=True)}`"
    return f"| `{member.name}`{{ #{key} }} | {meaning} | {_escaped(_value(member))} | {default} |"


def _names(member: Member) -> str:
    return ", ".join(f"`{alias}`" for alias in member.rule.aliases)


def _value(member: Member) -> str:
    """What may stand there: choices, or type, range and unit."""
    kind, rule = member.kind, member.rule
    choices = ", ".join(f"`{choice}`" for choice in rule.choices)
    if choices and kind.element is None:
        return f"{choices} or null" if kind.optional else choices
    words = "a path" if rule.path and kind.is_text else kind.sentence().removesuffix(" or null")
    facts = [words, range_text(kind, rule), f"each of {choices}" if choices else "", rule.unit]
    text = re.sub(r"([<>]=?) ", "\\1\u00a0", ", ".join(fact for fact in facts if fact))  # never apart
    return f"{text}, or null" if kind.optional else text


def _escaped(text: str) -> str:
    """Text whose signs mean nothing to Markdown; what stands in backticks is left alone."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(part if part.startswith("`") else _plain(part) for part in parts)


def _plain(text: str) -> str:
    return re.sub(r"([|*\[\]])", r"\\\1", text).replace("<", "&lt;").replace("{", "&#123;")


def _foreign_lines(spec_class: type[Any]) -> Iterator[str]:
    """TAO's keys that stand elsewhere here, or mean nothing."""
    moved, ignored, refused = (getattr(spec_class, name, {}) for name in ("moved", "ignored", "refused"))
    if moved:
        yield from ("## Keys of TAO that stand elsewhere { #moved }", "", "| TAO | here |", "|---|---|")
        named = ((old, (new,) if isinstance(new, str) else new) for old, new in moved.items())
        yield from (f"| `{old}` | {', '.join(f'`{key}`' for key in new)} |" for old, new in named)
        yield ""
    if ignored:
        yield from ("## Keys of TAO that are ignored { #ignored }", "", "| key | why |", "|---|---|")
        yield from (f"| `{key}` | {_escaped(reason)} |" for key, reason in ignored.items())
        yield ""
    if refused:
        yield from (
            "## Keys of TAO that must be empty { #refused }",
            "",
            "| key | in its place |",
            "|---|---|",
        )
        yield from (f"| `{key}` | {_escaped(remedy)} |" for key, remedy in refused.items())
