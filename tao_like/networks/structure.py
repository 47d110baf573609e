"""The sizes of a pruned network as plain numbers: taken from one network, given to another.

A pruned network is built from its spec, with the sizes that the spec gives, and then cut down to the sizes
that are written here. No tracing, and no pruning library: pruning may have happened several times, by
whatever means.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from tao_like.errors import BundleError

SIZE_ATTRIBUTES = frozenset(
    {
        *("in_channels", "out_channels", "groups", "in_features", "out_features", "num_features"),
        *("hidden_size", "head_hidden_size", "normalized_shape", "num_channels", "num_groups"),
        *("num_parameters", "num_heads", "num_kv_heads", "attn_dim", "kv_dim"),
    }
)
"""Attributes of modules that hold sizes, and may change with them."""
FEATURE_INFO = "feature_info"
"""timm's list of what each stage of a backbone gives; its key ``num_chs`` is a size."""
_MEMBERS = {"modules", "features", "tensors"}
_NAMED = 3  # names that a message lists


def capture(network: nn.Module) -> dict[str, Any]:
    """The sizes of a network, for JSON.

    Returns:
        ``modules``: module name to its size attributes (numbers, or lists of numbers); ``features``: module
        name to the channels of timm's feature_info; ``tensors``: name of each parameter and buffer of the
        state dict to its shape.
    """
    modules = {name: dict(_sizes(module)) for name, module in network.named_modules()}
    features = {name: _feature_channels(module) for name, module in network.named_modules()}
    return {
        "modules": {name: sizes for name, sizes in modules.items() if sizes},
        "features": {name: channels for name, channels in features.items() if channels},
        "tensors": {name: list(tensor.shape) for name, tensor in network.state_dict().items()},
    }


def apply(network: nn.Module, structure: dict[str, Any]) -> None:
    """Cuts a freshly built network down to captured sizes, in place. Resized tensors hold no values yet.

    Everything is checked before anything is changed.

    Args:
        network: as its spec builds it.
        structure: what `capture` gave for a pruned network of the same spec.

    Raises:
        BundleError: the structure is not one of this network: other names or kinds, or sizes that are no
            cut of the network's own. So a damaged or hostile structure can reserve no memory.
    """
    own = capture(network)
    if not isinstance(structure, dict) or set(structure) != _MEMBERS:
        raise BundleError(f"its structure must have exactly the members {', '.join(sorted(_MEMBERS))}.")
    for member in sorted(_MEMBERS):
        _check_names(member, own[member], structure[member])
    for name, sizes in structure["modules"].items():
        _check_names(f"modules of {name}", own["modules"][name], sizes)
        for attribute, size in sizes.items():
            _check_cut(f"{name}.{attribute}", own["modules"][name][attribute], size)
    for member in ("features", "tensors"):
        for name, size in structure[member].items():
            _check_cut(name, own[member][name], size)
    _resize(network, structure)
    for name, module in network.named_modules():
        _check_layer(name, module)


def _sizes(module: nn.Module) -> Iterator[tuple[str, int | list[int]]]:
    for attribute in sorted(SIZE_ATTRIBUTES & vars(module).keys()):
        value = getattr(module, attribute)
        if _is_size(value):
            yield attribute, value
        elif isinstance(value, tuple | list) and value and all(_is_size(item) for item in value):
            yield attribute, list(value)


def _is_size(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def feature_items(module: nn.Module) -> list[dict[str, Any]]:
    """The items of timm's feature_info that hold channels; empty for other modules."""
    info = vars(module).get(FEATURE_INFO)
    entries = getattr(info, "info", info)
    if not isinstance(entries, list):
        return []
    return [entry for entry in entries if isinstance(entry, dict) and _is_size(entry.get("num_chs"))]


def _feature_channels(module: nn.Module) -> list[int]:
    return [entry["num_chs"] for entry in feature_items(module)]


@torch.no_grad()
def refresh_widths(backbone: nn.Module, images: torch.Tensor) -> None:
    """Brings what a pruned timm backbone says of its own widths up to date.

    These are ``num_features`` and ``head_hidden_size``, the ``in_features`` of its head, and the channels in
    ``feature_info``. A number is stale where what the network gives has no axis of that size.

    Args:
        backbone: in evaluation mode.
        images: (N, C, H, W), as its forward pass takes them.
    """
    entries = feature_items(backbone)
    modules = dict(backbone.named_modules())
    seen: dict[str, torch.Size] = {}

    def note(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, arguments: tuple[Any, ...], output: object) -> None:
            if isinstance(output, torch.Tensor):
                seen[name] = output.shape

        return hook

    names = {entry.get("module") for entry in entries} & modules.keys()
    hooks = [modules[name].register_forward_hook(note(name)) for name in names if name]
    try:
        features = backbone.forward_features(images)  # type: ignore[operator]
        pooled = backbone.forward_head(features, pre_logits=True)  # type: ignore[operator]
    finally:
        for hook in hooks:
            hook.remove()
    for entry in entries:
        shape = seen.get(str(entry.get("module")), torch.Size())
        entry["num_chs"] = _refreshed(entry["num_chs"], shape)
    for name, shape in (("num_features", features.shape), ("head_hidden_size", pooled.shape)):
        if _is_size(vars(backbone).get(name)):
            setattr(backbone, name, _refreshed(vars(backbone)[name], shape))
    for module in modules.values():
        _refresh_head(module)


def _refresh_head(module: nn.Module) -> None:
    """timm's heads say what they take, beside the layers that take it."""
    own, layer = vars(module), getattr(module, "fc", None)
    if not (isinstance(layer, nn.Linear) and _is_size(own.get("in_features"))):
        return
    hidden = getattr(getattr(module, "pre_logits", None), "fc", None)
    sizes = {"in_features": layer.in_features}
    if isinstance(hidden, nn.Linear):
        sizes = {"in_features": hidden.in_features, "hidden_size": layer.in_features}
    elif _is_size(own.get("num_features")):
        # Pooling two ways at once doubles the features.
        sizes = {"in_features": own["in_features"] * layer.in_features // own["num_features"]}
    if _is_size(own.get("num_features")):
        sizes["num_features"] = layer.in_features
    for name, size in sizes.items():
        setattr(module, name, size)


def _refreshed(number: int, shape: torch.Size) -> int:
    return number if number in shape or len(shape) < 2 else int(shape[1])


def _check_names(location: str, own: dict[str, Any], given: object) -> None:
    if not isinstance(given, dict):
        raise BundleError(f"its structure has a {type(given).__name__} for {location}; it must be an object.")
    if different := sorted(set(own).symmetric_difference(given)):
        more = f" and {len(different) - _NAMED} more" if len(different) > _NAMED else ""
        raise BundleError(
            f"its structure is not of the network that its spec describes: {location} lacks or adds "
            f"{', '.join(different[:_NAMED])}{more}."
        )


def _check_cut(location: str, own: int | list[int], given: object) -> None:
    """A size may stay or shrink, but not to zero; of several, each."""
    whole = own if isinstance(own, list) else [own]
    parts = given if isinstance(own, list) else [given]
    fits = (
        isinstance(parts, list)
        and len(parts) == len(whole)
        and all(
            _is_size(part) and (part == size or 1 <= part <= size)
            for part, size in zip(parts, whole, strict=True)
        )
    )
    if not fits:
        raise BundleError(f"its structure has {str(given)[:80]} for {location}, which is no cut of {own}.")


def _resize(network: nn.Module, structure: dict[str, Any]) -> None:
    modules = dict(network.named_modules())
    for name, sizes in structure["modules"].items():
        for attribute, size in sizes.items():
            as_tuple = isinstance(getattr(modules[name], attribute), tuple)
            setattr(modules[name], attribute, tuple(size) if as_tuple else size)
    for name, channels in structure["features"].items():
        for entry, count in zip(feature_items(modules[name]), channels, strict=True):
            entry["num_chs"] = count
    state = network.state_dict(keep_vars=True)
    for name, shape in structure["tensors"].items():
        tensor = state[name]
        if list(tensor.shape) == shape:
            continue
        path, _, leaf = name.rpartition(".")
        resized = torch.empty(shape, dtype=tensor.dtype, device=tensor.device)
        if isinstance(tensor, nn.Parameter):
            setattr(modules[path], leaf, nn.Parameter(resized, requires_grad=tensor.requires_grad))
        else:
            modules[path]._buffers[leaf] = resized


def _check_layer(name: str, module: nn.Module) -> None:
    """A layer's tensors have the shapes that its attributes say."""
    expected: tuple[int, ...] | None = None
    weight = getattr(module, "weight", None)
    if isinstance(module, nn.modules.conv._ConvNd):
        channels = (module.in_channels, module.out_channels)
        inner, outer = channels if not module.transposed else channels[::-1]
        if inner % module.groups or outer % module.groups:
            raise BundleError(f"its structure divides {name} into {module.groups} groups, which do not fit.")
        expected = (outer, inner // module.groups, *module.kernel_size)
    elif isinstance(module, nn.Linear):
        expected = (module.out_features, module.in_features)
    elif isinstance(module, nn.modules.batchnorm._BatchNorm):
        expected = (module.num_features,)
    elif isinstance(module, nn.LayerNorm):
        expected = tuple(module.normalized_shape)
    elif isinstance(module, nn.GroupNorm):
        expected = (module.num_channels,)
    if expected is not None and weight is not None and tuple(weight.shape) != expected:
        raise BundleError(
            f"its structure has a weight of {list(weight.shape)} for {name}, which needs {list(expected)}."
        )
