"""What became of every number of the file: which train, which do not, and why."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from tao_like.byom.building.roles import TRAINED_ROLES
from tao_like.byom.conversion import Imported
from tao_like.byom.source.graph import all_constants

_NEVER = ("statistic", "mask", "scalar", "shape", "index", "image scaling")
"""Roles in which no network has parameters."""


def account(imported: Imported) -> dict[str, Any]:
    """The float initializers of a file by role, ready for JSON.

    Returns:
        ``roles``: for each role its tensors (name, number of values, where it is now) and their sum;
        ``trainable_fraction``: the fraction of the values that train among all but those that never do:
        running statistics, masks, scalars, shapes and an image's mean and spread. Tables that stay as they
        are (grids, prior boxes) and values that nothing uses count as not trained;
        ``parameters``: number of values that train.
    """
    held = all_constants(imported.graph)
    sizes = {name: tensor.numel() for name, tensor in held if tensor.is_floating_point()}
    roles: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
    for use in imported.uses:
        if use.name in sizes:
            known = roles[use.role].setdefault(use.name, {"values": sizes[use.name], "places": []})
            if use.path and use.path not in known["places"]:
                known["places"].append(use.path)
    used = {use.name for use in imported.uses}
    for name in sizes.keys() - used:
        roles["unused"][name] = {"values": sizes[name], "places": []}
    summary = {
        role: {
            "tensors": len(found),
            "values": sum(item["values"] for item in found.values()),
            "trains": role in TRAINED_ROLES,
            "names": found,
        }
        for role, found in sorted(roles.items())
    }
    trained = sum(item["values"] for item in summary.values() if item["trains"])
    left = sum(item["values"] for role, item in summary.items() if not item["trains"] and role not in _NEVER)
    return {
        "roles": summary,
        "trainable_share": trained / (trained + left) if trained + left else 1.0,
        "parameters": sum(parameter.numel() for parameter in imported.module.parameters()),
    }
