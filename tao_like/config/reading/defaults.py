"""The ``defaults`` list of a spec: ready spec files of this package that its own keys are laid on.

Only by name and only from the package's own folder: no paths, no other files, no network. Hydra's compose
knows such lists too, but it keeps state for the whole process, resolves environment variables, and cannot say
in which line of which file a value stands.
"""

from __future__ import annotations

import dataclasses
import difflib

from tao_like.config.reading.document import read_file
from tao_like.config.reading.values import Findings, Value
from tao_like.config.shipped import shipped_spec_files

DEFAULTS = "defaults"
_SELF = "_self_"
_MOST = 10


def split_defaults(given: Value, findings: Findings) -> tuple[Value, dict[str, Value]]:
    """Take the ``defaults`` list out of a spec.

    Returns:
        The spec without it, and the ready specs that it names, by name, in their order: each is laid on
        those before it.
    """
    if not isinstance(given.content, dict) or DEFAULTS not in given.content:
        return given, {}
    own = {name: value for name, value in given.content.items() if name != DEFAULTS}
    listed = given.content[DEFAULTS]
    elements = listed.content if isinstance(listed.content, list) else [listed]
    if elements and elements[-1].content == _SELF:  # Hydra's word for the file itself, which is last anyway
        elements = elements[:-1]
    if len(elements) > _MOST:
        findings.at(listed, f"it names {len(elements)} specs; at most {_MOST} can be laid on one another")
        elements = []
    named: dict[str, Value] = {}
    for element in elements:
        base = _read(element, findings)
        if base is not None:
            named[str(element.content).removesuffix(".yaml")] = base
    return dataclasses.replace(given, content=own), named


def _read(element: Value, findings: Findings) -> Value | None:
    known = shipped_spec_files()
    name = element.content
    if not isinstance(name, str):
        findings.at(element, f"give names of ready specs, such as [{next(iter(known), 'task/name')}]")
        return None
    name = name.removesuffix(".yaml")
    if name in known:
        return read_file(known[name], findings)
    if name == _SELF:
        findings.at(element, f"{_SELF} stands last: the file's own keys are laid on all others")
        return None
    near = difflib.get_close_matches(name[:100], known, n=1, cutoff=0.4)
    hint = f"; did you mean {near[0]}?" if near else "; see tao-like specs list"
    findings.at(element, f"there is no ready spec '{name}', and files of your own cannot be named{hint}")
    return None
