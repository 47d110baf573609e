"""Plain values as YAML text."""

from __future__ import annotations

from typing import Any

import yaml

from tao_like.config.reading.document import plain_scalar


class _Dumper(yaml.SafeDumper):
    """Writes YAML that means the same to this toolkit's reader and to other YAML readers."""

    def ignore_aliases(self, data: Any) -> bool:
        """Write a list that stands in two places twice: anchors are not used in a spec."""
        return True


_OTHER_LINE_ENDS = "\r\x85\u2028\u2029"
"""What YAML reads as the end of a line, beside the usual one; only in double quotes is it written escaped."""


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    if any(end in text for end in _OTHER_LINE_ENDS):
        return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"')
    quoted = not isinstance(plain_scalar(text), str)
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="'" if quoted else None)


_Dumper.add_representer(str, _represent_text)


def dump(plain: Any, *, flow: bool = False) -> str:
    """Plain values as YAML: in blocks, or with ``flow`` in one line without its end."""
    text: str = yaml.dump(
        plain,
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        width=10**9,
        default_flow_style=True if flow else None,
    )
    return text.removesuffix("\n").removesuffix("\n...") if flow else text
