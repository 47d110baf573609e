"""Operations that the user teaches: a network that needs them says so, and is not built without them."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from tao_like.byom.building.registry import taught_in
from tao_like.byom.source.graph import Graph, all_nodes
from tao_like.errors import BundleError, ConversionError

TAUGHT = "taught"
"""In a report and a bundle: operations that the user teaches, with the name of the file that does."""


def taught_operations(graph: Graph) -> dict[str, str]:
    """Operations of a graph that the user teaches, with the name of the file that does."""
    found = {}
    for node in all_nodes(graph):
        file = taught_in(node.domain, node.op, graph.opsets.get(node.domain, 1))
        if file is not None:
            found[node.qualified] = file
    return dict(sorted(found.items()))


def teaching_notes(taught: Mapping[str, str]) -> list[str]:
    """What to tell the user of a network with such operations."""
    if not taught:
        return []
    files = dict.fromkeys(taught.values())
    return [
        f"{', '.join(files)} teaches {', '.join(taught)}: every command that reads this bundle or one that "
        f"comes of it needs {_options(files)} too; exported ONNX files do not"
    ]


def refuse_untaught(extra: Mapping[str, Any]) -> None:
    """Refuses a bundle that needs operations which nobody has taught this process.

    Without them a network might be built with what is built in for an operation, and be another one.

    Args:
        extra: what the bundle says.

    Raises:
        BundleError: it says something else than names.
        ConversionError: an operation is not taught.
    """
    taught = extra.get(TAUGHT, {})
    if not isinstance(taught, Mapping) or not all(isinstance(file, str) for file in taught.values()):
        raise BundleError(f"the bundle's {TAUGHT!r} must say for each operation which file teaches it")
    lacking = {name: file for name, file in taught.items() if not _is_taught(name)}
    if lacking:
        files = dict.fromkeys(lacking.values())
        raise ConversionError(
            f"the network was converted with {', '.join(files)}, which teaches {', '.join(lacking)}; give "
            f"{_options(files)} to this command too (in Python: import it first)"
        )


def _is_taught(qualified: str) -> bool:
    domain, _, op = qualified.rpartition(".")
    return taught_in(domain, op, sys.maxsize) is not None


def _options(files: Mapping[str, Any]) -> str:
    return " ".join(f"--module {file}" for file in files)
