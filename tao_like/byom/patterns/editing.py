"""What every change of an imported graph ends with."""

from __future__ import annotations

from collections import Counter

from torch import fx


def drop_unused(module: fx.GraphModule, value_nodes: dict[str, fx.Node]) -> None:
    """Takes away the operators and modules that nothing needs any more, and compiles the rest.

    Args:
        module: its graph has been changed.
        value_nodes: nodes by the names of the file's values; those that are gone leave it.
    """
    module.graph.eliminate_dead_code(is_impure_node=lambda node: node.op in ("placeholder", "output"))
    module.graph.lint()
    module.delete_all_unused_submodules()
    module.recompile()
    alive = set(module.graph.nodes)
    for name in [name for name, node in value_nodes.items() if node not in alive]:
        del value_nodes[name]


def calls_by_module(module: fx.GraphModule) -> Counter[str]:
    """How often the graph calls each module, by its path."""
    return Counter(str(node.target) for node in module.graph.nodes if node.op == "call_module")


def free_path(module: fx.GraphModule, holder: str, word: str) -> str:
    """The path of a submodule of this name, with ``_`` behind it where the name is taken."""
    while hasattr(module.get_submodule(holder), word):
        word += "_"
    return f"{holder}.{word}" if holder else word
