"""Published checkpoints of ST-GCN (st-gcn, TAO) and ST-GCN++ (pyskl): a strict map of their names to ours."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from tao_like.errors import SpecError

# Ours to theirs. In both, a graph convolution's K kernels lie in one convolution, one behind the other.
_STGCN = (
    (r"norm\.", "data_bn."),
    (r"blocks\.(\d+)\.spatial\.importance", r"edge_importance.\1"),
    (r"blocks\.(\d+)\.temporal\.", r"st_gcn_networks.\1.tcn."),
    (r"blocks\.(\d+)\.residual\.", r"st_gcn_networks.\1.residual."),
    (r"head\.", "fcn."),
)
_PYSKL = (
    (r"norm\.", "backbone.data_bn."),
    (r"blocks\.(\d+)\.spatial\.adjacency", r"backbone.gcn.\1.gcn.A"),
    (r"blocks\.(\d+)\.norm\.", r"backbone.gcn.\1.gcn.bn."),
    (r"blocks\.(\d+)\.inner\.", r"backbone.gcn.\1.gcn.down."),
    (r"blocks\.(\d+)\.temporal\.branches\.(\d+)\.3\.", r"backbone.gcn.\1.tcn.branches.\2.3.conv."),
    (r"blocks\.(\d+)\.temporal\.branches\.", r"backbone.gcn.\1.tcn.branches."),
    (r"blocks\.(\d+)\.temporal\.mixing\.", r"backbone.gcn.\1.tcn.transform."),
    (r"blocks\.(\d+)\.temporal\.norm\.", r"backbone.gcn.\1.tcn.bn."),
    (r"blocks\.(\d+)\.residual\.0\.", r"backbone.gcn.\1.residual.conv."),
    (r"blocks\.(\d+)\.residual\.1\.", r"backbone.gcn.\1.residual.bn."),
    (r"head\.", "cls_head.fc_cls."),
)
_KERNEL = re.compile(r"blocks\.(\d+)\.spatial\.convolutions\.(\d+)\.(weight|bias)")
_HEADS = ("fcn.", "cls_head.")
_NAMED = 3


def their_name(name: str, plus_plus: bool) -> str:
    """What a published checkpoint calls one of our tensors; kernels of a graph convolution share a name."""
    if found := _KERNEL.fullmatch(name):
        folder = "backbone.gcn" if plus_plus else "st_gcn_networks"
        return f"{folder}.{found[1]}.gcn.conv.{found[3]}"
    for ours, theirs in _PYSKL if plus_plus else _STGCN:
        if re.match(ours, name):
            return re.sub(f"^{ours}", theirs, name)
    return name


def to_ours(
    published: Mapping[str, Tensor], own: Mapping[str, Tensor], *, plus_plus: bool, graph: Tensor
) -> dict[str, Tensor]:
    """A published state dict under our names; the last layer stays as it is, for its classes are not known.

    Args:
        published: of a whole network, as its project names the tensors.
        own: a stream's state dict, for names and shapes.
        plus_plus: it is ST-GCN++ from pyskl; else ST-GCN from st-gcn or TAO.
        graph: (K, V, V), the adjacency of the spec; ST-GCN's file must have the same.

    Returns:
        The state dict.

    Raises:
        SpecError: names or shapes are others, or the graph is another; the message lists them.
    """
    rest = dict(published)
    filled: dict[str, Tensor] = {}
    wrong: list[str] = []
    for name, tensor in own.items():
        if not plus_plus and name.endswith("spatial.adjacency"):
            filled[name] = tensor
            continue
        theirs = their_name(name, plus_plus)
        found = published.get(theirs)
        rest.pop(theirs, None)
        if found is None:
            # Old files do not count batches; a network without importance has none.
            if not name.endswith("num_batches_tracked"):
                wrong.append(f"{theirs} is missing")
            filled[name] = tensor
            continue
        if kernel := _KERNEL.fullmatch(name):
            found = found[len(tensor) * int(kernel[2]) : len(tensor) * (int(kernel[2]) + 1)]
        if theirs.startswith(_HEADS):
            filled[name] = tensor
            continue
        if found.numel() != tensor.numel():
            wrong.append(f"{theirs} has the shape {list(found.shape)}, and {list(tensor.shape)} is needed")
            continue
        filled[name] = found.reshape(tensor.shape)
    given = rest.pop("A", None)
    if given is not None and (given.shape != graph.shape or not torch.allclose(given, graph, atol=1e-5)):
        wrong.append("its graph A is another: model.graph_layout, graph_strategy or center_distance differ")
    wrong += [f"{name} has no parameter" for name in rest if not name.endswith("num_batches_tracked")]
    if wrong:
        more = f" and {len(wrong) - _NAMED} more" if len(wrong) > _NAMED else ""
        raise SpecError(f"{'; '.join(wrong[:_NAMED])}{more}")
    return filled
