"""Foreign ONNX files as networks that train.

``convert`` reads a file and gives a module with parameters; ``converter`` registers an operation that is
not known yet. Names are looked up when they are used: importing this package loads no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tao_like.byom.building.registry import converter
    from tao_like.byom.conversion import Imported, convert

__all__ = ["Imported", "convert", "converter"]

_MODULES = {
    "Imported": "tao_like.byom.conversion",
    "convert": "tao_like.byom.conversion",
    "converter": "tao_like.byom.building.registry",
}


def __getattr__(name: str) -> Any:
    """The public names, each from its module."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_MODULES[name]), name)
