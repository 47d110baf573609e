"""An imported network's features at strides 8, 16 and 32, for networks that look for objects of all sizes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from tao_like.bundle import Bundle
from tao_like.byom.cuts import cut_at, find_cuts, value_shapes
from tao_like.byom.importing import TASK, from_bundle
from tao_like.errors import ConversionError, SpecError
from tao_like.networks.backbones.pyramid import STRIDES
from tao_like.networks.imported.backbone import SIZE_KEY, image_shape, read_imported, refuse_bound


class ImportedPyramid(nn.Module):
    """Three maps of a foreign network; what lies behind the last is left out.

    Args:
        body: from pictures to the three maps.
        channels: of each.
        channels_last: the source takes pictures (N, H, W, C).
    """

    def __init__(self, body: nn.Module, channels: tuple[int, ...], *, channels_last: bool) -> None:
        super().__init__()
        self.body = body
        self.channels = channels
        self.strides: tuple[float, ...] = STRIDES
        self.channels_last = channels_last

    def forward(self, inputs: Tensor) -> list[Tensor]:
        """Maps normalized pictures (N, 3, H, W) to three maps (N, channels, H / stride, W / stride)."""
        return list(self.body(inputs.permute(0, 2, 3, 1) if self.channels_last else inputs))


def imported_source(path: str) -> Bundle:
    """The bundle of an imported network that no task has trained yet.

    Raises:
        SpecError: there is no such file, or a task has trained it: then it holds no whole network.
        BundleError: it is damaged, or no imported network.
    """
    bundle = read_imported(path)
    if bundle.task != TASK:
        raise SpecError(
            f"model.backbone.pretrained_backbone_path: {path} holds a network that {bundle.task} has "
            "trained; give the bundle that `tao-like byom convert` wrote"
        )
    return bundle


def build_imported_pyramid(
    graph: bytes, extra: dict[str, Any], weights: dict[str, Tensor] | None, size: tuple[int, int]
) -> ImportedPyramid:
    """The maps of an imported graph: at each stride the last one.

    Args:
        graph: the ONNX graph, as a bundle holds it.
        extra: what the bundle says of it.
        weights: of the whole imported network; None: as the graph has them.
        size: height and width of the input in pixels.

    Raises:
        SpecError: the network cannot take pictures of this size.
        ConversionError: it has no maps at these strides.
    """
    refuse_bound(extra)
    source = Bundle(TASK, {}, [], {}, {}, {}, None, [], weights or {}, graph=graph, extra=extra)
    imported = from_bundle(source, strict=weights is not None)
    shape = image_shape(imported, size)
    try:
        shapes = value_shapes(imported, [torch.zeros(1, *shape)])
    except Exception as error:  # a graph that is bound to a size fails anywhere in torch
        declared = list(imported.graph.type_of(imported.graph.inputs[0]).shape or ())
        raise SpecError(
            f"{SIZE_KEY}: the imported network cannot take pictures of {size[0]} x {size[1]} pixels; the "
            f"file says {declared}"
        ) from error
    found = {cut.what: cut for cut in find_cuts(imported, shapes)}
    lacking = [stride for stride in STRIDES if f"stride {stride}" not in found]
    if lacking:
        raise ConversionError(
            f"the imported network has no maps at strides {lacking}; `tao-like byom inspect` shows those "
            "that it has. A detector needs 8, 16 and 32"
        )
    cuts = [found[f"stride {stride}"] for stride in STRIDES]
    body = cut_at(imported, [cut.value for cut in cuts])
    return ImportedPyramid(body, tuple(cut.channels for cut in cuts), channels_last=shape[0] != 3)
