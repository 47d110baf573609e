"""The network that is built: a graph of modules and functions that knows what its constants are for."""

from __future__ import annotations

from torch import Tensor, fx, nn
from torch.fx import GraphModule

from tao_like.byom.building.roles import Role

_ROLE = "role"
"""Under this name a node's ``meta`` holds what its parameter is for; copies of a graph keep it."""
_SCALES_AND_SHIFTS: tuple[Role, ...] = ("affine weight", "bias")


class ImportedGraph(GraphModule):
    """A foreign network, or a part of one."""

    def no_weight_decay(self) -> set[str]:
        """Names of parameters that weight decay is to leave alone, as timm's networks name theirs.

        Tables that are added to tokens or maps, stand beside tokens as tokens, or are added to the scores of
        an attention; and scales and shifts of channels. Found by their role in the graph, not by name.
        """
        names: set[str] = set()
        for node in self.graph.nodes:
            if _ROLE not in node.meta:
                continue
            if node.op == "call_module":
                held = self.get_submodule(str(node.target)).named_parameters()
                names.update(f"{node.target}.{name}" for name, _ in held)
            else:
                names.add(str(node.target))
        return names


def note_role(node: fx.Node, role: Role, constant: Tensor) -> None:
    """Notes at a node that gives a parameter what this is for, where weight decay is to leave it alone.

    Args:
        node: fetches the parameter, or calls the module that holds nothing else.
        role: of the parameter.
        constant: its values.
    """
    long_axes = sum(size > 1 for size in constant.shape)
    if role == "embedding weight" or (role in _SCALES_AND_SHIFTS and long_axes <= 1):
        node.meta[_ROLE] = role


def called_module(module: GraphModule, node: fx.Node) -> nn.Module | None:
    """The module that a node of a network calls; None where it calls none."""
    return module.get_submodule(str(node.target)) if node.op == "call_module" else None
