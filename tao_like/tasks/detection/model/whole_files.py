"""What checkpoints of whole detectors, from other libraries, have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor, nn

from tao_like.networks.weights.class_layer import UNNAMED

_SHOWN = 3


def misfits(network: nn.Module, given: Mapping[str, Tensor], new: tuple[str, ...]) -> list[str]:
    """What of a checkpoint does not fit a network, in words; counters of norm layers may lack.

    Args:
        network: that is to be filled.
        given: the checkpoint's tensors, by their names here.
        new: what the names of layers begin with that stay as they are; these may have another shape.
    """
    own = {name: tensor for name, tensor in network.state_dict().items() if not name.startswith("normalise.")}
    shapes = [
        f"{name} is {tuple(given[name].shape)}, here {tuple(tensor.shape)}"
        for name, tensor in own.items()
        if name in given and given[name].shape != tensor.shape and not name.startswith(new)
    ]
    counters = "num_batches_tracked"
    lacking = [f"{name} is lacking" for name in own if name not in given and not name.endswith(counters)]
    return [*shapes, *lacking, *(f"{name} has no parameter" for name in given if name not in own)]


def first_of(wrong: Sequence[str]) -> str:
    """The first misfits, and how many more there are."""
    return ", ".join(wrong[:_SHOWN]) + (f" and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else "")


def fill(network: nn.Module, given: Mapping[str, Tensor], path: Path, new: tuple[str, ...]) -> str:
    """Fills a network from a checkpoint's tensors; gives what to tell the user.

    Args:
        network: to fill.
        given: by their names here; they fit.
        path: of the checkpoint.
        new: what the names of the layers begin with that tell classes and stay as they are; none: the file's
            classes are the network's.
    """
    taken = {name: tensor for name, tensor in given.items() if not name.startswith(new)}
    network.load_state_dict({**network.state_dict(), **taken})
    values = sum(tensor.numel() for tensor in taken.values())
    told = f"all weights come from {path} ({len(taken)} tensors, {values:,} values)"
    return f"{told}; the layer that tells classes is new, since {UNNAMED}" if new else told
