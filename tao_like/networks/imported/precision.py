"""Networks that came in half precision, in single precision: as they are trained, and exported again."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx

from tao_like.bundle import Bundle
from tao_like.byom.conversion import Imported
from tao_like.byom.importing import from_bundle

_HALF = (torch.float16, torch.bfloat16)


def trainable_network(bundle: Bundle, *, strict: bool) -> Imported:
    """The network of a bundle, in single precision wherever its file has half precision.

    Args:
        bundle: holds the graph.
        strict: the bundle's weights are those of this very network; else the graph's own are kept.

    Raises:
        BundleError: it holds no graph, or weights of another network.
        ConversionError: its graph cannot be converted.
    """
    imported = from_bundle(bundle, strict=strict)
    tensors = (*imported.module.parameters(), *imported.module.buffers())
    if any(tensor.dtype in _HALF for tensor in tensors):
        imported.module.float()
        for part in imported.module.modules():
            if isinstance(part, fx.GraphModule):
                _name_single(part)
    return imported


def _name_single(module: fx.GraphModule) -> None:
    """Names single precision wherever the code of a network names half precision."""

    def single(item: Any) -> Any:
        return torch.float32 if isinstance(item, torch.dtype) and item in _HALF else item

    for node in module.graph.nodes:
        node.args = torch.utils._pytree.tree_map(single, node.args)
        node.kwargs = torch.utils._pytree.tree_map(single, node.kwargs)
    module.recompile()
