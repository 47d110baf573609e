"""A trained network out of its bundle."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from tao_like.bundle import Bundle, read_bundle
from tao_like.config import spec_from_dict
from tao_like.contract.model import parts_of
from tao_like.contract.task import AnyTask
from tao_like.contract.trained import TrainedState
from tao_like.errors import BundleError
from tao_like.networks import structure


@dataclass(frozen=True)
class Restored:
    """A bundle's network with the task that it was trained for.

    Attributes:
        task: at work on the bundle's own spec; its data need not be there.
        network: in evaluation mode.
        bundle: as it was read.
    """

    task: AnyTask
    network: nn.Module
    bundle: Bundle


def restored(task_type: type[AnyTask], path: Path) -> Restored:
    """Opens a bundle by what it says itself, without a spec of the user's.

    Raises:
        BundleError: it cannot be read, is of another task, or its weights do not fit its spec.
    """
    bundle = read_bundle(path, expect_task=task_type.name)
    spec = spec_from_dict(task_type.Spec, bundle.spec, source=f"{path}: bundle.json").spec
    task = task_type(spec, TrainedState.of_bundle(bundle))
    return Restored(task, bundle_network(task, bundle, path).eval(), bundle)


def bundle_network(task: AnyTask, bundle: Bundle, path: Path) -> nn.Module:
    """The network of a bundle: built from its spec, cut to its structure, filled with its weights.

    Args:
        task: at work on the bundle's spec and record.
        bundle: read from ``path``.
        path: for messages.

    Raises:
        BundleError: structure or weights do not fit the network that the spec describes.
    """
    network: nn.Module = task.model(pretrained=False)[0]
    modules = parts_of(network)
    if modules.keys() != bundle.parts.keys():
        raise BundleError(
            f"{path} has the parts {', '.join(bundle.parts)}, and the network that its spec describes has "
            f"{', '.join(modules)}"
        )
    try:
        for name, part in bundle.parts.items():
            if part.structure is not None:
                structure.apply(modules[name], part.structure)
            modules[name].load_state_dict(bundle.weights_for(name, modules[name].state_dict()))
    except BundleError as error:
        raise BundleError(f"{path} cannot be used: {error}") from error
    except RuntimeError as error:
        raise BundleError(
            f"{path}: its weights do not fit the network that its spec describes: {error}"
        ) from error
    return network
