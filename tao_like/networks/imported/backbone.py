"""An imported network as a classifier's backbone: the contract of timm's networks on a foreign graph."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn

from tao_like.bundle import GRAPH_ROLES, Bundle, read_bundle
from tao_like.byom.building.in_place import keep
from tao_like.byom.building.network import ImportedGraph
from tao_like.byom.conversion import Imported
from tao_like.byom.cuts import POOLED, Head, cut_at, find_cuts, find_head, refuse_missing
from tao_like.byom.importing import GATES, HEADS
from tao_like.byom.teaching import TAUGHT
from tao_like.errors import BundleError, ConversionError, SpecError
from tao_like.networks.backbones.names import IMPORTED
from tao_like.networks.backbones.table import Normalization
from tao_like.networks.imported.layout import ImageLayout, image_layout, shapes_at
from tao_like.networks.imported.precision import trainable_network
from tao_like.networks.weights.checkpoints import SOURCE_KEY

IMAGENET = Normalization(
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
    interpolation="bilinear",
    crop_pct=0.875,
    input_size=(3, 224, 224),
)
"""How images are preprocessed where nobody says it: a foreign file does not."""
_MAP_AXES = 4
_KEPT = ("cut", HEADS, GATES, GRAPH_ROLES, TAUGHT)


class MeanOfTokens(nn.Module):
    """The mean of tokens (N, L, C), or of the positions of a map (N, C, H, W)."""

    def forward(self, values: Tensor) -> Tensor:
        """(N, C)."""
        return values.mean((2, 3)) if values.ndim == _MAP_AXES else values.mean(1)


class JoinedFeatures(nn.Module):
    """Features of several classifiers, one behind the other."""

    def forward(self, features: tuple[Tensor, ...]) -> Tensor:
        """(N, C) each to (N, sum of C)."""
        return torch.cat(features, 1)


class ImportedBackbone(nn.Module):
    """A foreign classifier without its own head, and a linear layer on top.

    Args:
        body: from the source's input to the last map, or to the pooled features.
        pool: from there to pooled features (N, C), perhaps with axes of size one behind.
        channels: C.
        num_classes: width of the output.
        drop_rate: fraction of the head's input that training drops.
        layout: how the source takes images.
        map_channels: width of what ``body`` gives, where it is not C: layers of the source lie between.
        own_head: weight (classes, C) and bias of the source's own head.
    """

    def __init__(
        self,
        body: nn.Module,
        pool: nn.Module,
        channels: int,
        num_classes: int,
        *,
        drop_rate: float,
        layout: ImageLayout,
        map_channels: int | None = None,
        own_head: tuple[Tensor, Tensor | None] | None = None,
    ) -> None:
        super().__init__()
        self.body, self.pool = body, pool
        self.drop = nn.Dropout(drop_rate)
        self.head = nn.Linear(channels, num_classes)
        self.num_features = channels
        if map_channels not in (None, channels):
            # As timm has it: one number for the map, another for what goes into the head.
            self.num_features, self.head_hidden_size = map_channels, channels
        self.layout = layout
        self._own_head = own_head

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, 3, H, W) to logits (N, classes)."""
        return self.forward_head(self.forward_features(images))

    def forward_features(self, images: Tensor) -> Tensor:
        """The last map, or the pooled features where the source has no map that stands alone."""
        features: Tensor = self.body(self.layout(images))
        return features

    def forward_head(self, features: Tensor, pre_logits: bool = False) -> Tensor:
        """Logits of what ``forward_features`` gave, or what goes into the head."""
        pooled = self.drop(self.pool(features).flatten(1))
        return pooled if pre_logits else self.head(pooled)

    def get_classifier(self) -> nn.Module:
        """The head."""
        return self.head

    def take_own_head(self, order: Sequence[int]) -> None:
        """Fills the head with the source's own, its classes in another order."""
        assert self._own_head is not None
        weight, bias = self._own_head
        rows = list(order)
        with torch.no_grad():
            self.head.weight.copy_(weight[rows])
            if bias is None:
                self.head.bias.zero_()
            else:
                self.head.bias.copy_(bias[rows])


def read_imported(source: str) -> Bundle:
    """The bundle of an imported network.

    Raises:
        SpecError: there is no such file.
        BundleError: it is damaged, or no imported network.
    """
    path = Path(source)
    if not path.is_file():
        raise SpecError(
            f"{SOURCE_KEY}: there is no file {path}; with model.backbone.type={IMPORTED} it names the bundle "
            "that `tao-like byom convert` wrote"
        )
    bundle = read_bundle(path)
    if bundle.graph is None:
        raise BundleError(
            f"{SOURCE_KEY}: {path} holds no imported network; make one with `tao-like byom convert`"
        )
    return bundle


def kept_extra(bundle: Bundle) -> dict[str, Any]:
    """What a bundle that a task has trained must keep of what an imported network's bundle says."""
    return {name: bundle.extra[name] for name in _KEPT if name in bundle.extra}


def named_cuts(extra: dict[str, Any]) -> list[str]:
    """The values at which the user has cut a network; none where the task is to choose."""
    given = extra.get("cut") or []
    return [given] if isinstance(given, str) else list(given)


def build_imported(
    graph: bytes,
    extra: dict[str, Any],
    weights: dict[str, Tensor] | None,
    *,
    num_classes: int,
    img_size: int,
    drop_rate: float = 0.0,
) -> ImportedBackbone:
    """The backbone of an imported graph.

    Args:
        graph: the ONNX graph, as a bundle holds it.
        extra: what the bundle says of it: where to cut.
        weights: of the whole imported network; None: as the graph has them.
        num_classes: width of the new head.
        img_size: side of the images in pixels.
        drop_rate: fraction of the head's input that training drops.

    Raises:
        SpecError: the network cannot take images of this size.
        ConversionError: it has nothing that a classifier could stand on.
    """
    imported = trainable_network(graph, extra, weights)
    layout = image_layout(imported)
    shapes = shapes_at(imported, layout, (img_size, img_size))
    head = find_head(imported, shapes)
    given = named_cuts(extra)
    if len(given) > 1:
        raise ConversionError(
            f"the bundle was cut at {len(given)} values, for a detector; a classifier stands on one"
        )
    cut = given[0] if given else (head.features if head else None)
    several = [one for one in find_cuts(imported, shapes) if one.what == POOLED] if cut is None else []
    if several:
        body = nn.Sequential(cut_at(imported, [one.value for one in several]), JoinedFeatures())
        width = sum(one.channels for one in several)
        return ImportedBackbone(body, nn.Identity(), width, num_classes, drop_rate=drop_rate, layout=layout)
    if cut is None:
        raise ConversionError(
            "the imported network has no pooled features for a classifier; name a value with "
            "`tao-like byom convert --cut`"
        )
    whole, pool, channels, map_channels = _divided(imported, shapes, cut)
    own = _own_head(imported, head) if head is not None and head.features == cut else None
    return ImportedBackbone(
        whole,
        pool,
        channels,
        num_classes,
        drop_rate=drop_rate,
        layout=layout,
        map_channels=map_channels,
        own_head=own,
    )


def _divided(
    imported: Imported, shapes: dict[str, tuple[int, ...]], cut: str
) -> tuple[nn.Module, nn.Module, int, int]:
    """From the input to a map, from there to pooled features, and the widths of both."""
    refuse_missing(cut, shapes)
    shape = shapes[cut]
    if len(shape) == _MAP_AXES and shape[2] * shape[3] > 1:
        return cut_at(imported, [cut]), MeanOfTokens(), shape[1], shape[1]
    if len(shape) == _MAP_AXES - 1 and shape[1] > 1:
        return cut_at(imported, [cut]), MeanOfTokens(), shape[2], shape[2]
    channels = shape[1] if len(shape) > 1 else 0
    if channels < 1:
        raise ConversionError(
            f"the value '{cut}' of shape {list(shape)} is nothing that a classifier stands on"
        )
    last = _last_map(imported, shapes, cut)
    if last is not None:
        pool = _between(imported, last, cut)
        if pool is not None:
            return cut_at(imported, [last]), pool, channels, shapes[last][1]
    return cut_at(imported, [cut]), nn.Identity(), channels, channels


def _last_map(imported: Imported, shapes: dict[str, tuple[int, ...]], cut: str) -> str | None:
    """The last map on the way to a value: the one from which everything behind it follows."""
    names = {node: name for name, node in imported.value_nodes.items()}
    node = imported.value_nodes[cut]
    while True:
        before = [one for one in node.all_input_nodes if one.all_input_nodes]
        if not before:
            return None
        # Sizes that are asked for on the way come from the same values, later ones first.
        tensors = [one for one in before if names.get(one) in shapes] or before
        node = tensors[0]
        shape = shapes.get(names.get(node, ""), ())
        if len(shape) == _MAP_AXES and shape[2] > 1 and shape[3] > 1:
            return names[node]


def _between(imported: Imported, first: str, last: str) -> ImportedGraph | None:
    """The network from one value to another; None where something else goes in too."""
    start, end = imported.value_nodes[first], imported.value_nodes[last]
    needed: set[fx.Node] = set()
    waiting = [end]
    while waiting:
        node = waiting.pop()
        if node in needed or node is start:
            continue
        if node.op == "placeholder":
            return None
        needed.add(node)
        waiting += node.all_input_nodes
    graph = fx.Graph()
    copies = {start: graph.placeholder("features")}
    for node in imported.module.graph.nodes:
        if node in needed:
            copies[node] = graph.node_copy(node, lambda one: copies[one])
    # Whoever asked for the map may still need it.
    keep(copies[start])
    graph.output(copies[end])
    return ImportedGraph(imported.module, graph, class_name="ImportedPooling")


def _own_head(imported: Imported, head: Head) -> tuple[Tensor, Tensor | None]:
    layer = imported.module.get_submodule(head.module)
    assert isinstance(layer, nn.Linear | nn.Conv2d)
    bias = None if layer.bias is None else layer.bias.detach().clone()
    return layer.weight.detach().flatten(1).clone(), bias


def fill_head(backbone: ImportedBackbone, own: Sequence[str], wanted: Sequence[str]) -> str:
    """Keeps the source's head where it knows the classes; returns a sentence for the user.

    Args:
        backbone: to fill.
        own: class names of the source, in the order of its outputs; empty where it does not say.
        wanted: class names of the data.
    """
    if own and backbone._own_head is not None and set(wanted) <= set(own):
        backbone.take_own_head([list(own).index(name) for name in wanted])
        return "the imported head is kept, since it knows these classes"
    if not own:
        return (
            "the head is new: the bundle does not say which classes the imported head knows "
            "(`tao-like byom convert --classes`)"
        )
    return "the head is new, since the imported one knows other classes"
