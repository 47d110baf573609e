"""A foreign segmenter: its own network up to the layer that tells classes, and a new layer of classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from tao_like.byom.cuts import DENSE, Cut, cut_at, find_cuts, refuse_missing
from tao_like.errors import ConversionError, SpecError
from tao_like.networks.imported.backbone import named_cuts
from tao_like.networks.imported.layout import ImageLayout, image_layout, shapes_at
from tao_like.networks.imported.precision import trainable_network

_MAP_AXES = 4


class DenseBody(nn.Module):
    """A foreign segmenter without its class layers.

    Args:
        body: from images to the maps that went into these.
        layout: how the source takes images.
    """

    def __init__(self, body: nn.Module, layout: ImageLayout) -> None:
        super().__init__()
        self.body, self.layout = body, layout

    def forward(self, inputs: Tensor) -> list[Tensor]:
        """Maps normalized images (N, 3, H, W) to maps (N, channels, h, w), in the order of the cuts."""
        maps: Tensor | tuple[Tensor, ...] = self.body(self.layout(inputs))
        return [maps] if isinstance(maps, Tensor) else list(maps)


class ClassMaps(nn.Module):
    """A layer of classes over each map; their logits are added at the size of the finest.

    Args:
        channels: of each map.
        num_classes: width of the output.
    """

    def __init__(self, channels: Sequence[int], num_classes: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv2d(width, num_classes, 1) for width in channels)

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Maps (N, channels, h, w) to logits (N, classes, h, w) of the finest."""
        logits = [layer(one) for layer, one in zip(self.layers, maps, strict=True)]
        total = max(logits, key=lambda one: one.shape[-2])
        for one in logits:
            if one is not total:
                total = total + functional.interpolate(
                    one, total.shape[-2:], mode="bilinear", align_corners=False
                )
        return total


class ImportedSegmenter(nn.Module):
    """A foreign segmenter in the form of segmentation_models_pytorch: encoder, decoder, segmentation head.

    Args:
        body: the foreign network, its own decoder included.
        channels: of the maps that it gives.
        num_classes: width of the output.
    """

    def __init__(self, body: DenseBody, channels: Sequence[int], num_classes: int) -> None:
        super().__init__()
        self.encoder = body
        self.decoder = nn.Identity()
        self.segmentation_head = nn.Sequential(ClassMaps(channels, num_classes))

    def forward(self, inputs: Tensor) -> Tensor:
        """Maps normalized images (N, 3, H, W) to logits (N, classes, h, w)."""
        logits: Tensor = self.segmentation_head(self.decoder(self.encoder(inputs)))
        return logits


def build_imported_dense(
    graph: bytes,
    extra: dict[str, Any],
    weights: dict[str, Tensor] | None,
    *,
    num_classes: int,
    size: tuple[int, int],
    crop: tuple[int, int] | None = None,
) -> ImportedSegmenter:
    """The segmenter of an imported graph.

    Args:
        graph: the ONNX graph, as a bundle holds it.
        extra: what the bundle says of it.
        weights: of the whole imported network; None: as the graph has them.
        num_classes: width of the new class layer.
        size: height and width of the input in pixels.
        crop: those of what it trains on, where they are others.

    Raises:
        SpecError: the network cannot take images of one of these sizes.
        ConversionError: it has no layer of classes over a map.
    """
    imported = trainable_network(graph, extra, weights)
    layout = image_layout(imported)
    shapes = shapes_at(imported, layout, size)
    if crop is not None and crop != size:
        try:
            shapes_at(imported, layout, crop)
        except SpecError as error:
            raise SpecError(
                f"dataset.augmentation.train_crop_size: the imported network cannot take crops of "
                f"{crop[0]} x {crop[1]} pixels (its input is {size[0]} x {size[1]}); give []"
            ) from error
    cuts = _named(shapes, named_cuts(extra)) or [
        cut for cut in find_cuts(imported, shapes) if cut.what == DENSE
    ]
    if not cuts:
        raise ConversionError(
            "the imported network has no layer that tells the classes of a map; name the map to stand on "
            "with `tao-like byom convert --cut`"
        )
    body = DenseBody(cut_at(imported, [cut.value for cut in cuts]), layout)
    return ImportedSegmenter(body, [cut.channels for cut in cuts], num_classes)


def _named(shapes: dict[str, tuple[int, ...]], given: Sequence[str]) -> list[Cut]:
    """The maps that the user names."""
    cuts = []
    for value in given:
        refuse_missing(value, shapes)
        shape = shapes[value]
        if len(shape) != _MAP_AXES or min(shape[2:]) < 2:
            raise ConversionError(
                f"a segmenter stands on a map; the value '{value}' has the shape {list(shape)}"
            )
        cuts.append(Cut(value, DENSE, shape, shape[1], "named with --cut"))
    return cuts
