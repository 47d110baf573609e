"""Which pretrained weights are on this machine already. Imports neither torch nor timm."""

from __future__ import annotations

from tao_like.networks.backbones.names import architecture_of, resolve_name
from tao_like.networks.backbones.table import rows_by_name
from tao_like.networks.weights.sources import weights_at_hand


def available_offline(type: str) -> str | None:
    """Tell which weights for a backbone are on this machine, so that no network is needed.

    Args:
        type: A name of timm or TAO.

    Returns:
        A value for ``model.backbone.pretrained_backbone_path``: "package:..." where an installed package
        holds the weights, "timm" where the hub's cache holds them, or None.

    Raises:
        SpecError: The network is unknown.
    """
    name = resolve_name(type)
    architecture = architecture_of(name)
    hub_id = rows_by_name()[architecture].hub_id if name == architecture else f"timm/{name}"
    return weights_at_hand(architecture, hub_id)


def has_weights(type: str) -> bool:
    """Tell whether timm has pretrained weights for a backbone. Raises SpecError where it is unknown."""
    return rows_by_name()[architecture_of(resolve_name(type))].has_weights
