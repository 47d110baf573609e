"""Lightning's Fabric, imported without TorchMetrics: only the version of that is asked for.

Fabric compares TorchMetrics' version by importing it, which imports transformers where that is installed:
seconds of processor time at the start of every training, for nothing that is used. The version is in the
package's metadata.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from typing import Any

from lightning_utilities.core import imports
from packaging.version import Version

ONLY_COMPARED = "torchmetrics"

_compare_version: Callable[..., bool] = imports.compare_version


def _compare_metadata(package: str, op: Callable[..., bool], version: str, *args: Any, **keys: Any) -> bool:
    """As ``compare_version``, for a package that nobody needs yet."""
    if package != ONLY_COMPARED:
        return _compare_version(package, op, version, *args, **keys)
    try:
        return bool(op(Version(importlib.metadata.version(package)), Version(version)))
    except importlib.metadata.PackageNotFoundError:
        return False


imports.compare_version = _compare_metadata
try:
    import lightning_fabric  # noqa: F401
finally:
    imports.compare_version = _compare_version
