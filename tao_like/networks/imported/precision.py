"""Networks that came in half precision, in single precision: as they are trained, and exported again."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx

from tao_like.bundle import Bundle
from tao_like.byom.conversion import Imported
from tao_like.byom.importing import BATCH, TASK, bound_to, from_bundle
from tao_like.errors import SpecError
from tao_like.networks.weights.checkpoints import SOURCE_KEY

_HALF = (torch.float16, torch.bfloat16)


def trainable_network(graph: bytes, extra: dict[str, Any], weights: dict[str, Tensor] | None) -> Imported:
    """An imported network, in single precision wherever its file has half precision.

    Args:
        graph: the ONNX graph, as a bundle holds it.
        extra: what the bundle says of it.
        weights: of the whole imported network; None: as the graph has them.

    Raises:
        SpecError: the network takes a fixed number of samples.
        BundleError: the weights are those of another network.
        ConversionError: the graph cannot be converted.
    """
    if extra.get(BATCH) is not None:
        raise SpecError(f"{SOURCE_KEY}: {bound_to(extra[BATCH])}")
    bundle = Bundle(TASK, {}, [], {}, {}, {}, None, [], weights or {}, graph=graph, extra=extra)
    imported = from_bundle(bundle, strict=weights is not None)
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
