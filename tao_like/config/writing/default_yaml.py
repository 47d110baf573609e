"""Prints the whole spec of a task as commented YAML."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Iterator
from typing import Any

from tao_like.config.fields import MISSING, Rule
from tao_like.config.structure import Block, Kind, Member, describe, plain_default, range_text

_WIDTH = 100
_MOST_CHOICES = 8


def default_yaml(spec_class: type[Any]) -> str:
    """Every key of a spec class with its default, and its meaning, unit, range or choices as a comment.

    The text is itself a spec file: it loads to the defaults.
    """
    root = describe(spec_class)
    title = (inspect.getdoc(spec_class) or spec_class.__name__).split("\n\n")[0]
    header = [*_comment(title, ""), *_comment("Keys that are left out have the default shown here.", "")]
    lines = list(_block_lines(root, ""))
    if any(MISSING in line for line in lines):
        header += _comment(f"{MISSING} must be given before the stage that it belongs to runs.", "")
    return "\n".join([*header, *lines]) + "\n"


def _block_lines(block: Block, indent: str) -> Iterator[str]:
    after_block = False
    for i, member in enumerate(block.members.values()):
        is_block = member.kind.block is not None
        if not indent or after_block or (is_block and i > 0):
            yield ""
        after_block = is_block
        yield from _comment(_meaning(member), indent)
        if member.kind.block is not None:
            yield f"{indent}{member.name}:"
            yield from _block_lines(describe(member.kind.block), f"{indent}  ")
        else:
            yield from _element_help(member.kind, indent)
            yield from _value_lines(member, indent)


def _value_lines(member: Member, indent: str) -> Iterator[str]:
    default = plain_default(member)
    if isinstance(default, dict) and default:
        yield f"{indent}{member.name}:"
        for name, item in default.items():
            yield f"{indent}  {_inline(name)}: {_inline(item)}"
    else:
        yield f"{indent}{member.name}: {MISSING if member.mandatory else _inline(default)}"


def _element_help(kind: Kind, indent: str) -> Iterator[str]:
    """The keys of each element of a list of blocks, as comments."""
    if kind.element is None or kind.element.block is None:
        return
    yield f"{indent}# Each element has the keys:"
    for member in describe(kind.element.block).members.values():
        value = MISSING if member.mandatory else _inline(plain_default(member))
        yield from _comment(f"{member.name}: {value} - {_meaning(member)}", indent, hang="    ")


def _meaning(member: Member) -> str:
    """The sentence about a key, with its facts in brackets behind it."""
    facts = [
        fact
        for fact in (member.rule.unit, range_text(member.kind, member.rule), _choices(member.rule))
        if fact
    ]
    if member.kind.optional:
        facts.append("or null")
    if member.rule.aliases:
        facts.append(f"also called {', '.join(member.rule.aliases)}")
    sentence = member.rule.help.rstrip(".")
    return f"{sentence} [{'; '.join(facts)}]" if facts else sentence


def _choices(rule: Rule) -> str:
    choices = [str(choice) for choice in rule.choices]
    if len(choices) <= _MOST_CHOICES:
        return ", ".join(choices)
    return f"{', '.join(choices[:_MOST_CHOICES])}, ... ({len(choices)} in all)"


def _comment(text: str, indent: str, *, hang: str = "") -> list[str]:
    return textwrap.wrap(
        " ".join(text.split()),
        width=_WIDTH,
        initial_indent=f"{indent}# {hang}",
        subsequent_indent=f"{indent}# {hang}{hang}",
        break_long_words=False,
        break_on_hyphens=False,
    )


def _inline(value: Any) -> str:
    from tao_like.config.writing.yaml_text import (
        dump,  # yaml takes 40 ms to import, and most commands write nothing
    )

    return dump(value, flow=True)
