"""Checks a spec class itself: that its defaults keep its own rules."""

from __future__ import annotations

from typing import Any

from tao_like.config.loading import problems_of
from tao_like.config.reading.checking import check_block
from tao_like.config.reading.values import Findings, Location, from_plain
from tao_like.config.structure import Block, describe, plain_defaults


def validate_spec_class(spec_class: type[Any]) -> None:
    """Check that the defaults of a spec class keep its types, ranges, choices and ``check()`` rules.

    Meant for tests: what holds for a class need not be checked at every start.

    Raises:
        SpecError: a default breaks a rule, ``moved`` leads to a key that does not exist, or a key that
            exists is declared as ignored or moved; lists all that is wrong.
    """
    root, findings = describe(spec_class), Findings()
    location = Location(spec_class.__name__)
    check_block(root, from_plain(plain_defaults(root), location, ""), findings)
    for old, new in getattr(spec_class, "moved", {}).items():
        for key in (new,) if isinstance(new, str) else new:
            if not _exists(root, key):
                findings.add(location, old, f"moved to {key}, which does not exist")
    foreign = (getattr(spec_class, name, {}) for name in ("moved", "ignored", "refused"))
    for old in (key for keys in foreign for key in keys):
        if _exists(root, old):
            findings.add(location, old, "declared as moved, ignored or refused, and it is a key of the spec")
    findings.raise_if_any()
    for key, message in problems_of(spec_class()):
        findings.add(location, key, message)
    findings.raise_if_any()


def _exists(block: Block, key: str) -> bool:
    name, _, rest = key.partition(".")
    member = block.lookup(name)
    if member is None:
        return False
    if not rest:
        return True
    if member.kind.block is not None:
        return _exists(describe(member.kind.block), rest)
    return member.kind.values is not None
