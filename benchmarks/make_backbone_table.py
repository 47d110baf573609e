"""Write the table of timm's architectures that `tao-like backbones` shows.

    python benchmarks/make_backbone_table.py

Run it after raising the version of timm. Networks are made on torch's meta device, which counts their
parameters without holding them in memory; it takes about three minutes on one core.
"""

from __future__ import annotations

import csv
import sys
import warnings

from tao_like.networks import _torchvision  # noqa: F401
from tao_like.networks.backbones.table import COLUMNS, TABLE_FILE

# isort: split
import timm
import torch
from timm.models import PretrainedCfg, get_pretrained_cfg, list_models, list_modules


def family_of_each() -> dict[str, str]:
    """Return the module of timm for every architecture."""
    return {name: family for family in list_modules() for name in list_models(module=family)}


def count_parameters(name: str) -> int:
    """Return the number of parameters of an architecture with its default head."""
    with torch.device("meta"):
        network = timm.create_model(name)
    return sum(parameter.numel() for parameter in network.parameters())


def cells(name: str, family: str) -> dict[str, object]:
    """Return one row of the table."""
    facts = get_pretrained_cfg(name) or PretrainedCfg()
    return {
        "name": name,
        "family": family,
        "parameters": count_parameters(name),
        "input_size": " ".join(str(side) for side in facts.input_size),
        "mean": " ".join(str(value) for value in facts.mean),
        "std": " ".join(str(value) for value in facts.std),
        "interpolation": facts.interpolation,
        "crop_pct": facts.crop_pct,
        "licence": facts.license or "",
        "has_weights": "yes" if facts.has_weights else "no",
        "hub_id": facts.hf_hub_id or "",
    }


def main() -> None:
    """Write the table beside the module that reads it."""
    warnings.simplefilter("ignore")
    families = family_of_each()
    names = sorted(families)
    rows = []
    for number, name in enumerate(names, start=1):
        rows.append(cells(name, families[name]))
        if number % 100 == 0:
            print(f"{number} of {len(names)}", file=sys.stderr, flush=True)
    with TABLE_FILE.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    print(f"{TABLE_FILE.name}: {len(names)} architectures of timm {timm.__version__}")


if __name__ == "__main__":
    main()
