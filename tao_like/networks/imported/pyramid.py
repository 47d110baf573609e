"""An imported network's features at strides 8, 16 and 32, for networks that look for objects of all sizes."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from tao_like.bundle import Bundle
from tao_like.byom.conversion import Imported
from tao_like.byom.cuts import Cut, cut_at, find_cuts, refuse_missing, stride_of
from tao_like.byom.importing import TASK
from tao_like.errors import ConversionError, SpecError
from tao_like.networks.backbones.names import IMPORTED
from tao_like.networks.backbones.pyramid import STRIDES
from tao_like.networks.imported.backbone import kept_extra, named_cuts, read_imported
from tao_like.networks.imported.layout import ImageLayout, image_layout, shapes_at
from tao_like.networks.imported.precision import trainable_network


class ImportedPyramid(nn.Module):
    """Three maps of a foreign network; what lies behind the last is left out.

    Args:
        body: from images to the three maps.
        channels: of each.
        layout: how the source takes images.
    """

    def __init__(self, body: nn.Module, channels: tuple[int, ...], layout: ImageLayout) -> None:
        super().__init__()
        self.body = body
        self.channels = channels
        self.strides: tuple[float, ...] = STRIDES
        self.layout = layout

    def forward(self, inputs: Tensor) -> list[Tensor]:
        """Maps normalized images (N, 3, H, W) to three maps (N, channels, H / stride, W / stride)."""
        return list(self.body(self.layout(inputs)))


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


def imported_graph(backbone_type: str, path: str | None) -> tuple[bytes | None, dict[str, Any]]:
    """The graph of the imported network that a spec names, and what is said of it; None where it names none.

    Args:
        backbone_type: `model.backbone.type`.
        path: `model.backbone.pretrained_backbone_path`.
    """
    if backbone_type != IMPORTED or path is None:
        return None, {}
    bundle = imported_source(path)
    return bundle.graph, kept_extra(bundle)


def build_imported_pyramid(
    graph: bytes, extra: dict[str, Any], weights: dict[str, Tensor] | None, size: tuple[int, int]
) -> ImportedPyramid:
    """The maps of an imported graph at strides 8, 16 and 32: its features, not the outputs of its heads.

    Args:
        graph: the ONNX graph, as a bundle holds it.
        extra: what the bundle says of it.
        weights: of the whole imported network; None: as the graph has them.
        size: height and width of the input in pixels.

    Raises:
        SpecError: the network cannot take images of this size.
        ConversionError: it has no maps at these strides.
    """
    imported = trainable_network(graph, extra, weights)
    layout = image_layout(imported)
    cuts = detector_cuts(imported, shapes_at(imported, layout, size), size, named_cuts(extra))
    body = cut_at(imported, [cut.value for cut in cuts])
    return ImportedPyramid(body, tuple(cut.channels for cut in cuts), layout)


def detector_cuts(
    imported: Imported, shapes: dict[str, tuple[int, ...]], size: tuple[int, int], given: list[str]
) -> list[Cut]:
    """The features at strides 8, 16 and 32, fine to coarse: those that the user names, or those found.

    Raises:
        ConversionError: there are no maps at these strides.
    """
    if not given:
        found = {cut.what: cut for cut in find_cuts(imported, shapes)}
        lacking = [stride for stride in STRIDES if f"stride {stride}" not in found]
        if lacking:
            raise ConversionError(
                f"the imported network has no maps at strides {lacking}; `tao-like byom inspect` shows those "
                "that it has. A detector needs 8, 16 and 32"
            )
        return [found[f"stride {stride}"] for stride in STRIDES]
    cuts: dict[int, Cut] = {}
    for value in given:
        refuse_missing(value, shapes)
        stride, shape = stride_of(shapes[value], size), shapes[value]
        if stride not in STRIDES or stride in cuts:
            what = "is a second of its stride" if stride in STRIDES else f"has the shape {list(shape)}"
            raise ConversionError(
                "a detector stands on one map at each of the strides 8, 16 and 32; for images of "
                f"{size[0]} x {size[1]} pixels the value '{value}' {what}"
            )
        cuts[stride] = Cut(value, f"stride {stride}", shape, shape[1], "named with --cut")
    lacking = [stride for stride in STRIDES if stride not in cuts]
    if lacking:
        raise ConversionError(
            f"a detector stands on maps at strides 8, 16 and 32; --cut names none at {lacking}. Give three "
            "values with commas between them, or none to have them chosen"
        )
    return [cuts[stride] for stride in STRIDES]
